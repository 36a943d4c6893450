"""Days, dates, years, times of day, departures, opening hours, plans."""

import random

from tasks.embedded_corpus import clock, lexicon, nouns, numerals, words

_EVENTS = nouns.named("concert", "meeting", "film", "class", "party", "exam", "game")
_VEHICLES = nouns.named("train", "bus", "plane", "ship")
_OPENING = nouns.named("museum", "library", "supermarket", "restaurant", "school", "market")
_DEPARTURES = words.table("""
    leaves  | fährt {time} ab  | part {time}   | sale {time}  | {time}出发
    arrives | kommt {time} an  | arrive {time} | llega {time} | {time}到达
""")
_OPENS = words.table("""
    opens  | öffnet   | ouvre | abre   | 开门
    closes | schließt | ferme | cierra | 关门
""")
_DESTINATIONS = words.table("""
    to the beach  | an den Strand | à la plage     | a la playa  | 海滩
    to the museum | ins Museum    | au musée       | al museo    | 博物馆
    to the market | auf den Markt | au marché      | al mercado  | 市场
    to the park   | in den Park   | au parc        | al parque   | 公园
    to the cinema | ins Kino      | au cinéma      | al cine     | 电影院
    to school     | in die Schule | à l'école      | a la escuela | 学校
""") + tuple(words.fill(words.Words("to {c}", "nach {c}", "à {c}", "a {c}", "{c}"), c=city) for city in lexicon.CITIES)
_HALVES = words.table("""
    half past {h}    | halb {next}        | {h} {heures} et demie        | {h} y media          | {h}点半
    quarter past {h} | Viertel nach {h}   | {h} {heures} et quart        | {h} y cuarto         | {h}点一刻
    quarter to {next} | Viertel vor {next} | {next} {heures} moins le quart | {next} menos cuarto | 差一刻{next}点
""")


def today(draw: random.Random) -> words.Meaning:
    """Which day it is."""
    text = words.Words(
        "Today is {day}, {date}.",
        "Heute haben wir {day}, den {date}.",
        "Aujourd'hui, nous sommes le {day} {date}.",
        "Hoy es {day}, {date}.",
        "今天是{date}，{day}。",
    )
    return words.Meaning(words.fill(text, day=draw.choice(clock.WEEKDAYS), date=clock.date(draw)))


def birthday(draw: random.Random) -> words.Meaning:
    """When someone's birthday is."""
    text = words.Words(
        "{person}'s birthday is on {date}.",
        "{person} hat am {date} Geburtstag.",
        "L'anniversaire de {person} est le {date}.",
        "El cumpleaños de {person} es el {date}.",
        "{person}的生日是{date}。",
    )
    return words.Meaning(words.fill(text, person=draw.choice(lexicon.PEOPLE).words, date=clock.date(draw)))


def event(draw: random.Random) -> words.Meaning:
    """When something starts."""
    text = words.Words(
        "{event} starts {day} {time}.",
        "{event} beginnt {day} {time}.",
        "{event} commence {day} {time}.",
        "{event} empieza {day} {time}.",
        "{event}{day}{time}开始。",
    )
    return words.Meaning(
        words.fill(
            text,
            event=nouns.the(draw.choice(_EVENTS)),
            day=draw.choice(clock.FUTURE_DAYS),
            time=clock.at_time(draw),
        )
    )


def departure(draw: random.Random) -> words.Meaning:
    """When a train, bus, plane or ship leaves or arrives."""
    text = words.Words(
        "{vehicle} {direction} {city} {verb} {time}.",
        "{vehicle} {direction} {city} {verb}.",
        "{vehicle} {direction} {city} {verb}.",
        "{vehicle} {direction} {city} {verb}.",
        "{direction}{city}{arrow}的{vehicle}{verb}。",
    )
    leaves = draw.random() < 0.5
    time = clock.at_time(draw)
    vehicle = nouns.the(draw.choice(_VEHICLES))
    verb = words.fill(_DEPARTURES[0 if leaves else 1], time=time)
    if leaves and vehicle.en == "the plane":
        verb = verb._replace(de=verb.de.replace("fährt", "fliegt"))
    if leaves:
        direction = words.Words("to", "nach", "pour", "a", "去")
    else:
        direction = words.Words("from", "aus", "de", "de", "从")
    return words.Meaning(
        words.fill(
            text,
            vehicle=vehicle,
            direction=direction,
            city=draw.choice(lexicon.CITIES),
            verb=verb,
            time=time,
            arrow=words.same("" if leaves else "来"),
        )
    )


def birth(draw: random.Random) -> words.Meaning:
    """On which day of which year someone was born."""
    person = draw.choice(lexicon.NAMES)
    text = words.Words(
        "{person} was born on {date}, {year}.",
        "{person} wurde am {date} {year} geboren.",
        "{person} est " + ("née" if person.gender == "f" else "né") + " le {date} {year}.",
        "{person} nació el {date} de {year}.",
        "{person}出生于{year}年{date}。",
    )
    year = numerals.year(draw.choice(range(1950, 2020)))
    return words.Meaning(words.fill(text, person=person.words, date=clock.date(draw), year=year))


def now(draw: random.Random) -> words.Meaning:
    """What time it is in a city, in halves and quarters of an hour."""
    hour = draw.choice(range(1, 12))
    pattern = draw.choice(_HALVES)
    named, following = (
        words.Words(*(numerals.cardinal(number, language, gender="f", counting=True) for language in words.LANGUAGES))
        for number in (hour, hour + 1)
    )
    is_one = hour == 1 and "{h}" in pattern.es
    text = words.Words(
        "In {city} it is now {time}.",
        "In {city} ist es jetzt {time}.",
        "À {city}, il est maintenant {time}.",
        f"En {{city}} {'es ahora la' if is_one else 'son ahora las'} {{time}}.",
        "{city}现在{time}。",
    )
    heures = "heure" if hour == 1 and "{h}" in pattern.fr else "heures"
    time = words.fill(pattern, h=named, next=following, heures=words.same(heures))
    return words.Meaning(words.fill(text, city=draw.choice(lexicon.CITIES), time=time))


def opening(draw: random.Random) -> words.Meaning:
    """When a place opens or closes on a day."""
    text = words.Words(
        "{place} {opens} {time} {day}.",
        "{place} {opens} {day} {time}.",
        "{place} {opens} {time} {day}.",
        "{place} {opens} {time} {day}.",
        "{place}{day}{time}{opens}。",
    )
    return words.Meaning(
        words.fill(
            text,
            place=nouns.the(draw.choice(_OPENING)),
            opens=draw.choice(_OPENS),
            day=draw.choice(clock.ON_WEEKDAYS),
            time=clock.at_time(draw, period=False),
        )
    )


def plan(draw: random.Random) -> words.Meaning:
    """Who goes where, with whom, on which day."""
    friend = draw.choice(lexicon.PEOPLE)
    text = words.Words(
        "{day} I am going {place} with {friend}.",
        f"{{day}} gehe ich mit {friend.dative} {{place}}.",
        "{day}, je vais {place} avec {friend}.",
        "{day} voy {place} con {friend}.",
        "{day}我和{friend}去{place}。",
    )
    place = draw.choice(_DESTINATIONS)
    if place.de.startswith("nach "):
        text = text._replace(de=text.de.replace("gehe", "fahre"))
    return words.Meaning(words.fill(text, day=draw.choice(clock.FUTURE_DAYS), place=place, friend=friend.words))


KINDS = (today, birthday, event, departure, birth, now, opening, plan)
