"""Orders in a café or a restaurant: what, how many, with or without what, for whom, at what price."""

import random

from tasks.embedded_corpus import clock, lexicon, nouns, numerals, words

_ADDITIONS = {
    addition.en.split(" ", 1)[1]: addition
    for addition in words.table("""
        with milk      | mit Milch    | avec du lait           | con leche      | 加牛奶的
        with sugar     | mit Zucker   | avec du sucre          | con azúcar     | 加糖的
        with lemon     | mit Zitrone  | avec du citron         | con limón      | 加柠檬的
        with ice       | mit Eis      | avec des glaçons       | con hielo      | 加冰的
        with cheese    | mit Käse     | avec du fromage        | con queso      | 加奶酪的
        with tomatoes  | mit Tomaten  | avec des tomates       | con tomates    | 加番茄的
        with onions    | mit Zwiebeln | avec des oignons       | con cebollas   | 加洋葱的
        with mushrooms | mit Pilzen   | avec des champignons   | con champiñones | 加蘑菇的
        with cream     | mit Sahne    | avec de la crème       | con nata       | 加奶油的
    """)
}
_OMISSIONS = {
    omission.en.split(" ", 1)[1]: omission
    for omission in words.table("""
        without milk      | ohne Milch    | sans lait        | sin leche      | 不加牛奶的
        without sugar     | ohne Zucker   | sans sucre       | sin azúcar     | 不加糖的
        without lemon     | ohne Zitrone  | sans citron      | sin limón      | 不加柠檬的
        without ice       | ohne Eis      | sans glaçons     | sin hielo      | 不加冰的
        without cheese    | ohne Käse     | sans fromage     | sin queso      | 不加奶酪的
        without tomatoes  | ohne Tomaten  | sans tomates     | sin tomates    | 不加番茄的
        without onions    | ohne Zwiebeln | sans oignons     | sin cebollas   | 不加洋葱的
        without mushrooms | ohne Pilze    | sans champignons | sin champiñones | 不加蘑菇的
        without cream     | ohne Sahne    | sans crème       | sin nata       | 不加奶油的
    """)
}


_EXTRAS = {
    "coffee": ("milk", "sugar", "cream"),
    "tea": ("milk", "sugar", "lemon"),
    "orange juice": ("ice",),
    "lemonade": ("ice", "sugar"),
    "glass of water": ("lemon", "ice"),
    "beer": (),
    "pizza": ("cheese", "tomatoes", "onions", "mushrooms"),
    "salad": ("cheese", "tomatoes", "onions"),
    "soup": ("cream", "mushrooms", "onions"),
    "sandwich": ("cheese", "tomatoes", "onions"),
    "cake": ("cream",),
    "ice cream": ("cream",),
}
"""What one may order, and with or without what."""


def _item(draw: random.Random, case: str = "accusative", low: int = 1) -> words.Words:
    """Some of a dish, two times in three with or without something: "two coffees with milk"."""
    name, number = draw.choice(tuple(_EXTRAS)), max(low, draw.choice((1, 1, 2, 2, 3, 4, 5, 6)))
    (noun,) = nouns.named(name)
    if not _EXTRAS[name] or draw.random() < 0.33:
        return nouns.counted(noun, number, case)
    extra = (_ADDITIONS, _OMISSIONS)[draw.choice(range(2))][draw.choice(_EXTRAS[name])]
    thing = nouns.counted(noun, number, case, zh_modifier=extra.zh)
    return words.fill(words.spaced("{thing} {extra}", "{thing}"), thing=thing, extra=extra)


def wish(draw: random.Random) -> words.Meaning:
    """I would like one thing."""
    text = words.Words(
        "I would like {item}, please.",
        "Ich hätte gern {item}, bitte.",
        "Je voudrais {item}, s'il vous plaît.",
        "Quisiera {item}, por favor.",
        "我想要{item}，谢谢。",
    )
    return words.Meaning(words.fill(text, item=_item(draw)))


def two_wishes(draw: random.Random) -> words.Meaning:
    """We take one thing and another."""
    text = words.Words(
        "We will have {one} and {other}.",
        "Wir nehmen {one} und {other}.",
        "Nous prenons {one} et {other}.",
        "Tomamos {one} y {other}.",
        "我们要{one}和{other}。",
    )
    return words.Meaning(words.fill(text, one=_item(draw), other=_item(draw)))


def bring(draw: random.Random) -> words.Meaning:
    """Can you bring us something?"""
    text = words.Words(
        "Can you bring us {item}, please?",
        "Können Sie uns bitte {item} bringen?",
        "Pouvez-vous nous apporter {item}, s'il vous plaît ?",
        "¿Nos puede traer {item}, por favor?",
        "请给我们来{item}，好吗？",
    )
    return words.Meaning(words.fill(text, item=_item(draw)))


def for_two(draw: random.Random) -> words.Meaning:
    """One thing for me and another for someone else."""
    text = words.Words(
        "For me {one} and for {person} {other}.",
        "Für mich {one} und für {person} {other}.",
        "Pour moi {one} et pour {person} {other}.",
        "Para mí {one} y para {person} {other}.",
        "我要{one}，{person}要{other}。",
    )
    person = draw.choice(lexicon.PEOPLE).words
    person = person._replace(de=person.de.replace("mein ", "meinen "))
    return words.Meaning(words.fill(text, one=_item(draw), person=person, other=_item(draw)))


def how_much(draw: random.Random) -> words.Meaning:
    """What something costs."""
    text = words.Words(
        "How much do {item} cost?",
        "Wie viel kosten {item}?",
        "Combien coûtent {item} ?",
        "¿Cuánto cuestan {item}?",
        "{item}多少钱？",
    )
    return words.Meaning(words.fill(text, item=_item(draw, "nominative", low=2)))


def bill(draw: random.Random) -> words.Meaning:
    """Something costs so many euros."""
    text = words.Words(
        "{item} cost {number} euros.",
        "{item} kosten {number} Euro.",
        "{item} coûtent {number} euros.",
        "{item} cuestan {number} euros.",
        "{item}一共{number}欧元。",
    )
    number = numerals.figures(draw.choice(range(4, 61)), fr="m", es="m")
    return words.Meaning(words.fill(text, item=_item(draw, "nominative", low=2), number=number))


def table(draw: random.Random) -> words.Meaning:
    """A table for so many people at a time of some day."""
    number = draw.choice(range(2, 13))
    text = words.Words(
        "I would like a table for {number} people {day} {time}.",
        "Ich möchte {day} {time} einen Tisch für {number} Personen.",
        "Je voudrais une table pour {number} personnes {day} {time}.",
        "Quisiera una mesa para {number} personas {day} {time}.",
        "我想订{day}{time}的桌子，一共{number}个人。",
    )
    people = words.Words(*(numerals.cardinal(number, language, counting=True) for language in words.LANGUAGES))
    time = clock.at_time(draw, period=False)
    return words.Meaning(words.fill(text, number=people, day=draw.choice(clock.FUTURE_DAYS), time=time))


KINDS = (wish, two_wishes, bring, for_two, how_much, bill, table)
