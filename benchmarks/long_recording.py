"""A recording of an hour, transcribed: what has text, when each word was said, and the memory that it takes.

    make quickstart
    speechlm train --gin_file=gin_configs/recipes/quickstart_long.gin
    python benchmarks/long_recording.py [--checkpoint RUN] [--aligner RUN] [--minutes 60] [--short 10] [--search ctc]
        [--keep NAME]

--aligner: who tells when words were said, such as what gin_configs/recipes/quickstart_letters.gin trains.

espeak-ng speaks the held-out sentences of the embedded corpus one after the other, with pauses of 0.1 to 1.2 s between
them and faint noise throughout; it tells at which sample each word begins. `speechlm infer --times` transcribes the
recording in a process of its own, and the first `--short` minutes of it in another, whose memory is compared.

The last line is JSON: `share` of the coverage report, `wer`, the share of all words that were found, and of these
how far from the truth they begin (`start_error_ms`: median, 95th percentile, largest) and how many begin within 100 ms
of it (`within_100_ms`); `peak_mib` of both processes, and `real_time_factor`, time over seconds of speech.
"""

import argparse
import ctypes
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import figures
import jiwer
import numpy as np
import soundfile
import soxr

from speechlm_jax import metrics
from tasks import embedded
from tasks.embedded_corpus import espeak, meanings, speech, words

RATE = 16_000
WITHIN_SECONDS = 0.1
_WORD = 1
_END = 0


class Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class Said(NamedTuple):
    """A word, and when it begins in seconds; None where espeak-ng says it in one with the word before it."""

    text: str
    start: float | None


class Timed(espeak.Synthesizer):
    """Keeps when words begin, too."""

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        for place in itertools.count() if events else ():
            event = Event.from_address(events + place * ctypes.sizeof(Event))
            if event.type == _END:
                break
            if event.type == _WORD:
                self.begun[event.text_position - 1] = event.audio_position / 1000
        return super()._receive(samples, count, events)

    def words(self, one: meanings.Utterance) -> tuple[np.ndarray, list[Said]]:
        """A sentence at 16 kHz, and its words."""
        self.begun: dict[int, float] = {}
        said = self.speak(one.speaker, one.rate_wpm, one.pitch, one.said)
        wave_N = soxr.resample(np.frombuffer(said, np.int16).astype(np.float32), self.sample_rate, RATE)
        wave_N *= 10 ** (one.level_db / 20) / np.abs(wave_N).max()
        found = []
        for match in re.finditer(r"[^\W_]+(?:['’][^\W_]+)*", one.said):
            text = words.spoken(match.group(), one.language)
            found.append(Said(text, self.begun.get(match.start())))
        return wave_N, found


def main() -> None:
    """Prints what was heard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="runs/quickstart/long")
    parser.add_argument("--aligner")
    parser.add_argument("--minutes", type=figures.positive, default=60)
    parser.add_argument("--short", type=figures.positive, default=10)
    parser.add_argument("--search", choices=["decoder", "ctc"], default="ctc")
    parser.add_argument("--piece_seconds", type=figures.positive)
    figures.add_arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: pathlib.Path(folder, f"{name}.flac") for name in ("short", "long")}
        truth = write(paths["long"], 60.0 * given.minutes)
        with soundfile.SoundFile(paths["long"]) as sound:
            soundfile.write(paths["short"], sound.read(60 * given.short * RATE), RATE)
        told, peak_mib, seconds = zip(*(transcribed(paths[name], given) for name in paths), strict=True)
        length = soundfile.info(paths["long"]).duration
    heard = told[1]
    found = {
        "minutes": round(length / 60, 2),
        "search": given.search,
        "share": heard["coverage"]["share"],
        "coverage": heard["coverage"],
        **compared(truth, [word for segment in heard["segments"] for word in segment["words"]]),
        "wer": round(metrics.wer([" ".join(word.text for word in truth)], [heard["text"]])["wer"], 4),
        "peak_mib": dict(zip(paths, peak_mib, strict=True)),
        "peak_ratio": round(peak_mib[1] / peak_mib[0], 3),
        "real_time_factor": round(seconds[1] / length, 4),
    }
    figures.tell(found, given, "jax", "jaxlib")


def write(path: pathlib.Path, seconds: float) -> list[Said]:
    """Writes a recording so long, and returns what is said in it."""
    random, truth, place = np.random.default_rng(0), [], 0
    corpus = embedded.one_language("en")
    held_out = [one for one in meanings.utterances(corpus) if one.split == "test_sentences"]
    with speech._espeak() as (library, data), soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as out:
        synthesizer = Timed(library, data)
        for one in forever(held_out, random):
            wave_N, said = synthesizer.words(one)
            pause = np.zeros(int(random.uniform(0.1, 1.2) * RATE), np.float32)
            for part, starts in ((wave_N, said), (pause, [])):
                truth += [
                    word._replace(start=None if word.start is None else place / RATE + word.start) for word in starts
                ]
                out.write(np.clip(part + random.normal(0, 3e-4, len(part)), -1, 1))
                place += len(part)
            if place >= seconds * RATE:
                return truth
    raise AssertionError("sentences never end")


def forever(held_out: list[meanings.Utterance], random: np.random.Generator) -> Iterator[meanings.Utterance]:
    """All of them, in another order each time."""
    while True:
        yield from (held_out[number] for number in random.permutation(len(held_out)))


def transcribed(path: pathlib.Path, given: argparse.Namespace) -> tuple[dict[str, Any], float, float]:
    """What a process hears, the most memory that it had in MiB, and the seconds it took."""
    out = path.with_suffix(".jsonl")
    command = [sys.executable, "-m", "speechlm_jax", "infer", str(path), f"--checkpoint={given.checkpoint}"]
    command += ["--language=en", "--times", f"--search={given.search}", f"--out={out}"]
    if given.aligner:
        command.append(f"--aligner={given.aligner}")
    if given.piece_seconds:
        command.append(f"--piece_seconds={given.piece_seconds}")
    began = time.monotonic()
    with subprocess.Popen(command) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"transcribing: speechlm infer ended with {process.returncode}")
    return json.loads(out.read_text()), round(used.ru_maxrss / 1024, 1), time.monotonic() - began


def compared(truth: list[Said], heard: list[dict[str, Any]]) -> dict[str, Any]:
    """How far words that were found are from where they were said."""
    told = (" ".join(word.text for word in truth), " ".join(word["word"] for word in heard))
    errors, found = [], 0
    for chunk in jiwer.process_words(*told).alignments[0]:
        if chunk.type == "equal":
            found += chunk.ref_end_idx - chunk.ref_start_idx
            pairs = zip(truth[chunk.ref_start_idx : chunk.ref_end_idx], heard[chunk.hyp_start_idx :], strict=False)
            errors += [1000 * abs(word["start"] - said.start) for said, word in pairs if said.start is not None]
    return {
        "words": len(truth),
        "words_found": round(found / len(truth), 4),
        "start_error_ms": [round(float(value), 1) for value in np.percentile(errors, [50, 95, 100])],
        "within_100_ms": round(float(np.mean(np.array(errors) <= 1000 * WITHIN_SECONDS)), 4),
    }


if __name__ == "__main__":
    main()
