"""How large the embedded corpus is and who speaks it. Making one writes nothing."""

import dataclasses

from tasks.embedded_corpus import words

DOMAINS = ("numbers", "times", "orders", "facts", "sentiment", "commands", "greetings")
"""What sentences are about: each has a file in the folder of that name."""


@dataclasses.dataclass(frozen=True)
class EmbeddedCorpus:
    """A corpus of sentences with the same meaning in five languages, spoken by espeak-ng.

    A training sentence is spoken in one language, so that the text varies the more; a sentence that is held out is
    spoken in each, so that languages compare. Every record has the text in all five.
    """

    seed: int = 0
    languages: tuple[str, ...] = words.LANGUAGES
    """Which are spoken, of "en", "de", "fr", "es", "zh"."""
    train_sentences: int = 850
    """In each language."""
    train_domains: tuple[str, ...] = DOMAINS
    """What the training is about; what is held out is about all."""
    second_voice_share: float = 0.15
    """Of the training sentences, this share is spoken by two voices and not one."""
    validation_sentences: int = 40
    test_sentences: int = 60
    """In each of the two test splits, `test_sentences` (voices of the training) and `test_voices` (others)."""
    voices: tuple[str, ...] = ("m1", "m3", "m4", "m6", "m7", "f1", "f2", "f4", "belinda", "Alex")
    """Variants of espeak-ng's voices that speak all splits but `test_voices`, in every language."""
    unseen_voices: tuple[str, ...] = ("m2", "f3", "max")
    """The variants that speak `test_voices`, and nothing else."""
    rates_wpm: tuple[int, int] = (155, 215)
    """Slowest and fastest speech, words a minute."""
    pitches: tuple[int, int] = (35, 65)
    """Lowest and highest pitch, of 0 to 99."""
    levels_db: tuple[float, float] = (-12.0, -1.0)
    """Lowest and highest peak of a waveform, in dB of full scale."""
    is_spoken: bool = True
    """Whether there is speech; text alone is made in no time, so there may be much of it."""

    def __post_init__(self):
        unknown = [language for language in self.languages if language not in words.LANGUAGES]
        if unknown or not self.languages or len(set(self.languages)) < len(self.languages):
            raise ValueError(
                f"the embedded corpus is spoken in some of {', '.join(words.LANGUAGES)}, each named once; found "
                f"{self.languages}. Set EmbeddedCorpus.languages."
            )
        strange = [domain for domain in self.train_domains if domain not in DOMAINS]
        if strange or not self.train_domains:
            raise ValueError(
                f"the embedded corpus is about {', '.join(DOMAINS)}; found {self.train_domains}. Set "
                "EmbeddedCorpus.train_domains."
            )
        for field in ("train_sentences", "validation_sentences", "test_sentences"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"every split holds a sentence or more: EmbeddedCorpus.{field} = {getattr(self, field)}."
                )
        both = set(self.voices) & set(self.unseen_voices)
        if both or not self.voices or not self.unseen_voices:
            raise ValueError(
                "the embedded corpus wants voices for training and other voices for test_voices, found "
                f"{'in both: ' + ', '.join(sorted(both)) if both else 'none in one of them'}. "
                "Set EmbeddedCorpus.voices or .unseen_voices."
            )
        if not 0 <= self.second_voice_share <= 1:
            raise ValueError(f"a share is 0 to 1: EmbeddedCorpus.second_voice_share = {self.second_voice_share}.")
        for field, least, most in (("rates_wpm", 80, 450), ("pitches", 0, 99), ("levels_db", -40, -0.1)):
            low, high = getattr(self, field)
            if not least <= low <= high <= most:
                raise ValueError(f"EmbeddedCorpus.{field} is (low, high) in {least} to {most}, found {(low, high)}.")


SMALL = EmbeddedCorpus(train_sentences=20, validation_sentences=7, test_sentences=7)
"""A corpus that takes a second or two: the same splits and fields."""
