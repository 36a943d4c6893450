"""Two facts in a sentence, and a question about one of them: found in the text word for word, or yes or no."""

import functools
import random
from collections.abc import Callable
from typing import Literal

from tasks.embedded_corpus import clock, lexicon, nouns, words

Ask = Literal["what", "who", "yes", "no"]

_COLORS = words.table("""
    red    | rot   | rouge / rouge   | rojo / roja         | 红色
    blue   | blau  | bleu / bleue    | azul / azul         | 蓝色
    green  | grün  | vert / verte    | verde / verde       | 绿色
    yellow | gelb  | jaune / jaune   | amarillo / amarilla | 黄色
    black  | schwarz | noir / noire  | negro / negra       | 黑色
    white  | weiß  | blanc / blanche | blanco / blanca     | 白色
    brown  | braun | marron / marron | marrón / marrón     | 棕色
""")
_COLORED = nouns.named("car", "house", "bag", "bicycle", "coat", "hat")
_BOUGHT = nouns.named("apple", "orange", "egg", "book", "flower", "ticket", "shirt", "chair", "lamp")
_THINGS = nouns.named("key", "book", "phone", "letter", "watch", "hat", "camera", "ticket")
_VEHICLES = nouns.named("train", "bus")
_SPOTS = words.table("""
    on the table       | auf dem Tisch   | sur la table      | sobre la mesa           | 桌子上
    under the bed      | unter dem Bett  | sous le lit       | debajo de la cama       | 床下面
    next to the lamp   | neben der Lampe | à côté de la lampe | al lado de la lámpara  | 台灯旁边
    behind the door    | hinter der Tür  | derrière la porte | detrás de la puerta     | 门后面
    in the bag         | in der Tasche   | dans le sac       | en el bolso             | 包里
    under the chair    | unter dem Stuhl | sous la chaise    | debajo de la silla      | 椅子下面
    in the car         | im Auto         | dans la voiture   | en el coche             | 车里
    behind the television | hinter dem Fernseher | derrière la télévision | detrás de la televisión | 电视后面
""")
_JOBS = words.table("""
    teacher    | Lehrer / Lehrerin           | professeur / professeure    | profesor / profesora   | 老师
    doctor     | Arzt / Ärztin               | médecin / médecin           | médico / médica        | 医生
    cook       | Koch / Köchin               | cuisinier / cuisinière      | cocinero / cocinera    | 厨师
    farmer     | Bauer / Bäuerin             | agriculteur / agricultrice  | agricultor / agricultora | 农民
    engineer   | Ingenieur / Ingenieurin     | ingénieur / ingénieure      | ingeniero / ingeniera  | 工程师
    baker      | Bäcker / Bäckerin           | boulanger / boulangère      | panadero / panadera    | 面包师
    journalist | Journalist / Journalistin   | journaliste / journaliste   | periodista / periodista | 记者
""")
_WEATHER = words.columns("""
    it is raining | it is snowing  | it is windy    | it is cold   | the sun is shining
    regnet es     | schneit es     | ist es windig  | ist es kalt  | scheint die Sonne
    il pleut      | il neige       | il y a du vent | il fait froid | le soleil brille
    llueve        | nieva          | hace viento    | hace frío    | brilla el sol
    在下雨         | 在下雪          | 在刮风          | 很冷          | 出太阳了
""")
_IS_IT = ("is it raining", "is it snowing", "is it windy", "is it cold", "is the sun shining")
_WEATHER_QUESTIONS = tuple(kind._replace(en=en) for kind, en in zip(_WEATHER, _IS_IT, strict=True))
_WHERE, _IS_IT_THERE = words.columns("""
    where is {x}?    | is {x} {asked}?
    wo ist {x}?      | ist {x} {asked}?
    où est {x} ?     | est-ce que {x} est {asked} ?
    ¿dónde está {x}? | ¿está {x} {asked}?
    {x}在哪里？        | {x}在{asked}吗？
""")


def _agreeing(forms: words.Words, fr: str, es: str, de: str = "m") -> words.Words:
    """`forms` with each `masculine / feminine` replaced by the one of the gender."""

    def one(text: str, gender: str) -> str:
        return text.split(" / ")[gender == "f"] if " / " in text else text

    return words.Words(forms.en, one(forms.de, de), one(forms.fr, fr), one(forms.es, es), forms.zh)


def _answered(
    text: words.Words, ask: Ask, question: words.Words, answer: words.Words, truth: words.Words, **slots: words.Words
) -> words.Meaning:
    """`question` with its `answer`, or, for yes and no, the question whether it is so (`truth`)."""
    if ask in ("yes", "no"):
        return words.Meaning(
            words.fill(text, **slots), words.fill(truth, **slots), words.YES if ask == "yes" else words.NO
        )
    return words.Meaning(words.fill(text, **slots), words.fill(question, **slots), answer)


def places(draw: random.Random, ask: Ask) -> words.Meaning:
    """Who is where."""
    people, spots = draw.sample(lexicon.NAMES, 2), draw.sample(lexicon.PLACES, 2)
    i = draw.randrange(2)
    text, who = words.columns("""
        {a} is {here} and {b} is {there}.   | who is {z}?
        {a} ist {here} und {b} ist {there}. | wer ist {z}?
        {a} est {here} et {b} est {there}.  | qui est {z} ?
        {a} está {here} y {b} está {there}. | ¿quién está {z}?
        {a}在{here}，{b}在{there}。           | 谁在{z}？
    """)
    return _answered(
        text,
        ask,
        who if ask == "who" else _WHERE,
        people[i].words if ask == "who" else spots[i],
        _IS_IT_THERE,
        a=people[0].words,
        b=people[1].words,
        here=spots[0],
        there=spots[1],
        x=people[i].words,
        z=spots[i],
        asked=spots[i if ask == "yes" else 1 - i],
    )


def things(draw: random.Random, ask: Ask) -> words.Meaning:
    """Which thing is where."""
    both, spots = draw.sample(_THINGS, 2), draw.sample(_SPOTS, 2)
    i = draw.randrange(2)
    (text,) = words.columns("""
        {a} is {here} and {b} is {there}.
        {a} ist {here} und {b} ist {there}.
        {a} est {here} et {b} est {there}.
        {a} está {here} y {b} está {there}.
        {a}在{here}，{b}在{there}。
    """)
    a, b = (nouns.the(noun) for noun in both)
    asked = spots[i if ask == "yes" else 1 - i]
    return _answered(
        text, ask, _WHERE, spots[i], _IS_IT_THERE, a=a, b=b, here=spots[0], there=spots[1], x=(a, b)[i], asked=asked
    )


def shopping(draw: random.Random, ask: Ask) -> words.Meaning:
    """Who bought how many of what."""
    people, bought, counts = draw.sample(lexicon.NAMES, 2), draw.sample(_BOUGHT, 2), draw.sample(range(2, 13), 2)
    i = draw.randrange(2)
    text, what = words.columns("""
        {a} bought {these} and {b} bought {those}.    | what did {x} buy?
        {a} hat {these} gekauft und {b} {those}.      | was hat {x} gekauft?
        {a} a acheté {these} et {b} a acheté {those}. | qu'est-ce que {x} a acheté ?
        {a} compró {these} y {b} compró {those}.      | ¿qué compró {x}?
        {a}买了{these}，{b}买了{those}。                | {x}买了什么？
    """)
    who, truth = words.columns("""
        who bought {kind}?       | did {x} buy {asked}?
        wer hat {kind} gekauft?  | hat {x} {asked} gekauft?
        qui a acheté des {kind} ? | est-ce que {x} a acheté des {asked} ?
        ¿quién compró {kind}?    | ¿compró {x} {asked}?
        谁买了{kind}？             | {x}买{asked}了吗？
    """)
    these, those = (nouns.counted(noun, number) for noun, number in zip(bought, counts, strict=True))
    return _answered(
        text,
        ask,
        who if ask == "who" else what,
        people[i].words if ask == "who" else (these, those)[i],
        truth,
        a=people[0].words,
        b=people[1].words,
        these=these,
        those=those,
        x=people[i].words,
        kind=bought[i].plural,
        asked=bought[i if ask == "yes" else 1 - i].plural,
    )


def errand(draw: random.Random, ask: Ask) -> words.Meaning:
    """Who bought something where and when: "what" asks where, or when, or how many."""
    person, noun, number = draw.choice(lexicon.NAMES).words, draw.choice(_BOUGHT), draw.choice(range(2, 13))
    days, shops = draw.sample(clock.ON_WEEKDAYS, 2), draw.sample(lexicon.SHOPS, 2)
    text, who, truth = words.columns("""
        {a} bought {n} {place} {day}.      | who bought {x}?       | did {a} buy {x} {asked}?
        {a} hat {day} {place} {n} gekauft. | wer hat {x} gekauft?  | hat {a} {x} {asked} gekauft?
        {a} a acheté {n} {place} {day}.    | qui a acheté {x} ?    | est-ce que {a} a acheté {x} {asked} ?
        {a} compró {n} {place} {day}.      | ¿quién compró {x}?    | ¿compró {a} {x} {asked}?
        {a}{day}在{place}买了{n}。           | 谁买了{x}？             | {a}是{asked}买的{x}吗？
    """)
    when, where = words.columns("""
        when did {a} buy {x}?               | where did {a} buy {x}?
        wann hat {a} {x} gekauft?           | wo hat {a} {x} gekauft?
        quand est-ce que {a} a acheté {x} ? | où est-ce que {a} a acheté {x} ?
        ¿cuándo compró {a} {x}?             | ¿dónde compró {a} {x}?
        {a}什么时候买了{x}？                  | {a}在哪里买了{x}？
    """)
    many = noun.plural
    how_many = words.Words(
        f"how many {many.en} did {{a}} buy?",
        f"wie viele {many.de} hat {{a}} gekauft?",
        f"combien de {many.fr} est-ce que {{a}} a {'achetées' if noun.fr == 'f' else 'achetés'} ?",
        f"¿{'cuántas' if noun.es == 'f' else 'cuántos'} {many.es} compró {{a}}?",
        f"{{a}}买了几{noun.measure}{many.zh}？",
    )
    counted = nouns.counted(noun, number)
    amount = words.Words._make([*(part.split(" ")[0] for part in counted[:4]), counted.zh.removesuffix(many.zh)])
    question, answer = ((when, days[0]), (where, shops[0]), (how_many, amount))[draw.choice(range(3))]
    choices = draw.choice(("days", "shops"))
    asked = (days if choices == "days" else shops)[ask == "no"]
    if choices == "shops":
        asked = asked._replace(zh=f"在{asked.zh}")
    return _answered(
        text,
        ask,
        who if ask == "who" else question,
        person if ask == "who" else answer,
        truth,
        a=person,
        n=counted,
        place=shops[0],
        day=days[0],
        x=nouns.the_plural(noun),
        asked=asked,
    )


def colors(draw: random.Random, ask: Ask) -> words.Meaning:
    """Whose thing has which color."""
    people, noun = draw.sample(lexicon.NAMES, 2), draw.choice(_COLORED)
    shades = [_agreeing(color, noun.fr, noun.es) for color in draw.sample(_COLORS, 2)]
    i = draw.randrange(2)
    (text,) = words.columns("""
        {a}'s {noun} is {one} and {b}'s {noun} is {other}.
        {the} von {a} ist {one} und {the} von {b} ist {other}.
        {the} de {a} est {one} et {that} de {b} est {other}.
        {the} de {a} es {one} y {that} de {b} es {other}.
        {a}的{noun}是{one}的，{b}的{noun}是{other}的。
    """)
    what, truth = words.columns("""
        what color is {x}'s {noun}?        | is {x}'s {noun} {asked}?
        welche Farbe hat {the} von {x}?    | ist {the} von {x} {asked}?
        de quelle couleur est {the} de {x} ? | est-ce que {the} de {x} est {asked} ?
        ¿de qué color es {the} de {x}?     | ¿es {asked} {the} de {x}?
        {x}的{noun}是什么颜色的？             | {x}的{noun}是{asked}的吗？
    """)
    return _answered(
        text,
        ask,
        what,
        shades[i],
        truth,
        a=people[0].words,
        b=people[1].words,
        noun=noun.singular,
        the=nouns.the(noun),
        that=words.Words("", "", "celle" if noun.fr == "f" else "celui", "la" if noun.es == "f" else "el", ""),
        one=shades[0],
        other=shades[1],
        x=people[i].words,
        asked=shades[i if ask == "yes" else 1 - i],
    )


def jobs(draw: random.Random, ask: Ask) -> words.Meaning:
    """Who works as what, and in which city."""
    people, cities, work = draw.sample(lexicon.NAMES, 2), draw.sample(lexicon.CITIES, 2), draw.sample(_JOBS, 2)
    i = draw.randrange(2)
    (text,) = words.columns("""
        {a} is a {one} in {here} and {b} is a {other} in {there}.
        {a} ist {one} in {here} und {b} ist {other} in {there}.
        {a} est {one} à {here} et {b} est {other} à {there}.
        {a} es {one} en {here} y {b} es {other} en {there}.
        {a}在{here}当{one}，{b}在{there}当{other}。
    """)
    what, who, truth = words.columns("""
        what is {x}'s job?          | who works in {city}?        | is {x} a {asked}?
        was ist {x} von Beruf?      | wer arbeitet in {city}?     | ist {x} {asked}?
        quel est le métier de {x} ? | qui travaille à {city} ?    | est-ce que {x} est {asked} ?
        ¿cuál es el trabajo de {x}? | ¿quién trabaja en {city}?   | ¿es {x} {asked}?
        {x}做什么工作？               | 谁在{city}工作？              | {x}是{asked}吗？
    """)
    one, other = (_agreeing(job, *[person.gender] * 3) for job, person in zip(work, people, strict=True))
    return _answered(
        text,
        ask,
        who if ask == "who" else what,
        people[i].words if ask == "who" else (one, other)[i],
        truth,
        a=people[0].words,
        b=people[1].words,
        one=one,
        other=other,
        here=cities[0],
        there=cities[1],
        x=people[i].words,
        city=cities[i],
        asked=_agreeing(work[i if ask == "yes" else 1 - i], *[people[i].gender] * 3),
    )


def departures(draw: random.Random, ask: Ask) -> words.Meaning:
    """What leaves for which city at which hour."""
    vehicles, cities = draw.sample(_VEHICLES, 2), draw.sample(lexicon.CITIES, 2)
    hours = [clock.at_hour(hour) for hour in draw.sample(range(1, 12), 2)]
    i = draw.randrange(2)
    text, when, truth = words.columns("""
        {a} leaves {one} and {b} {other}.   | when does {x} leave?      | does {x} leave {asked}?
        {a} fährt {one} ab und {b} {other}. | wann fährt {x} ab?        | fährt {x} {asked} ab?
        {a} part {one} et {b} {other}.      | à quelle heure part {x} ? | est-ce que {x} part {asked} ?
        {a} sale {one} y {b} {other}.       | ¿a qué hora sale {x}?     | ¿sale {x} {asked}?
        {a}{one}出发，{b}{other}出发。         | {x}几点出发？               | {x}{asked}出发吗？
    """)
    bound = words.Words("{v} to {c}", "{v} nach {c}", "{v} pour {c}", "{v} a {c}", "去{c}的{v}")
    a, b = (words.fill(bound, v=nouns.the(vehicle), c=city) for vehicle, city in zip(vehicles, cities, strict=True))
    asked = hours[i if ask == "yes" else 1 - i]
    return _answered(text, ask, when, hours[i], truth, a=a, b=b, one=hours[0], other=hours[1], x=(a, b)[i], asked=asked)


def weather(draw: random.Random, ask: Ask) -> words.Meaning:
    """What the weather is in which city."""
    cities, kinds = draw.sample(lexicon.CITIES, 2), draw.sample(range(len(_WEATHER)), 2)
    text, question, truth = words.columns("""
        in {a} {one} and in {b} {other}.  | where {x}?              | {asked} in {city}?
        in {a} {one} und in {b} {other}.  | wo {x}?                 | {asked} in {city}?
        à {a}, {one} et à {b}, {other}.   | où est-ce que {x} ?     | est-ce que {asked} à {city} ?
        en {a} {one} y en {b} {other}.    | ¿dónde {x}?             | ¿{asked} en {city}?
        {a}{one}，{b}{other}。             | 哪里{x}？                | {city}{asked}吗？
    """)
    i = draw.randrange(2)
    return _answered(
        text,
        ask,
        question,
        cities[i],
        truth,
        a=cities[0],
        b=cities[1],
        one=_WEATHER[kinds[0]],
        other=_WEATHER[kinds[1]],
        city=cities[i],
        x=_WEATHER_QUESTIONS[kinds[i]],
        asked=_WEATHER_QUESTIONS[kinds[i if ask == "yes" else 1 - i]],
    )


def _asked(fact: Callable[..., words.Meaning], *asks: Ask) -> tuple:
    return tuple(functools.partial(fact, ask=ask) for ask in asks)


# Of the first questions of sentences half take a piece of the text, a quarter yes and a quarter no.
KINDS = (
    *_asked(places, "what", "yes"),
    *_asked(shopping, "who", "no"),
    *_asked(colors, "what", "yes"),
    *_asked(jobs, "who", "no"),
    *_asked(errand, "what", "yes"),
    *_asked(things, "what", "no"),
    *_asked(departures, "what", "yes"),
    *_asked(weather, "what", "no"),
    *_asked(places, "who", "no"),
    *_asked(shopping, "what", "yes"),
    *_asked(jobs, "what", "yes"),
    *_asked(errand, "who", "no"),
    *_asked(errand, "what", "yes"),
    *_asked(colors, "what", "no"),
    *_asked(things, "what", "yes"),
    *_asked(departures, "what", "no"),
    *_asked(weather, "what", "yes"),
    *_asked(places, "what", "no"),
)
