"""Utterances made audible: espeak-ng in processes beside this one, then 16 kHz, trimmed, at the level asked for."""

import collections
import concurrent.futures
import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Int16

from tasks.embedded_corpus import espeak, meanings

SAMPLE_RATE = 16_000
_BATCH = 128
"""Utterances that one process speaks. The waveforms depend on it: espeak-ng carries state within a process."""
_SILENCE_DB = -45.0
"""Below the peak: what is trimmed from both ends."""
_MARGIN_MS = 60
"""Left at both ends after trimming."""
_LONGEST_PATH = 120
"""Bytes of the data's path: espeak-ng has 160 for it with what it appends, and says nothing when they do not do."""


def waveforms(
    utterances: Iterable[meanings.Utterance], workers: int | None = None
) -> Iterator[tuple[meanings.Utterance, Int16[np.ndarray, "N"]]]:
    """Each utterance with its waveform, 16 kHz, in the order given, whatever the number of workers.

    Raises ImportError when espeak-ng is not installed and ValueError when it cannot speak.
    """
    workers = workers or os.cpu_count() or 1
    batches = _batches(utterances)
    with _espeak() as (library, data), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque(
            (batch, pool.submit(_speak, library, data, batch)) for batch in itertools.islice(batches, workers + 1)
        )
        while pending:
            batch, future = pending.popleft()
            yield from zip(batch, future.result(), strict=True)
            for following in itertools.islice(batches, 1):
                pending.append((following, pool.submit(_speak, library, data, following)))


def _batches(utterances: Iterable[meanings.Utterance]) -> Iterator[list[meanings.Utterance]]:
    """Of one split each, so that the speech of a split does not depend on how large another is."""
    for _, stream in itertools.groupby(utterances, key=lambda one: one.split):
        while batch := list(itertools.islice(stream, _BATCH)):
            yield batch


@contextlib.contextmanager
def _espeak() -> Iterator[tuple[str, str]]:
    """espeak-ng's library and the folder that holds its data, from the wheel espeakng-loader."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise ImportError(
            "the embedded corpus is spoken by espeak-ng, which the wheel espeakng-loader carries, and it is not "
            "installed here. Run `pip install espeakng-loader`."
        )
    import espeakng_loader

    library, data = espeakng_loader.get_library_path(), pathlib.Path(espeakng_loader.get_data_path())
    for found in (pathlib.Path(library), data / "phontab", data / "voices" / "!v"):
        if not found.exists():
            raise ImportError(
                f"the wheel espeakng-loader wants espeak-ng and its data, but {found} does not exist. "
                "Run `pip install --force-reinstall espeakng-loader`."
            )
    if len(os.fsencode(data.parent)) <= _LONGEST_PATH:
        yield library, str(data.parent)
        return
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / data.name).symlink_to(data, target_is_directory=True)
        yield library, folder


def _speak(library: str, data: str, utterances: list[meanings.Utterance]) -> list[Int16[np.ndarray, "N"]]:
    orders = [[one.speaker, one.rate_wpm, one.pitch, one.said] for one in utterances]
    job = json.dumps({"library": library, "data": data, "utterances": orders})
    # -I -S: no site-packages and no path but the standard library's, so it starts in some 20 ms.
    command = [sys.executable, "-I", "-S", espeak.__file__]
    process = subprocess.run(command, input=job.encode(), capture_output=True, check=False)
    if process.returncode:
        reason = process.stderr.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise ValueError(
            f"while speaking {len(utterances)} utterances of the embedded corpus: {reason}. Voices are named in "
            "EmbeddedCorpus.voices and .unseen_voices; espeak-ng comes with the wheel espeakng-loader."
        )
    answers = zip(_split(process.stdout), utterances, strict=True)
    return [_finished(samples, rate, one.level_db) for (rate, samples), one in answers]


def _split(answer: bytes) -> Iterator[tuple[int, Int16[np.ndarray, "N"]]]:
    """The sample rate and samples of each utterance in a process's answer."""
    (rate,) = struct.unpack_from("=I", answer)
    offset = 4
    while offset < len(answer):
        (count,) = struct.unpack_from("=I", answer, offset)
        yield rate, np.frombuffer(answer, np.int16, count, offset + 4)
        offset += 4 + 2 * count


def _finished(samples: Int16[np.ndarray, "M"], rate: int, level_db: float) -> Int16[np.ndarray, "N"]:
    """16 kHz, silence trimmed at both ends, the peak at `level_db` of full scale."""
    if not samples.any():
        raise ValueError(f"espeak-ng spoke silence where a sentence was asked for ({len(samples)} samples)")
    wave_N = soxr.resample(samples.astype(np.float32), rate, SAMPLE_RATE)
    peak = np.abs(wave_N).max()
    loud = np.flatnonzero(np.abs(wave_N) > peak * 10 ** (_SILENCE_DB / 20))
    wave_N = np.pad(wave_N[loud[0] : loud[-1] + 1], SAMPLE_RATE * _MARGIN_MS // 1000)
    return np.rint(wave_N * (32767 * 10 ** (level_db / 20) / peak)).astype(np.int16)
