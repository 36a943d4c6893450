"""The embedded corpus, from the grammar to records: `examples` makes them, `build` writes them once."""

import dataclasses
import hashlib
import logging
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int16

from speechlm_jax.data import records
from tasks.embedded_corpus import config, meanings, speech, words

TEXT_FIELDS = {
    "id": "text",
    "split": "text",
    "lang": "text",
    "text": "text",
    "spoken": "text",
    "meaning_id": "text",
    "domain": "text",
    "kind": "text",
    "intent": "text",
    "slots": "text",
    "sentiment": "text",
    "question": "text",
    "answer": "text",
    "questions": "texts",
    "answers": "texts",
    **{f"translation/{language}": "text" for language in words.LANGUAGES},
    "speaker": "text",
    "rate_wpm": "int",
    "pitch": "int",
    "level_db": "float",
}
"""The kind of each field of a record; what they hold is said at `meanings.Utterance.fields`."""
FIELDS = {**TEXT_FIELDS, "audio": "audio"}
"""The same of a record that is spoken."""

_logger = logging.getLogger(__name__)


def examples(
    corpus: config.EmbeddedCorpus, workers: int | None = None
) -> Iterator[tuple[str, dict[str, Any], Int16[np.ndarray, "N"]]]:
    """(split, fields, waveform at 16 kHz) of every record, split by split, the same at every call.

    Raises ImportError where espeak-ng is not installed, ValueError for a corpus that cannot be made.
    """
    for utterance, waveform in speech.waveforms(meanings.utterances(corpus), workers):
        yield utterance.split, utterance.fields(), waveform


def location(folder: str | pathlib.Path, corpus: config.EmbeddedCorpus) -> pathlib.Path:
    """Where under `folder` the records of this corpus lie: a name that changes with the corpus and with the grammar."""
    what = (records.VERSION, *dataclasses.astuple(corpus))
    digest = hashlib.blake2b(repr(what).encode(), digest_size=6)
    package = pathlib.Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode() + source.read_bytes())
    return pathlib.Path(folder) / f"embedded-{digest.hexdigest()}"


def build(folder: str | pathlib.Path, corpus: config.EmbeddedCorpus, workers: int | None = None) -> pathlib.Path:
    """Writes the corpus under `folder` unless it is there whole, and returns where: splits as in `meanings.SPLITS`.

    Nothing stands there before all of it does, and any number of processes may build at once. Raises ImportError
    where espeak-ng is not installed, ValueError for a corpus that cannot be made.
    """
    path = location(folder, corpus)
    # In this order: a folder that another process puts there in between is whole.
    if path.exists():
        if _is_whole(path):
            return path
        _set_aside(path)
    _logger.info("making the embedded corpus in %s: this is done once, and takes about half a minute", path)
    try:
        with records.Writer(path, FIELDS if corpus.is_spoken else TEXT_FIELDS) as writer:
            for split, record in _records(corpus, workers):
                writer.write(split, record)
    except (OSError, ValueError):
        # Another process was first.
        if not _is_whole(path):
            raise
    return path


def _records(corpus: config.EmbeddedCorpus, workers: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if corpus.is_spoken:
        for split, fields, waveform in examples(corpus, workers):
            yield split, {**fields, "audio": waveform}
    else:
        for utterance in meanings.utterances(corpus):
            yield utterance.split, utterance.fields()


def _is_whole(path: pathlib.Path) -> bool:
    try:
        return all(len(records.Reader(path, split)) for split in meanings.SPLITS)
    except ValueError:
        return False


def _set_aside(path: pathlib.Path) -> None:
    """Removes what is left of a corpus, in one step: a rename."""
    _logger.warning("the embedded corpus in %s is not whole; it is made anew", path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.old-", dir=path.parent) as grave:
        path.rename(pathlib.Path(grave) / path.name)
