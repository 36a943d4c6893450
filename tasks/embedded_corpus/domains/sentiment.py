"""Likes and dislikes, praise and blame. Kinds come in pairs: one says yes to what the other says no to."""

import functools
import random
from typing import NamedTuple

from tasks.embedded_corpus import clock, lexicon, nouns, words


class Verb(NamedTuple):
    """An activity. German bends its verb (I, she, we) and puts `de_rest` after "gern"."""

    infinitive: words.Words
    de_forms: tuple[str, ...]
    de_rest: str


def _verbs(lines: str, objects: tuple[words.Words, ...] = ()) -> tuple[Verb, ...]:
    """Lines of infinitives, German as `forms / rest`; with `objects`, each verb with each of them after it."""
    verbs = []
    for row in words.table(lines):
        forms, _, rest = row.de.partition("/")
        if not objects:
            verbs.append(Verb(row, tuple(forms.split()), rest.strip()))
        for what in objects:
            infinitive = words.fill(words.spaced("{verb} {what}", "{verb}{what}"), verb=row, what=what)
            verbs.append(Verb(infinitive, tuple(forms.split()), what.de))
    return tuple(verbs)


_FOODS = words.table("""
    apples     | Äpfel      | des pommes    | manzanas  | 苹果
    bananas    | Bananen    | des bananes   | plátanos  | 香蕉
    oranges    | Orangen    | des oranges   | naranjas  | 橙子
    bread      | Brot       | du pain       | pan       | 面包
    cheese     | Käse       | du fromage    | queso     | 奶酪
    fish       | Fisch      | du poisson    | pescado   | 鱼
    rice       | Reis       | du riz        | arroz     | 米饭
    meat       | Fleisch    | de la viande  | carne     | 肉
    eggs       | Eier       | des œufs      | huevos    | 鸡蛋
    vegetables | Gemüse     | des légumes   | verduras  | 蔬菜
    chocolate  | Schokolade | du chocolat   | chocolate | 巧克力
    cake       | Kuchen     | du gâteau     | tarta     | 蛋糕
    pizza      | Pizza      | de la pizza   | pizza     | 比萨
""")
_DRINKS = words.table("""
    coffee   | Kaffee   | du café       | café     | 咖啡
    tea      | Tee      | du thé        | té       | 茶
    water    | Wasser   | de la eau     | agua     | 水
    milk     | Milch    | du lait       | leche    | 牛奶
    beer     | Bier     | de la bière   | cerveza  | 啤酒
    lemonade | Limonade | de la limonade | limonada | 柠檬水
""")
_EATING = _verbs("eat | esse isst essen | manger | comer | 吃", _FOODS)
_OTHER_ACTIVITIES = _verbs("drink | trinke trinkt trinken | boire | beber | 喝", _DRINKS) + _verbs("""
    swim               | schwimme schwimmt schwimmen | nager | nadar | 游泳
    read books         | lese liest lesen / Bücher   | lire des livres | leer libros | 看书
    cook               | koche kocht kochen          | cuisiner | cocinar | 做饭
    dance              | tanze tanzt tanzen          | danser | bailar | 跳舞
    sing               | singe singt singen          | chanter | cantar | 唱歌
    travel             | reise reist reisen          | voyager | viajar | 旅行
    run                | laufe läuft laufen          | courir | correr | 跑步
    play football      | spiele spielt spielen / Fußball | jouer au football | jugar al fútbol | 踢足球
    listen to music    | höre hört hören / Musik     | écouter de la musique | escuchar música | 听音乐
    watch films        | sehe sieht sehen / Filme    | regarder des films | ver películas | 看电影
    learn languages    | lerne lernt lernen / Sprachen | apprendre des langues | aprender idiomas | 学习语言
    paint              | male malt malen             | peindre | pintar | 画画
""")
_WHEN = words.table("""
    in the morning | morgens       | le matin    | por la mañana         | 早上
    in the evening | abends        | le soir     | por la noche          | 晚上
    on weekends    | am Wochenende | le week-end | los fines de semana   | 周末
""")
_LIKES = {
    True: words.table("""
        {like}         | gern                 | {aime}                | {le} gusta         | 喜欢
        {love}         | sehr gern            | {adore}               | {le} encanta       | 非常喜欢
    """),
    False: words.table("""
        {do} not like  | nicht gern           | ne {aime} pas         | no {le} gusta      | 不喜欢
        {do} not like  | überhaupt nicht gern | ne {aime} pas du tout | no {le} gusta nada | 一点也不喜欢
    """),
}
_FORMS = (
    {"like": "like", "love": "love", "do": "do", "aime": "aime", "adore": "adore", "le": "me"},
    {"like": "likes", "love": "loves", "do": "does", "aime": "aime", "adore": "adore", "le": "le"},
    {"like": "like", "love": "love", "do": "do", "aime": "aimons", "adore": "adorons", "le": "nos"},
)
_NOTHING = words.same("")


_MEALS = nouns.named("pizza", "cake", "salad", "fish", "meat", "bread", "cheese", "rice")
_SHOWS = nouns.named("film", "concert", "party", "game", "class")
_HOUSES = nouns.named("hotel", "restaurant", "room", "museum", "station", "beach")
_POSSESSIONS = nouns.named("phone", "car", "computer", "bicycle", "camera", "watch", "house")


class Praise(NamedTuple):
    """Adjectives for one sort of thing: French and Spanish as `masculine / feminine`, Spanish after its copula."""

    positive: tuple[words.Words, ...]
    negative: tuple[words.Words, ...]


_TASTES = Praise(
    words.table("""
        good      | gut    | bon / bonne            | estaba bueno / buena         | 好吃
        delicious | lecker | délicieux / délicieuse | estaba delicioso / deliciosa | 美味
        fresh     | frisch | frais / fraîche        | estaba fresco / fresca       | 新鲜
    """),
    words.table("""
        bad       | schlecht | mauvais / mauvaise | estaba malo / mala | 难吃
        cold      | kalt     | froid / froide     | estaba frío / fría | 凉
        expensive | teuer    | cher / chère       | era caro / cara    | 贵
    """),
)
_SHOW_WORDS = Praise(
    words.table("""
        good        | gut         | bon / bonne                | fue bueno / buena             | 好
        interesting | interessant | intéressant / intéressante | fue interesante / interesante | 有意思
        wonderful   | wunderbar   | merveilleux / merveilleuse | fue maravilloso / maravillosa | 精彩
    """),
    words.table("""
        bad      | schlecht    | mauvais / mauvaise   | fue malo / mala         | 差
        boring   | langweilig  | ennuyeux / ennuyeuse | fue aburrido / aburrida | 无聊
        terrible | schrecklich | horrible / horrible  | fue horrible / horrible | 糟糕
    """),
)
_HOUSE_WORDS = Praise(
    words.table("""
        beautiful | schön  | beau / belle    | es bonito / bonita       | 漂亮
        clean     | sauber | propre / propre | está limpio / limpia     | 干净
        quiet     | ruhig  | calme / calme   | es tranquilo / tranquila | 安静
    """),
    words.table("""
        ugly  | hässlich  | laid / laide       | es feo / fea         | 难看
        dirty | schmutzig | sale / sale        | está sucio / sucia   | 脏
        loud  | laut      | bruyant / bruyante | es ruidoso / ruidosa | 吵
    """),
)
_VERY = words.table("""
    very   | sehr     | très     | muy       | 很
    really | wirklich | vraiment | realmente | 真的很
""")
_ABSOLUTE = ("delicious", "wonderful", "terrible")
"""Nothing is very delicious; it may be really delicious."""


def _label(positive: bool) -> str:
    return "positive" if positive else "negative"


def _taste(draw: random.Random, activities: tuple[Verb, ...], positive: bool) -> words.Meaning:
    """Somebody likes, or does not like, to do something."""
    form, level = draw.choice((0, 0, 1, 1, 1, 2)), draw.randrange(2)
    person = draw.choice(lexicon.PEOPLE).words
    subject = (
        words.Words("I", "ich", "je", "", "我"),
        person._replace(es=f"a {person.es}"),
        words.Words("we", "wir", "nous", "", "我们"),
    )[form]
    like = words.Words._make(part.format(**_FORMS[form]) for part in _LIKES[positive][level])
    verb = draw.choice(activities)
    # English puts "at all" where the time of day would stand.
    not_at_all = level == 1 and not positive
    when = _NOTHING if not_at_all or draw.random() < 0.5 else draw.choice(_WHEN)
    sentence = words.Words(
        _sentence(subject.en, like.en, "to", verb.infinitive.en, "at all" if not_at_all else when.en),
        _sentence(subject.de, verb.de_forms[form], when.de, like.de, verb.de_rest),
        _sentence(subject.fr, like.fr, verb.infinitive.fr, when.fr),
        _sentence(subject.es, like.es, verb.infinitive.es, when.es),
        f"{subject.zh}{like.zh}{when.zh}{verb.infinitive.zh}。",
    )
    return words.Meaning(sentence, sentiment=_label(positive))


def _sentence(*parts: str) -> str:
    return " ".join(filter(None, parts)) + "."


def _agree(draw: random.Random, adjective: words.Words, noun: nouns.Noun) -> words.Words:
    """The adjective in the noun's genders, with "very" or "really" before it."""
    very = _VERY[1] if adjective.en in _ABSOLUTE else draw.choice(_VERY)
    copula, _, spanish = adjective.es.partition(" ")
    return words.Words(
        f"{very.en} {adjective.en}",
        f"{very.de} {adjective.de}",
        f"{very.fr} {adjective.fr.split(' / ')[noun.fr == 'f']}",
        f"{copula} {very.es} {spanish.split(' / ')[noun.es == 'f']}",
        very.zh + adjective.zh,
    )


def _event(draw: random.Random, things: tuple[nouns.Noun, ...], praise: Praise, positive: bool) -> words.Meaning:
    """How a meal or a show was on some day."""
    noun = draw.choice(things)
    text = words.Words(
        "{day} the {noun} was {adjective}.",
        "{day} war {the} {adjective}.",
        "{day}, {the} était {adjective}.",
        "{day} {the} {adjective}.",
        "{day}的{noun}{adjective}。",
    )
    adjective = _agree(draw, draw.choice(praise.positive if positive else praise.negative), noun)
    sentence = words.fill(
        text, day=draw.choice(clock.PAST_DAYS), noun=noun.singular, the=nouns.the(noun), adjective=adjective
    )
    return words.Meaning(sentence, sentiment=_label(positive))


def _house(draw: random.Random, positive: bool) -> words.Meaning:
    """What a place in a city is like."""
    noun = draw.choice(_HOUSES)
    text = words.Words(
        "The {noun} in {city} is {adjective}.",
        "{the} in {city} ist {adjective}.",
        "{the} à {city} est {adjective}.",
        "{the} de {city} {adjective}.",
        "{city}的{noun}{adjective}。",
    )
    praise = _HOUSE_WORDS.positive if positive else _HOUSE_WORDS.negative
    adjective = _agree(draw, draw.choice(praise), noun)
    city = draw.choice(lexicon.CITIES)
    sentence = words.fill(text, noun=noun.singular, the=nouns.the(noun), city=city, adjective=adjective)
    return words.Meaning(sentence, sentiment=_label(positive))


def _content(draw: random.Random, positive: bool) -> words.Meaning:
    """Somebody is content, or not, with a new thing."""
    person, noun, very = draw.choice(lexicon.PEOPLE), draw.choice(_POSSESSIONS), draw.choice(_VERY)
    she = person.gender == "f"
    german = ("ihr" if she else "sein") + ("er neuen" if noun.de == "f" else "em neuen")
    french = "sa nouvelle" if noun.fr == "f" else "son nouveau"
    spanish = "su nueva" if noun.es == "f" else "su nuevo"
    text = words.Words(
        "{person} is {very} {happy} with " + ("her" if she else "his") + " new {noun}.",
        "{person} ist mit " + german + " {noun} {very} {happy}.",
        "{person} est {very} {happy} de " + french + " {noun}.",
        "{person} está {very} {happy} con " + spanish + " {noun}.",
        "{person}对" + ("她" if she else "他") + "的新{noun}{very}{happy}。",
    )
    if positive:
        happy = words.Words(
            "happy", "zufrieden", "contente" if she else "content", "contenta" if she else "contento", "满意"
        )
    else:
        happy = words.Words(
            "unhappy",
            "unzufrieden",
            "mécontente" if she else "mécontent",
            "descontenta" if she else "descontento",
            "不满意",
        )
    sentence = words.fill(text, person=person.words, very=very, happy=happy, noun=noun.singular)
    return words.Meaning(sentence, sentiment=_label(positive))


def _kinds(positive: bool) -> tuple:
    make = functools.partial
    return (
        make(_taste, activities=_EATING, positive=positive),
        make(_event, things=_MEALS, praise=_TASTES, positive=positive),
        make(_taste, activities=_OTHER_ACTIVITIES, positive=positive),
        make(_event, things=_SHOWS, praise=_SHOW_WORDS, positive=positive),
        make(_taste, activities=_EATING + _OTHER_ACTIVITIES, positive=positive),
        make(_house, positive=positive),
        make(_content, positive=positive),
    )


KINDS = tuple(kind for pair in zip(_kinds(True), _kinds(False), strict=True) for kind in pair)
