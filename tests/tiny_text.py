"""Made-up text for tests, enough for a vocabulary of some 900 pieces."""

import random

SYLLABLES = {
    "en": "the small house stand near a riv er and peo ple don't of ten walk there at night",
    "de": "das klei ne Haus steht an ei nem Fluß und größ ere Bäu me wach sen ü ber den Dä chern",
    "fr": "la pe ti te mai son près de ri vi ère é tait vi de et l'é té pas sait à cô té",
    "zh": "你 好 世 界 我 们 今 天 去 河 边 看 房 子 和 大 树 ， 。",
}


def corpus(lines: int = 600) -> list[str]:
    """Lines of made-up text in four scripts and orthographies."""
    draw = random.Random(0)
    words = {
        code: ["".join(draw.choices(parts.split(), k=draw.randint(1, 3))) for _ in range(80)]
        for code, parts in SYLLABLES.items()
    }
    codes = list(words)
    glue = {"zh": ""}
    return [glue.get(code, " ").join(draw.choices(words[code], k=8)) for code in codes * (lines // len(codes))]
