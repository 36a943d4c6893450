"""Days, dates and times of day, as they stand in sentences of every language."""

import random
from typing import NamedTuple

from tasks.embedded_corpus import numerals, words

WEEKDAYS = words.table("""
    Monday    | Montag     | lundi    | lunes     | 星期一
    Tuesday   | Dienstag   | mardi    | martes    | 星期二
    Wednesday | Mittwoch   | mercredi | miércoles | 星期三
    Thursday  | Donnerstag | jeudi    | jueves    | 星期四
    Friday    | Freitag    | vendredi | viernes   | 星期五
    Saturday  | Samstag    | samedi   | sábado    | 星期六
    Sunday    | Sonntag    | dimanche | domingo   | 星期天
""")
_ON = words.Words("on {day}", "am {day}", "{day}", "el {day}", "{day}")
ON_WEEKDAYS = tuple(words.fill(_ON, day=day) for day in WEEKDAYS)
FUTURE_DAYS = (words.Words("tomorrow", "morgen", "demain", "mañana", "明天"), *ON_WEEKDAYS)
PAST_DAYS = (
    words.Words("yesterday", "gestern", "hier", "ayer", "昨天"),
    words.Words("today", "heute", "aujourd'hui", "hoy", "今天"),
    *ON_WEEKDAYS,
)
MONTHS = words.table("""
    January   | Januar    | janvier   | enero      | 一月
    February  | Februar   | février   | febrero    | 二月
    March     | März      | mars      | marzo      | 三月
    April     | April     | avril     | abril      | 四月
    May       | Mai       | mai       | mayo       | 五月
    June      | Juni      | juin      | junio      | 六月
    July      | Juli      | juillet   | julio      | 七月
    August    | August    | août      | agosto     | 八月
    September | September | septembre | septiembre | 九月
    October   | Oktober   | octobre   | octubre    | 十月
    November  | November  | novembre  | noviembre  | 十一月
    December  | Dezember  | décembre  | diciembre  | 十二月
""")


class Period(NamedTuple):
    """A part of the day, and the hours (1 to 12) that are said with it."""

    words: words.Words
    hours: range


PERIODS = (
    Period(words.Words("in the morning", "morgens", "du matin", "de la mañana", "早上"), range(6, 12)),
    Period(words.Words("in the afternoon", "nachmittags", "de l'après-midi", "de la tarde", "下午"), range(1, 6)),
    Period(words.Words("in the evening", "abends", "du soir", "de la noche", "晚上"), range(8, 12)),
)
MINUTES = (0, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55)


def date(draw: random.Random) -> words.Words:
    """A day of the year, without article: "March 5", "5. März" (dative and accusative), "5 mars", "5 de marzo"."""
    month, day = draw.choice(range(12)), draw.choice(range(1, 29))
    name, zh = MONTHS[month], numerals.cardinal(day, "zh")
    return words.Words(
        f"{name.en} [{day}|{numerals.english_ordinal(day)}]",
        f"[{day}.|{numerals.german_ordinal(day)}n] {name.de}",
        f"[{'1er|premier' if day == 1 else f'{day}|' + numerals.cardinal(day, 'fr')}] {name.fr}",
        f"[{day}|{numerals.cardinal(day, 'es')}] de {name.es}",
        f"[{month + 1}月{day}|{name.zh}{zh}]日",
    )


def at_time(draw: random.Random, *, period: bool = True) -> words.Words:
    """A time of day in figures, as an adverbial: "at 7:30 in the morning", "um 7:30 Uhr morgens"."""
    part = draw.choice(PERIODS)
    time = _clock(draw.choice(part.hours), draw.choice(MINUTES))
    if not period:
        return time
    return words.fill(words.spaced("{time} {period}", "{period}{time}"), time=time, period=part.words)


def at_hour(hour: int) -> words.Words:
    """A full hour in words, as an adverbial: "at seven o'clock"."""
    en, de, fr, es, zh = (numerals.cardinal(hour, language, counting=True) for language in words.LANGUAGES)
    return words.Words(
        f"at {en} o'clock",
        f"um {'ein' if hour == 1 else de} Uhr",
        "à une heure" if hour == 1 else f"à {fr} heures",
        "a la una" if hour == 1 else f"a las {es}",
        f"{zh}点",
    )


def _clock(hour: int, minute: int) -> words.Words:
    named, minutes = (
        [numerals.cardinal(number, language, counting=number == hour) for language in words.LANGUAGES]
        for number in (hour, minute)
    )
    if hour == 1:
        named[:4] = "one", "ein", "une", "una"
    french = "heure" if hour == 1 else "heures"
    article = "la" if hour == 1 else "las"
    spanish = {15: "cuarto", 30: "media"}.get(minute, minutes[3])
    if minute == 0:
        return words.Words(
            f"at [{hour}|{named[0]}] o'clock",
            f"um [{hour}|{named[1]}] Uhr",
            f"à [{hour} h|{named[2]} {french}]",
            f"a {article} [{hour}|{named[3]}]",
            f"[{hour}|{named[4]}]点",
        )
    return words.Words(
        f"at [{hour}:{minute}|{named[0]} {minutes[0]}]",
        f"um [{hour}:{minute} Uhr|{named[1]} Uhr {minutes[1]}]",
        f"à [{hour} h {minute}|{named[2]} {french} {minutes[2]}]",
        f"a {article} [{hour}:{minute}|{named[3]} y {spanish}]",
        f"[{hour}点{minute}分|{named[4]}点{minutes[4]}分]",
    )
