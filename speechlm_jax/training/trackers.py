"""Where the numbers and examples of a run go besides its own files: TensorBoard, and what others keep runs in."""

import dataclasses
import importlib
import logging
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from speechlm_jax import batch, whole_files
from speechlm_jax.inference import shown

_log = logging.getLogger(__name__)
TENSORBOARD = "tensorboard"
"""The folder of its events in that of the run."""


class Tracker(Protocol):
    """What is told of a run. One that raises anything is told no more."""

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """By name, such as 'train/loss'; all of them finite."""

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Those of an evaluation."""

    def close(self) -> None:
        """Writes what is left."""


def open_all(names: Sequence[str], folder: pathlib.Path, settings: Mapping[str, Any], done: int = 0) -> list[Tracker]:
    """Those of KINDS that are named, for a run in `folder` that has done so many steps, with its settings as
    `settings_of` gives them. One that cannot be opened is told and left out: it is not what a run is for. Raises
    ValueError where its package is missing."""
    found: list[Tracker] = []
    for name in names:
        try:
            found.append(KINDS[name](folder, settings, done))
        except ValueError:
            raise
        except Exception as error:  # Of whatever kind the service's package has.
            _log.error("telling %s of the run: %s. The run goes on without", name, error)
    return found


def settings_of(part: Any) -> dict[str, bool | int | float | str]:
    """'Class.field' -> its value, as gin files name it, of a dataclass and of those in it. What is no single value is
    text; of two parts of one class it is the first that counts."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            found = settings_of(value) | found
        else:
            found[f"{type(part).__name__}.{field.name}"] = value if isinstance(value, int | float | str) else str(value)
    return found


class TensorBoard:
    """Events in the run's folder: scalars, examples with their audio and pictures, and the settings. What a former life
    told of steps that are done again is taken back."""

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any], done: int = 0):
        import tensorboardX
        from tensorboardX import summary

        self._writer = tensorboardX.SummaryWriter(str(folder / TENSORBOARD), purge_step=done + 1)
        self._told: dict[str, str] = {}
        assert self._writer.file_writer is not None
        for told in summary.hparams(dict(settings), {"train/loss": 0.0}):
            self._writer.file_writer.add_summary(told)

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """As scalars."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Each under its task and its number there."""
        for tag, one in _tagged(found):
            self._writer.add_text(f"{tag}/text", text_of(one), step)
            for name, samples in one.speech().items():
                # What a model says changes as it learns; what it hears does not, and is told once a life.
                if name == "spoken" or self._told.get(f"{tag}/{name}") != one.id:
                    self._told[f"{tag}/{name}"] = one.id
                    self._writer.add_audio(f"{tag}/{name}", samples / 2**15, step, sample_rate=batch.SAMPLE_RATE)
                    self._writer.add_image(f"{tag}/{name}_mel", mel_picture(samples), step, dataformats="HW")
            if one.look is not None:
                self._writer.add_image(f"{tag}/looks", look_picture(one.look), step, dataformats="HW")
            self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; a life that goes on goes on there, too. Its own environment variables say where to:
    WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, WANDB_MODE=offline."""

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any], done: int = 0):
        try:
            wandb: Any = importlib.import_module("wandb")
        except ImportError:
            raise ValueError(
                "telling Weights & Biases of the run: wanted the package wandb, found none. Install "
                "'speechlm-jax[wandb]', or take 'wandb' out of Recipe.trackers."
            ) from None
        self._wandb = wandb
        kept = folder / "wandb_id.txt"
        if not kept.exists():
            whole_files.write_text(kept, uuid.uuid4().hex)
        self._run = wandb.init(
            dir=str(folder),
            project=os.environ.get("WANDB_PROJECT", "speechlm_jax"),
            id=os.environ.get("WANDB_RUN_ID", kept.read_text().strip()),
            name=folder.absolute().name,
            resume="allow",
            config=dict(settings),
        )
        # Not over the number of the call: a life that goes on counts steps as the one before.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """In the history of the run."""
        self._run.log({"step": step, **numbers})

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Their texts in a table, with audio and pictures beside it."""
        table = self._wandb.Table(["example", "why", "wanted", "written", "by CTC"])
        told: dict[str, Any] = {}
        for tag, one in _tagged(found):
            table.add_data(tag, one.why, one.wanted, one.written, one.by_ctc)
            for name, samples in one.speech().items():
                told[f"{tag}/{name}"] = self._wandb.Audio(samples / 2**15, sample_rate=batch.SAMPLE_RATE)
                told[f"{tag}/{name}_mel"] = self._wandb.Image(mel_picture(samples))
            if one.look is not None:
                told[f"{tag}/looks"] = self._wandb.Image(look_picture(one.look))
        self._run.log({"step": step, "examples": table, **told})

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()


KINDS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
"""By what Recipe.trackers calls them."""


def text_of(one: shown.Shown) -> str:
    """An example in words, a Markdown list."""
    return "\n".join(f"- **{name}** {text}" for name, text in {**one.texts(), "chosen as": one.why}.items())


def mel_picture(samples: np.ndarray) -> np.ndarray:
    """The log-mel of a recording, low tones at the bottom: uint8 "H W"."""
    return shown.as_bytes(shown.log_mel(samples)[::-1])


def look_picture(look: shown.Look) -> np.ndarray:
    """Where the decoder looked: uint8 "H W"."""
    # Some pixels to a step and a position, so that either can be seen.
    return np.kron(shown.as_bytes(shown.reduced(look.shares, _MOST)), np.ones((6, 2), np.uint8))


_MOST = 300
"""Steps, and positions, that a picture of looks has."""


def _tagged(found: Sequence[shown.Shown]) -> list[tuple[str, shown.Shown]]:
    """Each with the name of its task and its number among that task's."""
    counts: dict[str, int] = {}
    tagged = []
    for one in found:
        counts[one.task] = counts.get(one.task, -1) + 1
        tagged.append((f"{one.task}/{counts[one.task]}", one))
    return tagged
