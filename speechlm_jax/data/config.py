"""What a stream is made of. Making one opens no file and imports no TensorFlow."""

import dataclasses
from typing import Literal

from speechlm_jax import batch, limits


@dataclasses.dataclass(frozen=True)
class BadRecords:
    """How many records a run may skip before it stops."""

    max_share: float = 0.02
    """Of the records read so far, once more than `grace` were bad: different ones, or, where they are most of what is
    read of a task, the same ones again."""
    grace: int = 20

    def __post_init__(self):
        limits.at_least(self, 0, "max_share", "grace")


@dataclasses.dataclass(frozen=True)
class Stream:
    """Which examples are drawn, in which order, and how they are packed."""

    mixture: str = ""
    """A SeqIO task or mixture, registered by one of the run's task modules."""
    split: str = "train"
    data_shards: int = 8
    """The global batch is cut into this many parts, dealt to the hosts there are; fixed for the life of a run."""
    open_rows: int = 16
    """Rows that each data shard keeps open for best fit."""
    read_threads: int = 2
    """Threads that read and decode records, for each task."""
    prefetch: int = 2
    """Batches made ready before they are asked for."""
    bad_records: BadRecords = BadRecords()
    written: str = ""
    """A folder of rows that `speechlm materialise` wrote of this recipe: they are read in place of the tasks' records,
    without TensorFlow."""

    def __post_init__(self):
        limits.at_least(self, 1, "data_shards", "open_rows", "read_threads", "prefetch")

    def rows_per_shard(self, rows: int) -> int:
        """Of a global batch of so many rows. Raises ValueError where the shards are not alike."""
        if rows % self.data_shards:
            raise ValueError(
                f"cutting a global batch of {rows} rows into {self.data_shards} data shards: the shards must "
                "divide the rows. Set Data.rows or Stream.data_shards."
            )
        return rows // self.data_shards


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Recordings and text of one's own: each objective becomes a task, such as `manifest_recognition`, and all of them
    the mixture `manifest`. A nested field is named by its path, such as `translation/fr`."""

    path: str = ""
    """JSON lines (.jsonl) or a table with a header line (.tsv), plain or with .gz. Paths in it are relative to it."""
    validation_path: str = ""
    test_path: str = ""
    """Manifests that a split has for itself, all lines of them; `path` is then for the others."""
    text: str = "text"
    """The field that holds the transcript, or the text."""
    language: str = "{lang}"
    """A language code, or the field that holds one, in braces."""
    target: str = "target"
    """The field that holds the translation,"""
    target_language: str = "{target_lang}"
    """and its language, in the same way."""
    label: str = "label"
    """The field that holds the class of an example: text, or a whole number; true and false are 1 and 0."""
    about: str = ""
    """What a classification asks for, such as 'sentiment': put before the text, or beside the speech."""
    question: str = "question"
    passage: str = "passage"
    answer: str = "answer"
    speaker: str = ""
    """The field that holds the speaker's name, put before a text that is to be spoken; empty: there is none."""
    plain: bool = True
    """Texts, but for labels, in small letters and without punctuation."""
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    """What the field `split` says of the lines of each split. A manifest without that field is cut 90 : 5 : 5, by a
    hash of each line's id, unless a split has a file of its own."""
    held_out: tuple[tuple[str, str], ...] = ()
    """(field, value): lines of `path` that are in no split but `held_out`, such as (("speaker", "theo"),)."""
    limit: int | None = None
    """At most so many lines of each split, from the first."""
    objectives: tuple[tuple[str, float], ...] = (("recognition", 1.0),)
    """(objective, rate) of the mixture. Of speech and text: recognition, matching (which wants Model.matching and the
    loss head of that name), text_to_speech. Of either alone: span_corruption, masked_language_model,
    prefix_language_model, language_model, shuffled_spans, masked_speech. Into another language: translation,
    speech_translation. Of what it means: classification, spoken_classification, question_answering,
    spoken_question_answering."""
    max_seconds: float = 60.0
    """Longer recordings are bad records."""

    def __post_init__(self):
        limits.at_least(self, 1, "limit")
        limits.at_least(self, 0, "max_seconds")

    def at(self, path: str, task: str = "") -> "Manifest":
        """The same choices for another manifest. task: one of its tasks, such as `manifest_classification`: where it is
        none of the objectives, it is the only one."""
        prefix, _, objective = task.partition("_")
        asked = prefix == "manifest" and objective and objective not in dict(self.objectives)
        return dataclasses.replace(self, path=path, objectives=((objective, 1.0),) if asked else self.objectives)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How speech is changed at random before it is trained on: the lane `audio`, and only while training. A kind is
    off until its range is set, band_limit until its share is; each kind draws for itself which examples it takes."""

    speed: tuple[float, float] | None = None
    """Factors, such as (0.9, 1.1): speech is played faster or slower, and its pitch moves along."""
    speed_share: float = 1.0
    """Of the examples, like every share here."""
    room_seconds: tuple[float, float] | None = None
    """Seconds in which a room's echoes fall by 60 dB, such as (0.1, 0.8). Length and level stay."""
    room_direct_db: tuple[float, float] = (0.0, 12.0)
    """How much louder the direct sound is than all its echoes together."""
    room_share: float = 1.0
    noise_db: tuple[float, float] | None = None
    """Ratio of speech to noise over the whole recording, such as (5.0, 30.0); the noise is white, pink or brown."""
    noise_share: float = 1.0
    gain_db: tuple[float, float] | None = None
    """Louder or quieter, such as (-12.0, 6.0). What would pass full scale is scaled down to it, never cut off."""
    gain_share: float = 1.0
    band_limit_share: float = 0.0
    """A telephone line: 8 kHz, mu-law of 8 bits."""

    def __post_init__(self):
        for name, (least, most) in _AUGMENTATION_LIMITS.items():
            found = getattr(self, name)
            if found is not None and not least <= found[0] <= found[1] <= most:
                raise ValueError(
                    f"augmenting speech: wanted {least:g} <= low <= high <= {most:g}, found Augmentation.{name} = "
                    f"{found}."
                )
        for name in ("speed_share", "room_share", "noise_share", "gain_share", "band_limit_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"augmenting speech: a share is 0 to 1, found Augmentation.{name} = {getattr(self, name)}."
                )

    @property
    def shares(self) -> dict[str, float]:
        """Kind -> the share of examples that it takes, of the kinds that are on."""
        shares = {
            "speed": self.speed_share if self.speed else 0.0,
            "room": self.room_share if self.room_seconds else 0.0,
            "noise": self.noise_share if self.noise_db else 0.0,
            "gain": self.gain_share if self.gain_db else 0.0,
            "band_limit": self.band_limit_share,
        }
        return {kind: share for kind, share in shares.items() if share}


_AUGMENTATION_LIMITS = {
    "speed": (0.25, 4.0),
    "room_seconds": (0.01, 10.0),
    "room_direct_db": (-40.0, 60.0),
    "noise_db": (-40.0, 100.0),
    "gain_db": (-60.0, 60.0),
}
"""What each range of an augmentation must lie in: beyond it speech is gone, or percents were meant."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads, and how it is laid into batches."""

    task_modules: tuple[str, ...] = ("tasks.embedded",)
    """Modules that register SeqIO tasks and mixtures; imported when the run starts."""
    vocabulary: str = ""
    """The SentencePiece model, written by `speechlm data --train_vocabulary=...`."""
    vocabulary_kind: Literal["unigram", "bpe", "words"] = "unigram"
    """How its pieces are found: bpe leaves more words whole where texts are few, or all of one grammar, and Chinese in
    characters; words does so, and leaves Chinese words whole, too."""
    manifest: Manifest | None = None
    row: batch.Row = batch.Row(audio_seconds=20, inputs=256, targets=256)
    rows: int = 8
    """Rows of the global batch."""
    stream: Stream = Stream()
    augmentation: Augmentation | None = None
    """What is done to speech in training. A run that goes on must keep it."""

    def __post_init__(self):
        limits.at_least(self, 1, "rows")
        # A day, and a million tokens: beyond it not even shapes can be held.
        limits.at_most(self.row, 86_400, "audio_seconds", "target_audio_seconds")
        limits.at_most(self.row, 2**20, "inputs", "targets")
