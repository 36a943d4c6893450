"""Numbers from 0 to 9999 in words: cardinals, ordinals of days, years, digits one by one."""

from tasks.embedded_corpus import words


def _list(names: str) -> list[str]:
    return names.split()


_EN = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_EN_TENS = _list("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_DE = _list(
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
)
_DE_TENS = _list("_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_FR = _list(
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
    "dix-neuf"
)
_FR_TENS = _list("_ _ vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt")
_ES = _list(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete "
    "veintiocho veintinueve"
)
_ES_TENS = _list("_ _ veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = _list(
    "_ ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos"
)
_ZH = "零一二三四五六七八九"


def cardinal(number: int, language: str, *, gender: str = "", counting: bool = False) -> str:
    """A number from 0 to 9999 in words.

    `gender` ("m" or "f") is that of the French or Spanish noun it stands before; "" where it stands alone.
    `counting` is for Chinese, which counts things with 两 and not 二.
    """
    if not 0 <= number <= 9999:
        raise ValueError(f"numerals stand for 0 to 9999, found {number}.")
    if language == "zh":
        return _chinese(number, counting)
    return {"en": _english, "de": _german, "fr": _french, "es": _spanish}[language](number, gender)


def figures(number: int, *, fr: str = "", es: str = "") -> words.Words:
    """`number` written in figures and said in words; `fr`, `es`: gender of the noun that follows."""
    genders = {"fr": fr, "es": es}
    return words.Words(
        *(f"[{number}|{cardinal(number, language, gender=genders.get(language, ''))}]" for language in words.LANGUAGES)
    )


def digits(text: str) -> words.Words:
    """A string of digits, said one by one."""
    return words.Words(
        *(
            f"[{text}|{('' if language == 'zh' else ' ').join(cardinal(int(digit), language) for digit in text)}]"
            for language in words.LANGUAGES
        )
    )


def year(number: int) -> words.Words:
    """A year from 1900 on, as each language says it."""
    century, rest = divmod(number, 100)
    if number // 1000 == 2 and rest < 10:
        english, german = _english(number, ""), _german(number, "")
    else:
        english = f"{_english(century, '')} {_english(rest, '')}"
        german = f"{_german(century, '')}hundert{_german(rest, '')}" if century < 20 else _german(number, "")
    chinese = "".join(_ZH[int(digit)] for digit in str(number))
    said = (english, german, _french(number, ""), _spanish(number, ""), chinese)
    return words.Words(*(f"[{number}|{word}]" for word in said))


def english_ordinal(day: int) -> str:
    """1 to 31: first, second, ..."""
    irregular = {1: "first", 2: "second", 3: "third", 5: "fifth", 8: "eighth", 9: "ninth", 12: "twelfth"}
    tens, ones = divmod(day, 10)
    if day in irregular:
        return irregular[day]
    if day < 20:
        return _EN[day] + "th"
    return f"{_EN_TENS[tens]}-{english_ordinal(ones)}" if ones else _EN_TENS[tens][:-1] + "ieth"


def german_ordinal(day: int) -> str:
    """1 to 31: erste, zweite, ... as after the article."""
    irregular = {1: "erste", 3: "dritte", 7: "siebte", 8: "achte"}
    return irregular.get(day) or _german(day, "") + ("te" if day < 20 else "ste")


def _english(number: int, gender: str) -> str:
    parts = []
    if number >= 1000:
        parts.append(f"{_EN[number // 1000]} thousand")
    if number % 1000 >= 100:
        parts.append(f"{_EN[number % 1000 // 100]} hundred")
    tens, ones = divmod(number % 100, 10)
    if tens >= 2:
        parts.append(_EN_TENS[tens] + (f"-{_EN[ones]}" if ones else ""))
    elif number % 100 or not parts:
        parts.append(_EN[number % 100])
    return " ".join(parts)


def _german(number: int, gender: str) -> str:
    parts = []
    if number >= 1000:
        parts.append(f"{_DE[number // 1000]}tausend")
    if number % 1000 >= 100:
        parts.append(f"{_DE[number % 1000 // 100]}hundert")
    tens, ones = divmod(number % 100, 10)
    if tens >= 2:
        parts.append((f"{_DE[ones]}und" if ones else "") + _DE_TENS[tens])
    elif number % 100 == 1:
        parts.append("eins")
    elif number % 100 or not parts:
        parts.append(_DE[number % 100])
    return "".join(parts)


def _french(number: int, gender: str) -> str:
    parts = []
    thousands, hundreds, rest = number // 1000, number % 1000 // 100, number % 100
    if thousands:
        parts.append("mille" if thousands == 1 else f"{_FR[thousands]} mille")
    if hundreds:
        parts.append("cent" if hundreds == 1 else f"{_FR[hundreds]} cent" + ("" if rest else "s"))
    tens, ones = divmod(rest, 10)
    if tens in (7, 9):
        ones += 10
    if tens < 2:
        below = _FR[rest] if rest or not parts else ""
    elif ones == 0:
        below = _FR_TENS[tens] + ("s" if tens == 8 else "")
    elif ones in (1, 11) and tens < 8:
        below = f"{_FR_TENS[tens]} et {_FR[ones]}"
    else:
        below = f"{_FR_TENS[tens]}-{_FR[ones]}"
    if gender == "f" and below.endswith("un"):
        below += "e"
    return " ".join([*parts, below] if below else parts)


def _spanish(number: int, gender: str) -> str:
    parts = []
    thousands, hundreds, rest = number // 1000, number % 1000 // 100, number % 100
    if thousands:
        parts.append("mil" if thousands == 1 else f"{_ES[thousands]} mil")
    if hundreds:
        word = "cien" if hundreds == 1 and not rest else _ES_HUNDREDS[hundreds]
        parts.append(word[:-2] + "as" if gender == "f" and hundreds > 1 else word)
    if rest >= 30:
        tens, ones = divmod(rest, 10)
        parts.append(_ES_TENS[tens] + (f" y {_ES[ones]}" if ones else ""))
    elif rest or not parts:
        parts.append(_ES[rest])
    text = " ".join(parts)
    if gender == "f" and text.endswith("uno"):
        return text[:-1] + "a"
    if gender == "m" and text.endswith("uno"):
        return text[:-3] + "ún" if rest == 21 else text[:-1]
    return text


def _chinese(number: int, counting: bool) -> str:
    if number == 2 and counting:
        return "两"
    if number < 10:
        return _ZH[number]
    text, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十")):
        digit = number // unit % 10
        if digit:
            one_ten = unit == 10 and digit == 1 and not text
            counted = "" if one_ten else "两" if digit == 2 and unit >= 100 else _ZH[digit]
            text += ("零" if gap else "") + counted + name
        gap = bool(text) and not digit
    ones = number % 10
    return text + (("零" if gap else "") + _ZH[ones] if ones else "")
