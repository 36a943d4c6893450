"""Things, with their gender and number in every language."""

from typing import NamedTuple

from tasks.embedded_corpus import numerals, words


class Noun(NamedTuple):
    """A thing: its forms, its genders, and the Chinese word that it is counted with."""

    singular: words.Words
    plural: words.Words
    de: str
    fr: str
    es: str
    measure: str


def _read(lines: str) -> dict[str, Noun]:
    """One noun a line: `singular / plural` in English, then the same after the gender in German, French and Spanish,
    then the Chinese word and its measure word."""
    found = {}
    for line in lines.strip().splitlines():
        en, de, fr, es, zh = (cell.strip() for cell in line.split("|"))
        forms = [en, de[2:], fr[2:], es[2:]]
        one = [form.split("/")[0].strip() for form in forms]
        many = [_plural(*form.split("/")) for form in forms]
        word, measure = (form.strip() for form in zh.split("/"))
        noun = Noun(
            words.Words(one[0], one[1], one[2], one[3], word),
            words.Words(many[0], many[1], many[2], many[3], word),
            de[0],
            fr[0],
            es[0],
            measure,
        )
        found[noun.singular.en] = noun
    return found


def _plural(singular: str, plural: str = "") -> str:
    """As written, or, where that starts with "+", the singular with an ending; none where the two are alike."""
    return singular.strip() + plural[1:].strip() if plural.startswith("+") or not plural else plural.strip()


_NOUNS = _read("""
    apple/+s          | m Apfel/Äpfel           | f pomme/+s         | f manzana/+s         | 苹果/个
    orange/+s         | f Orange/+n             | f orange/+s        | f naranja/+s         | 橙子/个
    egg/+s            | n Ei/+er                | m œuf/+s           | m huevo/+s           | 鸡蛋/个
    flower/+s         | f Blume/+n              | f fleur/+s         | f flor/+es           | 花/朵
    book/+s           | n Buch/Bücher           | m livre/+s         | m libro/+s           | 书/本
    letter/+s         | m Brief/+e              | f lettre/+s        | f carta/+s           | 信/封
    ticket/+s         | n Ticket/+s             | m billet/+s        | m billete/+s         | 票/张
    key/+s            | m Schlüssel             | f clé/+s           | f llave/+s           | 钥匙/把
    bag/+s            | f Tasche/+n             | m sac/+s           | m bolso/+s           | 包/个
    shirt/+s          | n Hemd/+en              | f chemise/+s       | f camisa/+s          | 衬衫/件
    coat/+s           | m Mantel/Mäntel         | m manteau/+x       | m abrigo/+s          | 大衣/件
    hat/+s            | m Hut/Hüte              | m chapeau/+x       | m sombrero/+s        | 帽子/顶
    watch/+es         | f Uhr/+en               | f montre/+s        | m reloj/+es          | 手表/块
    phone/+s          | n Handy/+s              | m téléphone/+s     | m teléfono/+s        | 手机/部
    computer/+s       | m Computer              | m ordinateur/+s    | m ordenador/+es      | 电脑/台
    camera/+s         | f Kamera/+s             | m appareil photo/appareils photo | f cámara/+s          | 相机/台
    bicycle/+s        | n Fahrrad/Fahrräder     | m vélo/+s          | f bicicleta/+s       | 自行车/辆
    car/+s            | n Auto/+s               | f voiture/+s       | m coche/+s           | 车/辆
    house/+s          | n Haus/Häuser           | f maison/+s        | f casa/+s            | 房子/座
    chair/+s          | m Stuhl/Stühle          | f chaise/+s        | f silla/+s           | 椅子/把
    table/+s          | m Tisch/+e              | f table/+s         | f mesa/+s            | 桌子/张
    lamp/+s           | f Lampe/+n              | f lampe/+s         | f lámpara/+s         | 台灯/盏
    picture/+s        | n Bild/+er              | m tableau/+x       | m cuadro/+s          | 画/幅
    child/+ren        | n Kind/+er              | m enfant/+s        | m niño/+s            | 孩子/个
    guest/+s          | m Gast/Gäste            | m invité/+s        | m invitado/+s        | 客人/位
    concert/+s        | n Konzert/+e            | m concert/+s       | m concierto/+s       | 音乐会/场
    film/+s           | m Film/+e               | m film/+s          | f película/+s        | 电影/部
    game/+s           | n Spiel/+e              | m match/+s         | m partido/+s         | 比赛/场
    class/+es         | m Kurs/+e               | m cours            | f clase/+s           | 课/节
    exam/+s           | f Prüfung/+en           | m examen/+s        | m examen/exámenes    | 考试/次
    party/parties     | f Feier/+n              | f fête/+s          | f fiesta/+s          | 聚会/次
    meeting/+s        | f Besprechung/+en       | f réunion/+s       | f reunión/reuniones  | 会议/次
    train/+s          | m Zug/Züge              | m train/+s         | m tren/+es           | 火车/列
    bus/+es           | m Bus/+se               | m bus              | m autobús/autobuses  | 公共汽车/辆
    plane/+s          | n Flugzeug/+e           | m avion/+s         | m avión/aviones      | 飞机/架
    ship/+s           | n Schiff/+e             | m bateau/+x        | m barco/+s           | 轮船/艘
    hotel/+s          | n Hotel/+s              | m hôtel/+s         | m hotel/+es          | 酒店/家
    restaurant/+s     | n Restaurant/+s         | m restaurant/+s    | m restaurante/+s     | 餐厅/家
    museum/+s         | n Museum/Museen         | m musée/+s         | m museo/+s           | 博物馆/个
    library/libraries | f Bibliothek/+en        | f bibliothèque/+s  | f biblioteca/+s      | 图书馆/个
    supermarket/+s    | m Supermarkt/Supermärkte | m supermarché/+s   | m supermercado/+s    | 超市/家
    market/+s         | m Markt/Märkte          | m marché/+s        | m mercado/+s         | 市场/个
    school/+s         | f Schule/+n             | f école/+s         | f escuela/+s         | 学校/所
    station/+s        | m Bahnhof/Bahnhöfe      | f gare/+s          | f estación/estaciones | 火车站/个
    beach/+es         | m Strand/Strände        | f plage/+s         | f playa/+s           | 海滩/片
    room/+s           | n Zimmer                | f chambre/+s       | f habitación/habitaciones | 房间/个
    coffee/+s         | m Kaffee                | m café/+s          | m café/+s            | 咖啡/杯
    tea/+s            | m Tee                   | m thé/+s           | m té/+s              | 茶/杯
    beer/+s           | n Bier                  | f bière/+s         | f cerveza/+s         | 啤酒/杯
    lemonade/+s       | f Limonade/+n           | f limonade/+s      | f limonada/+s        | 柠檬水/杯
    orange juice/+s   | m Orangensaft           | m jus d'orange     | m zumo de naranja/zumos de naranja | 橙汁/杯
    glass of water/glasses of water | n Glas Wasser | m verre d'eau/verres d'eau | m vaso de agua/vasos de agua | 水/杯
    pizza/+s          | f Pizza/+s              | f pizza/+s         | f pizza/+s           | 比萨/份
    salad/+s          | m Salat/+e              | f salade/+s        | f ensalada/+s        | 沙拉/份
    soup/+s           | f Suppe/+n              | f soupe/+s         | f sopa/+s            | 汤/碗
    sandwich/+es      | n Sandwich/+es          | m sandwich/+s      | m bocadillo/+s       | 三明治/个
    ice cream/+s      | n Eis                   | f glace/+s         | m helado/+s          | 冰淇淋/个
    cake/+s           | m Kuchen                | m gâteau/+x        | f tarta/+s           | 蛋糕/块
    fish              | m Fisch/+e              | m poisson/+s       | m pescado/+s         | 鱼/条
    meat/+s           | n Fleisch               | f viande/+s        | f carne/+s           | 肉/块
    bread/+s          | n Brot/+e               | m pain/+s          | m pan/+es            | 面包/个
    cheese/+s         | m Käse                  | m fromage/+s       | m queso/+s           | 奶酪/块
    rice/+s           | m Reis                  | m riz              | m arroz/arroces      | 米饭/碗
""")


def named(*english: str) -> tuple[Noun, ...]:
    """The nouns of these English names."""
    return tuple(_NOUNS[name] for name in english)


_GERMAN = {
    "the": {"nominative": {"m": "der", "f": "die", "n": "das"}, "accusative": {"m": "den", "f": "die", "n": "das"}},
    "a": {"nominative": {"m": "ein", "f": "eine", "n": "ein"}, "accusative": {"m": "einen", "f": "eine", "n": "ein"}},
}
_FRENCH = {"the": {"m": "le", "f": "la"}, "a": {"m": "un", "f": "une"}}
_SPANISH = {"the": {"m": "el", "f": "la"}, "a": {"m": "un", "f": "una"}}


def _with_article(noun: Noun, article: str, case: str, zh: str) -> words.Words:
    one = noun.singular
    return words.Words(
        f"{article} {one.en}",
        f"{_GERMAN[article][case][noun.de]} {one.de}",
        f"{_FRENCH[article][noun.fr]} {one.fr}",
        f"{_SPANISH[article][noun.es]} {one.es}",
        zh,
    )


def the(noun: Noun, case: str = "nominative") -> words.Words:
    """The noun with its article; Chinese has none."""
    return _with_article(noun, "the", case, noun.singular.zh)


def the_plural(noun: Noun) -> words.Words:
    """The nouns with their article."""
    many, los = noun.plural, "los" if noun.es == "m" else "las"
    return words.Words(f"the {many.en}", f"die {many.de}", f"les {many.fr}", f"{los} {many.es}", many.zh)


def counted(noun: Noun, number: int, case: str = "nominative", *, zh_modifier: str = "") -> words.Words:
    """So many of a thing, in words; for one, the indefinite article. `zh_modifier` stands before the Chinese noun."""
    zh = numerals.cardinal(number, "zh", counting=True) + noun.measure + zh_modifier + noun.singular.zh
    if number == 1:
        return _with_article(noun, "a", case, zh)
    en, de, fr, es = (numerals.cardinal(number, language) for language in words.LANGUAGES[:4])
    many = noun.plural
    return words.Words(f"{en} {many.en}", f"{de} {many.de}", f"{fr} {many.fr}", f"{es} {many.es}", zh)
