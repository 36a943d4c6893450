"""Digit strings, counts, prices, sums, distances, ages, degrees: 0 to 9999."""

import random

from tasks.embedded_corpus import lexicon, nouns, numerals, words

_CODES = words.table("""
    phone number   | Telefonnummer | numéro de téléphone | número de teléfono | 电话号码
    account number | Kontonummer   | numéro de compte    | número de cuenta   | 账号
    ticket number  | Ticketnummer  | numéro de billet    | número de billete  | 票号
    room number    | Zimmernummer  | numéro de chambre   | número de habitación | 房间号
""")
_COUNTED = nouns.named("chair", "table", "book", "picture", "computer", "lamp", "child", "guest")
_GOODS = nouns.named("ticket", "bicycle", "computer", "camera", "watch", "coat", "lamp", "phone", "table", "car")
_BUILDINGS = nouns.named("hotel", "museum", "school", "restaurant", "library")
_EVENTS = nouns.named("meeting", "exam", "class", "party")
_LANDMARKS = words.table("""
    the station  | vom Bahnhof   | la gare     | la estación  | 火车站
    the airport  | vom Flughafen | le aéroport | el aeropuerto | 机场
    the beach    | vom Strand    | la plage    | la playa     | 海滩
    the park     | vom Park      | le parc     | el parque    | 公园
    the market   | vom Markt     | le marché   | el mercado   | 市场
""")
_RELATIONS = words.table("""
    greater | größer  | plus grand | mayor | 大
    smaller | kleiner | plus petit | menor | 小
""")


def _upto_thousands(draw: random.Random, low: int = 2) -> int:
    """Small numbers as often as large ones."""
    return draw.randrange(low, draw.choice((100, 1000, 10_000)))


def code(draw: random.Random) -> words.Meaning:
    """Whose number is which string of digits."""
    digits = "".join(draw.choice("0123456789") for _ in range(draw.randint(3, 6)))
    text = words.Words(
        "{name}'s {code} is {digits}.",
        "Die {code} von {name} ist {digits}.",
        "Le {code} de {name} est le {digits}.",
        "El {code} de {name} es el {digits}.",
        "{name}的{code}是{digits}。",
    )
    name = draw.choice(lexicon.NAMES).words
    return words.Meaning(words.fill(text, name=name, code=draw.choice(_CODES), digits=numerals.digits(digits)))


def count(draw: random.Random) -> words.Meaning:
    """How many things are somewhere."""
    noun, number = draw.choice(_COUNTED), draw.choice(range(13, 100))
    text = words.Words(
        "There are {number} {things} {place}.",
        "Es gibt {number} {things} {place}.",
        "Il y a {number} {things} {place}.",
        "Hay {number} {things} {place}.",
        "{place}有{number}" + noun.measure + "{things}。",
    )
    figures = numerals.figures(number, fr=noun.fr, es=noun.es)
    return words.Meaning(words.fill(text, number=figures, things=noun.plural, place=draw.choice(lexicon.PLACES)))


def price(draw: random.Random) -> words.Meaning:
    """What a thing costs."""
    text = words.Words(
        "{thing} costs {number} euros.",
        "{thing} kostet {number} Euro.",
        "{thing} coûte {number} euros.",
        "{thing} cuesta {number} euros.",
        "这{thing}{number}欧元。",
    )
    noun = draw.choice(_GOODS)
    thing = nouns.the(noun)._replace(zh=noun.measure + noun.singular.zh)
    return words.Meaning(words.fill(text, thing=thing, number=numerals.figures(_upto_thousands(draw), fr="m", es="m")))


def addition(draw: random.Random) -> words.Meaning:
    """The sum of two numbers up to 99."""
    a, b = draw.choice(range(1, 61)), draw.choice(range(1, 40))
    text = words.Words(
        "The sum of {a} and {b} is {c}.",
        "Die Summe von {a} und {b} ist {c}.",
        "La somme de {a} et {b} est {c}.",
        "La suma de {a} y {b} es {c}.",
        "{a}加{b}等于{c}。",
    )
    return words.Meaning(words.fill(text, a=numerals.figures(a), b=numerals.figures(b), c=numerals.figures(a + b)))


def comparison(draw: random.Random) -> words.Meaning:
    """Which of two numbers is greater."""
    a, b = _upto_thousands(draw, 1), _upto_thousands(draw, 0)
    relation = _RELATIONS[a <= b]
    text = words.Words(
        "The number {a} is {relation} than {b}.",
        "Die Zahl {a} ist {relation} als {b}.",
        "Le nombre {a} est {relation} que {b}.",
        "El número {a} es {relation} que {b}.",
        "{a}比{b}{relation}。",
    )
    if a == b:
        b += 1
    return words.Meaning(words.fill(text, a=numerals.figures(a), b=numerals.figures(b), relation=relation))


def room(draw: random.Random) -> words.Meaning:
    """In which room something takes place."""
    text = words.Words(
        "{event} is in room {number}.",
        "{event} ist in Raum {number}.",
        "{event} est dans la salle {number}.",
        "{event} es en la sala {number}.",
        "{event}在{number}号房间。",
    )
    number = numerals.figures(draw.randint(1, 399))
    return words.Meaning(words.fill(text, event=nouns.the(draw.choice(_EVENTS)), number=number))


def age(draw: random.Random) -> words.Meaning:
    """How old someone is."""
    text = words.Words(
        "{person} is {number} years old.",
        "{person} ist {number} Jahre alt.",
        "{person} a {number} ans.",
        "{person} tiene {number} años.",
        "{person}{number}岁。",
    )
    person = draw.choice(lexicon.PEOPLE).words
    return words.Meaning(
        words.fill(text, person=person, number=numerals.figures(draw.choice(range(12, 100)), fr="m", es="m"))
    )


def degrees(draw: random.Random) -> words.Meaning:
    """How warm it is in a city."""
    text = words.Words(
        "Today it is {number} degrees in {city}.",
        "Heute sind es {number} Grad in {city}.",
        "Aujourd'hui, il fait {number} degrés à {city}.",
        "Hoy hace {number} grados en {city}.",
        "今天{city}{number}度。",
    )
    number = numerals.figures(draw.choice(range(2, 40)), fr="m", es="m")
    return words.Meaning(words.fill(text, number=number, city=draw.choice(lexicon.CITIES)))


def distance(draw: random.Random) -> words.Meaning:
    """How far it is from one building to another."""
    text = words.Words(
        "{building} is {number} meters from {landmark}.",
        "{building} ist {number} Meter {landmark} entfernt.",
        "{building} est à {number} mètres de {landmark}.",
        "{building} está a {number} metros de {landmark}.",
        "{building}离{landmark}{number}米。",
    )
    return words.Meaning(
        words.fill(
            text,
            building=nouns.the(draw.choice(_BUILDINGS)),
            number=numerals.figures(draw.choice(range(50, 2050, 50))),
            landmark=draw.choice(_LANDMARKS),
        )
    )


KINDS = (code, count, price, addition, comparison, room, age, degrees, distance)
