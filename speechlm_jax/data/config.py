"""What a stream is made of. Making one opens no file and imports no TensorFlow."""

import dataclasses

from speechlm_jax import batch


@dataclasses.dataclass(frozen=True)
class BadRecords:
    """How many records a run may skip before it stops."""

    max_share: float = 0.02
    """Of the records read so far, once more than `grace` were bad."""
    grace: int = 20


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


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Recordings and text of one's own: they become the tasks `manifest_recognition`, `manifest_span_corruption` and
    `manifest_masked_language_model`, and the mixture `manifest`."""

    path: str = ""
    """JSON lines (.jsonl, .jsonl.gz) or a table with a header line (.tsv). Paths in it are relative to it."""
    text: str = "text"
    """The field that holds the transcript."""
    language: str = "{lang}"
    """A language code, or the field that holds one, in braces."""
    plain: bool = True
    """Transcripts in small letters, without punctuation."""
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    """What the field `split` says of the lines of each split. A manifest without that field is cut 90 : 5 : 5, by a
    hash of each line's id."""
    held_out: tuple[tuple[str, str], ...] = ()
    """(field, value): lines that are in no split but `held_out`, such as (("speaker", "theo"),)."""
    limit: int | None = None
    """At most so many lines of each split, from the first."""
    objectives: tuple[tuple[str, float], ...] = (("recognition", 1.0),)
    """(objective, rate) of the mixture: recognition, span_corruption, masked_language_model."""
    max_seconds: float = 60.0
    """Longer recordings are bad records."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads, and how it is laid into batches."""

    task_modules: tuple[str, ...] = ("tasks.embedded",)
    """Modules that register SeqIO tasks and mixtures; imported when the run starts."""
    vocabulary: str = ""
    """The SentencePiece model, written by `speechlm data --vocabulary`."""
    manifest: Manifest | None = None
    row: batch.Row = batch.Row(audio_seconds=20, inputs=256, targets=256)
    rows: int = 8
    """Rows of the global batch."""
    stream: Stream = Stream()
