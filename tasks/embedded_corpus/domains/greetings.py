"""Greetings, introductions, thanks, farewells."""

import random

from tasks.embedded_corpus import clock, lexicon, words

_HELLO = words.table("""
    hello        | hallo        | salut   | hola          | 你好
    good morning | guten Morgen | bonjour | buenos días   | 早上好
    good evening | guten Abend  | bonsoir | buenas noches | 晚上好
""")
_QUESTIONS = words.columns("""
    how are you?       | how are you today?           | how is your family?         | is everything all right?
    wie geht es dir?   | wie geht es dir heute?       | wie geht es deiner Familie? | ist alles in Ordnung?
    comment vas-tu ?   | comment vas-tu aujourd'hui ? | comment va ta famille ?     | est-ce que tout va bien ?
    ¿cómo estás?       | ¿cómo estás hoy?             | ¿cómo está tu familia?      | ¿está todo bien?
    你好吗？            | 你今天好吗？                  | 你家人好吗？                  | 一切都好吗？
""") + words.columns("""
    how was the weekend?       | how was the concert?         | it is nice to see you.
    wie war das Wochenende?    | wie war das Konzert?         | schön, dich zu sehen.
    comment était le week-end ? | comment était le concert ?  | c'est un plaisir de te voir.
    ¿cómo fue el fin de semana? | ¿cómo fue el concierto?     | me alegro de verte.
    周末过得怎么样？             | 音乐会怎么样？                 | 很高兴见到你。
""")
_PARTINGS = words.table("""
    see you tomorrow        | bis morgen           | à demain            | hasta mañana           | 明天见
    see you soon            | bis bald             | à bientôt           | hasta pronto           | 回头见
    see you next week       | bis nächste Woche    | à la semaine prochaine | hasta la próxima semana | 下周见
    have a nice day         | einen schönen Tag    | bonne journée       | que tengas un buen día | 祝你今天愉快
    have a nice evening     | einen schönen Abend  | bonne soirée        | que tengas una buena noche | 祝你晚上愉快
    have a nice weekend     | ein schönes Wochenende | bon week-end    | que tengas un buen fin de semana | 祝你周末愉快
    have a good trip        | gute Reise           | bon voyage          | buen viaje             | 一路平安
    good night              | gute Nacht           | bonne nuit          | que descanses          | 晚安
""") + tuple(
    words.fill(words.Words("see you on {day}", "bis {day}", "à {day}", "hasta el {day}", "{day}见"), day=day)
    for day in clock.WEEKDAYS
)
_GIFTS = words.table("""
    the coffee     | den Kaffee    | le café          | el café       | 咖啡
    the flowers    | die Blumen    | les fleurs       | las flores    | 花
    the letter     | den Brief     | la lettre        | la carta      | 信
    the help       | die Hilfe     | la aide          | la ayuda      | 帮助
    the gift       | das Geschenk  | le cadeau        | el regalo     | 礼物
    the invitation | die Einladung | la invitation    | la invitación | 邀请
    the book       | das Buch      | le livre         | el libro      | 书
    the cake       | den Kuchen    | le gâteau        | la tarta      | 蛋糕
""")


def _name(draw: random.Random) -> words.Words:
    return draw.choice(lexicon.NAMES).words


def greeting(draw: random.Random) -> words.Meaning:
    """A greeting and a name."""
    text = words.spaced("{hello}, {name}.", "{hello}，{name}。")
    return words.Meaning(words.fill(text, hello=draw.choice(_HELLO), name=_name(draw)))


def hello(draw: random.Random) -> words.Meaning:
    """A greeting and a question."""
    text = words.spaced("{hello}, {name}, {question}", "{hello}，{name}，{question}")
    return words.Meaning(
        words.fill(text, hello=draw.choice(_HELLO), name=_name(draw), question=draw.choice(_QUESTIONS))
    )


def introduction(draw: random.Random) -> words.Meaning:
    """Who someone is and where from."""
    text = words.Words(
        "{hello}, my name is {name} and I come from {city}.",
        "{hello}, ich heiße {name} und komme aus {city}.",
        "{hello}, je m'appelle {name} et je viens de {city}.",
        "{hello}, me llamo {name} y vengo de {city}.",
        "{hello}，我叫{name}，我来自{city}。",
    )
    return words.Meaning(
        words.fill(text, hello=draw.choice(_HELLO), name=_name(draw), city=draw.choice(lexicon.CITIES))
    )


def farewell(draw: random.Random) -> words.Meaning:
    """A goodbye and a wish."""
    text = words.Words(
        "Goodbye, {name}, {parting}.",
        "Auf Wiedersehen, {name}, {parting}.",
        "Au revoir, {name}, {parting}.",
        "Adiós, {name}, {parting}.",
        "再见，{name}，{parting}。",
    )
    return words.Meaning(words.fill(text, name=_name(draw), parting=draw.choice(_PARTINGS)))


def thanks(draw: random.Random) -> words.Meaning:
    """Thanks for something."""
    text = words.Words(
        "Thank you {much}for {gift}, {name}.",
        "{much} für {gift}, {name}.",
        "Merci {much}pour {gift}, {name}.",
        "{much} por {gift}, {name}.",
        "{much}你的{gift}，{name}。",
    )
    much = draw.choice(
        words.table("""
            | Danke | | Gracias | 谢谢
            very much | Vielen Dank | beaucoup | Muchas gracias | 非常感谢
        """)
    )
    much = much._replace(en=much.en and much.en + " ", fr=much.fr and much.fr + " ")
    return words.Meaning(words.fill(text, much=much, gift=draw.choice(_GIFTS), name=_name(draw)))


def welcome(draw: random.Random) -> words.Meaning:
    """Welcome to a city."""
    text = words.Words(
        "Welcome to {city}, {name}!",
        "Willkommen in {city}, {name}!",
        "Bienvenue à {city}, {name} !",
        "¡Bienvenido a {city}, {name}!",
        "{name}，欢迎来到{city}！",
    )
    person = draw.choice(lexicon.NAMES)
    if person.gender == "f":
        text = text._replace(es=text.es.replace("Bienvenido", "Bienvenida"))
    return words.Meaning(words.fill(text, city=draw.choice(lexicon.CITIES), name=person.words))


def acquaintance(draw: random.Random) -> words.Meaning:
    """Two people meet."""
    text = words.Words(
        "Nice to meet you, {other}. I am {one}.",
        "Freut mich, {other}. Ich bin {one}.",
        "Enchanté, {other}. Je suis {one}.",
        "Mucho gusto, {other}. Soy {one}.",
        "很高兴认识你，{other}。我是{one}。",
    )
    one, other = draw.sample(lexicon.NAMES, 2)
    if one.gender == "f":
        text = text._replace(fr=text.fr.replace("Enchanté,", "Enchantée,"))
    return words.Meaning(words.fill(text, one=one.words, other=other.words))


KINDS = (greeting, hello, introduction, farewell, thanks, welcome, acquaintance)
