"""What was found of batches that were scored, as lines of JSON."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import numpy as np

from speechlm_jax.data import batches
from speechlm_jax.inference import eval_step, speaking


class Told(NamedTuple):
    """What the model says of an example in words."""

    example: Mapping[str, Any]
    text: str
    log_likelihood: float | None
    """log P(what it should say), where a loss head tells."""
    cut: bool = False
    """Whether there was no room for an end."""
    ctc_text: str | None = None
    """What the CTC head's best path says, of a transcript."""


class Found(NamedTuple):
    """What the model was found to say of a batch."""

    measured: Mapping[str, eval_step.Measured]
    told: list[Told]
    spoken: list[speaking.Spoken]
    headless: str = ""
    """What no head of the model does, and some example asks for."""


class Kept:
    """Batches that a former life of the command has scored, and where those of this one are written."""

    def __init__(self, lines: Sequence[Mapping[str, Any]], out: TextIO):
        """`lines`: what `add` has written, read."""
        self._found = {(line["task"], line["batch"]): line for line in lines}
        self._out = out

    def of(self, task: str, number: int, packed: batches.Packed) -> Found | None:
        """What was found of a task's batch of this number; None where it was not scored yet, or is another now."""
        line = self._found.pop((task, number), None)
        if line is None or line["holds"] != _holds(packed):
            return None
        examples = _examples(packed)
        return Found(
            measured={name: _measured(values) for name, values in line["measured"].items()},
            told=[Told(examples[place], *said) for place, *said in line["told"]],
            spoken=[
                speaking.Spoken(examples[place], np.frombuffer(base64.b64decode(samples), np.int16), cut)
                for place, samples, cut in line["spoken"]
            ],
            headless=line["headless"],
        )

    def add(self, task: str, number: int, packed: batches.Packed, found: Found) -> None:
        """Writes what was found of a batch."""
        places = {id(example): place for place, example in enumerate(_examples(packed))}
        line = {
            "task": task,
            "batch": number,
            "holds": _holds(packed),
            "measured": {
                name: [None if values is None else np.asarray(values, np.float64).tolist() for values in head]
                for name, head in found.measured.items()
            },
            "told": [[places[id(one.example)], *one[1:]] for one in found.told],
            "spoken": [
                [places[id(one.example)], base64.b64encode(one.samples.tobytes()).decode(), one.cut]
                for one in found.spoken
            ],
            "headless": found.headless,
        }
        print(json.dumps(line), file=self._out, flush=True)


def _examples(packed: batches.Packed) -> list[Mapping[str, Any]]:
    return [example for members in packed.rows for example in members]


def _holds(packed: batches.Packed) -> str:
    """What tells a batch from others."""
    found = hashlib.sha256()
    for lane in (*packed.batch[:4], packed.batch.segments):
        for values in () if lane is None else lane:
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:16]


def _measured(values: Sequence[Any]) -> eval_step.Measured:
    arrays: list[Any] = [None if value is None else np.asarray(value, np.float32) for value in values]
    return eval_step.Measured(*arrays)
