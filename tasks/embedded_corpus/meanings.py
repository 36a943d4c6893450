"""What is said, by whom: sentences drawn from the grammar for every split, no sentence twice."""

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tasks.embedded_corpus import config, dealer, shown, words
from tasks.embedded_corpus.domains import commands, facts, greetings, numbers, orders, sentiment, times

SPLITS = ("train", "validation", "test_sentences", "test_voices")
VOICES = {"en": "en-us", "de": "de", "fr": "fr", "es": "es", "zh": "cmn"}
"""espeak-ng's voice for each language, before its variant: "en-us+m3"."""
DOMAINS: dict[str, Any] = dict(
    zip(config.DOMAINS, (numbers, times, orders, facts, sentiment, commands, greetings), strict=True),
)
Kind = Callable[[random.Random], words.Meaning]
_ROUND = (
    *("facts", "orders", "sentiment", "commands", "numbers", "times", "facts", "sentiment", "orders", "greetings"),
    *("commands", "facts", "times", "numbers", "sentiment", "orders", "facts", "commands", "times", "numbers"),
)
"""Which domain each sentence comes from, over and over."""
_ATTEMPTS = 60


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A meaning and where it stands."""

    id: str
    domain: str
    kind: str
    meaning: words.Meaning
    also: tuple[words.Meaning, ...] = ()
    """The same text with other questions."""


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A sentence in a language, and how it is spoken."""

    id: str
    split: str
    language: str
    drawn: Drawn
    speaker: str
    rate_wpm: int
    pitch: int
    level_db: float

    @property
    def said(self) -> str:
        """What the voice reads: the sentence with its punctuation, every figure in words."""
        return words.said(self.drawn.meaning.text.of(self.language), self.language)

    def fields(self) -> dict[str, Any]:
        """The record of this utterance, but for its waveform."""
        meaning, language = self.drawn.meaning, self.language
        return {
            "id": self.id,
            "split": self.split,
            "lang": language,
            "text": words.written(meaning.text.of(language), language),
            "spoken": words.spoken(self.said, language),
            "meaning_id": self.drawn.id,
            "domain": self.drawn.domain,
            "kind": self.drawn.kind,
            "intent": meaning.intent,
            "slots": meaning.slots,
            "sentiment": meaning.sentiment,
            **self._questions(),
            **{f"translation/{other}": words.written(meaning.text.of(other), other) for other in words.LANGUAGES},
            "speaker": self.speaker,
            "rate_wpm": self.rate_wpm,
            "pitch": self.pitch,
            "level_db": self.level_db,
        }

    def _questions(self) -> dict[str, str | list[str]]:
        """What is asked of the sentence: one question, and all that its split asks."""
        asked, answers = [], []
        for meaning in (self.drawn.meaning, *self.drawn.also):
            if meaning.question and meaning.answer:
                asked.append(words.written(meaning.question.of(self.language), self.language))
                answers.append(words.phrase(meaning.answer.of(self.language), self.language))
        first = {"question": asked[0], "answer": answers[0]} if asked else {"question": "", "answer": ""}
        return {**first, "questions": asked, "answers": answers}


def utterances(corpus: config.EmbeddedCorpus) -> Iterator[Utterance]:
    """All utterances, split by split; languages and domains take turns within a split.

    Held-out sentences are drawn first, so that they stay what they are when the training grows; those of `shown` stand
    in front of `test_voices`. Raises ValueError when the grammar has fewer sentences than are asked for.
    """
    taken = {
        language: {words.said(meaning.text.of(language), language) for meaning in shown.SENTENCES}
        for language in words.LANGUAGES
    }
    counts = {
        "test_sentences": (corpus.test_sentences, ("all",)),
        "test_voices": (corpus.test_sentences, ("all",)),
        "validation": (corpus.validation_sentences, ("all",)),
        "train": (corpus.train_sentences, corpus.languages),
    }
    rounds: dict[str, tuple[str, ...]] = dict.fromkeys(SPLITS, _ROUND)
    rounds["train"] = tuple(domain for domain in _ROUND if domain in corpus.train_domains)
    kinds = {name: list(domain.KINDS) for name, domain in DOMAINS.items()}
    drawn = {
        split: list(_draw(corpus.seed, split, count, languages, rounds[split], kinds, taken))
        for split, (count, languages) in counts.items()
    }
    drawn["test_voices"] = [
        *(Drawn(f"shown-{i}", "shown", "shown", meaning) for i, meaning in enumerate(shown.SENTENCES)),
        *drawn["test_voices"],
    ]
    for split in SPLITS:
        for i, meaning in enumerate(drawn[split]):
            if split == "train":
                yield from _spoken(corpus, split, corpus.languages[i % len(corpus.languages)], meaning)
            else:
                for language in corpus.languages:
                    yield from _spoken(corpus, split, language, meaning)


def _draw(
    seed: int,
    split: str,
    sentences: int,
    languages: tuple[str, ...],
    domains: tuple[str, ...],
    kinds: dict[str, list[Kind]],
    taken: dict[str, set[str]],
) -> Iterator[Drawn]:
    """`sentences` new meanings for each of the languages, which take turns, of `domains` over and over."""
    dealers = [dealer.Dealer(f"{seed} {split} {language}") for language in languages]
    turns = dict.fromkeys(DOMAINS, 0)
    for i in range(sentences):
        domain = domains[i % len(domains)]
        for j, draw in enumerate(dealers):
            before, kind, meaning = _new(draw, domain, turns[domain], kinds[domain], taken)
            # What is held out asks one question of a sentence, so that no sentence counts more than another.
            also = _asking_else(kind, meaning, before, DOMAINS[domain].KINDS) if split == "train" else ()
            yield Drawn(f"{split}-{i * len(dealers) + j:05d}", domain, _name(kind), meaning, tuple(also))
        turns[domain] += 1


def _new(
    draw: dealer.Dealer, domain: str, turn: int, kinds: list[Kind], taken: dict[str, set[str]]
) -> tuple[dealer.Dealer, Kind, words.Meaning]:
    """A meaning whose sentence was not said yet in any language, its kind, and the dealer as it stood before. A kind
    that has none left is struck off `kinds`."""
    while kinds:
        kind = kinds[turn % len(kinds)]
        for _ in range(_ATTEMPTS):
            before = draw.copy()
            meaning = kind(draw)
            said = {language: words.said(meaning.text.of(language), language) for language in words.LANGUAGES}
            if not any(said[language] in taken[language] for language in words.LANGUAGES):
                for language in words.LANGUAGES:
                    taken[language].add(said[language])
                return before, kind, meaning
        kinds.remove(kind)
    raise ValueError(
        f"the embedded corpus ran out of new sentences of the domain {domain!r} after {len(taken['en'])} sentences in "
        "all. Lower EmbeddedCorpus.train_sentences, or name fewer in .languages: each has sentences of its own."
    )


def _asking_else(
    kind: Kind, meaning: words.Meaning, before: dealer.Dealer, kinds: Sequence[Kind]
) -> Iterator[words.Meaning]:
    """What the other kinds of the same function make of the same draws: the same sentence, asked something else."""
    others = {_name(other): other for other in kinds if _function(other) is _function(kind)}
    others.pop(_name(kind), None)
    for other in others.values():
        found = other(before.copy())
        # A grammar that draws more for one question than for another has gone on to another sentence.
        if found.text == meaning.text:
            yield found


def _function(kind: Kind) -> Kind:
    return kind.func if isinstance(kind, functools.partial) else kind


def _name(kind: Kind) -> str:
    """The name of the grammar's function, with what it asks where it asks something."""
    if isinstance(kind, functools.partial):
        return "_".join([kind.func.__name__.strip("_"), *([kind.keywords["ask"]] if "ask" in kind.keywords else [])])
    return kind.__name__


def _spoken(corpus: config.EmbeddedCorpus, split: str, language: str, drawn: Drawn) -> Iterator[Utterance]:
    draw = random.Random(f"{corpus.seed} {drawn.id} {language}")
    voices = corpus.unseen_voices if split == "test_voices" else corpus.voices
    twice = split == "train" and draw.random() < corpus.second_voice_share and len(voices) > 1
    for i, voice in enumerate(draw.sample(voices, 2 if twice else 1)):
        yield Utterance(
            id=f"{drawn.id}-{language}-{i}",
            split=split,
            language=language,
            drawn=drawn,
            speaker=f"{VOICES[language]}+{voice}",
            rate_wpm=draw.randint(*corpus.rates_wpm),
            pitch=draw.randint(*corpus.pitches),
            level_db=round(draw.uniform(*corpus.levels_db), 1),
        )
