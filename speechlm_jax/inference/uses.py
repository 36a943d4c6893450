"""What a model can be used for, and what has to be said for it. Needs neither JAX nor TensorFlow."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from speechlm_jax import settings, vocabulary
from speechlm_jax.inference import asking, captions, config


class Use(NamedTuple):
    """One use of a model."""

    example: Callable[[asking.Given, vocabulary.Vocabulary], asking.Example]
    doing: str
    """For messages."""
    objective: str
    """What it is learned by, without `spoken_` or `speech_`."""
    reads: tuple[str, ...]
    """What there is to ask about: the field `audio` or the field `text`, the first that is there."""
    takes: tuple[str, ...]
    """Choices of a Request that mean something to it."""
    needs: tuple[str, ...] = ()
    """Those that it cannot do without."""
    beside: str = ""
    """One that it cannot do without either, where the lines of a manifest do not say it by a field of its name."""
    by_pieces: bool = False
    """Whether what is asked about a recording may be asked about each part of it."""


_WRITES = ("decoding", "language_model", "format")
_BY_PIECES = ("times", "piece_seconds", "out_dir")

USES = {
    "transcribe": Use(
        asking.transcribe,
        "transcribing",
        "recognition",
        ("audio",),
        ("language", "search", "aligner", *_BY_PIECES, *_WRITES),
        by_pieces=True,
    ),
    "translate": Use(
        asking.translate,
        "translating",
        "translation",
        ("audio", "text"),
        ("text", "language", "to", *_BY_PIECES, *_WRITES),
        ("to",),
        by_pieces=True,
    ),
    "classify": Use(
        asking.classify,
        "classifying",
        "classification",
        ("audio", "text"),
        ("text", "about", "label", *_WRITES),
        ("about",),
    ),
    "answer": Use(
        asking.answer,
        "answering",
        "question_answering",
        ("audio", "text"),
        ("text", "question", "label", *_WRITES),
        beside="question",
    ),
    "match": Use(asking.match, "matching", "matching", ("audio",), ("text",), beside="text"),
    "speak": Use(
        asking.speak,
        "speaking",
        "text_to_speech",
        ("text",),
        ("text", "language", "speaker", "out_dir", "temperature", "seed"),
        ("out_dir",),
    ),
}


_SAID = ("text", "language", "to", "about", "question", "speaker", "out_dir", "format", "times", "piece_seconds")
"""Choices of a Request that no program is compiled for."""
TEMPERATURE = 0.7
"""Of speech that is sampled, where nothing else is asked for."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a model; see `infer.run` for the choices. Raises ValueError for a use that is not there, for a
    choice that says nothing to the use, and for one that it lacks."""

    use: str = "transcribe"
    text: tuple[str, ...] = ()
    language: str | None = None
    to: str | None = None
    about: str | None = None
    question: str | None = None
    speaker: str | None = None
    out_dir: str | None = None
    temperature: float = TEMPERATURE
    seed: int = 0
    search: str = "decoder"
    decoding: config.Search = config.GREEDY
    label: tuple[str, ...] = ()
    language_model: str | None = None
    aligner: str | None = None
    format: str = "jsonl"
    times: bool = False
    piece_seconds: float | None = None

    def __post_init__(self):
        if self.use not in USES:
            hint = settings.nearest(self.use, USES)
            raise ValueError(f"asking a model: wanted --use to be one of {', '.join(USES)}, found {self.use!r}.{hint}")
        use = USES[self.use]
        said = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        for name in said:
            if name not in ("use", *use.takes):
                others = " or ".join(f"--use={other}" for other in USES if name in USES[other].takes)
                flag = "--gin.Search" if name == "decoding" else f"--{name}"
                raise ValueError(
                    f"{use.doing}: {flag} means nothing to --use={self.use}. Leave it out, or ask for {others}."
                )
        for name in use.needs:
            if name not in said:
                raise ValueError(f"{use.doing}: wanted --{name}, found none. Name it; speechlm infer --help explains.")
        if len(self.text) > 1 and "text" not in use.reads:
            raise ValueError(f"{use.doing}: wanted one --text for all recordings, found {len(self.text)}.")
        self._check_output()
        if self.temperature < 0:
            raise ValueError(f"{use.doing}: wanted --temperature to be 0 or more, found {self.temperature}.")
        if self.search not in ("decoder", "ctc"):
            raise ValueError(f"{use.doing}: wanted --search=decoder or --search=ctc, found {self.search!r}.")
        if self.search == "ctc" and (self.decoding != config.GREEDY or self.language_model):
            raise ValueError(
                f"{use.doing}: --search=ctc asks the CTC head alone; Search and --language_model are of the decoder. "
                "Leave --search out, and set Search.ctc to ask both."
            )
        if self.decoding.ctc and self.use != "transcribe":
            raise ValueError(
                f"{use.doing}: Search.ctc = {self.decoding.ctc:g} means nothing to --use={self.use}, for the CTC head "
                "tells what is said. Leave it out."
            )
        if self.decoding.best > 1 and (self.tells_times or self.format != "jsonl"):
            raise ValueError(
                f"{use.doing}: Search.best = {self.decoding.best} tells several texts of a recording, for which JSON "
                "lines without times alone have room. Leave out Search.best, or --times and --format."
            )
        if (self.decoding.language_model > 0) != (self.language_model is not None):
            raise ValueError(
                f"{use.doing}: wanted --language_model=RUN and Search.language_model above 0, which says how much it "
                f"counts, or neither; found {self.language_model} and {self.decoding.language_model}."
            )

    @property
    def program(self) -> tuple[Any, ...]:
        """What a model is compiled for: all but what is said of the things that it is asked about, and of how they are
        told."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _SAID)

    @property
    def tells_times(self) -> bool:
        """Whether it is told when what was said."""
        return self.times or self.format in captions.TIMED

    def _check_output(self) -> None:
        use = self.meaning
        if self.format not in ("jsonl", *captions.FORMATS):
            forms = ", ".join(("jsonl", *captions.FORMATS))
            hint = settings.nearest(self.format, captions.FORMATS)
            raise ValueError(f"{use.doing}: wanted --format to be one of {forms}, found {self.format!r}.{hint}")
        if self.format in captions.TIMED and not use.by_pieces:
            raise ValueError(
                f"{use.doing}: --format={self.format} says what was said when. Ask for --use=transcribe or translate."
            )
        if self.out_dir is not None and use.by_pieces and self.format == "jsonl":
            raise ValueError(
                f"{use.doing}: --out_dir is for a file of each recording. Name their --format: "
                f"{', '.join(captions.FORMATS)}; or write all lines to one file, --out."
            )
        if self.piece_seconds is not None and self.piece_seconds < 1:
            raise ValueError(f"{use.doing}: wanted --piece_seconds of 1 or more, found {self.piece_seconds:g}.")

    @property
    def meaning(self) -> Use:
        """The use by its name."""
        return USES[self.use]
