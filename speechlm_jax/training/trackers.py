"""Where the numbers and examples of a run go besides its own files: TensorBoard, and what others keep runs in."""

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from speechlm_jax import batch
from speechlm_jax.inference import shown

TENSORBOARD = "tensorboard"
"""The folder of its events in that of the run."""


class Tracker(Protocol):
    """What is told of a run. Raises OSError where there is no room for it."""

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """By name, such as 'train/loss'; all of them finite."""

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Those of an evaluation."""

    def close(self) -> None:
        """Writes what is left."""


def open_all(names: Sequence[str], folder: pathlib.Path, settings: Mapping[str, Any]) -> list[Tracker]:
    """Those of KINDS that are named, for a run in `folder` with these settings, as `settings_of` gives them."""
    return [KINDS[name](folder, settings) for name in names]


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
    """Events in the run's folder: scalars, examples with their audio and pictures, and the settings."""

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
        import tensorboardX
        from tensorboardX import summary

        self._writer = tensorboardX.SummaryWriter(str(folder / TENSORBOARD))
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
            for name, samples in speech_of(one).items():
                self._writer.add_audio(f"{tag}/{name}", samples / 2**15, step, sample_rate=batch.SAMPLE_RATE)
            for name, picture in pictures_of(one).items():
                self._writer.add_image(f"{tag}/{name}", picture, step, dataformats="HW")
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; a life that goes on goes on there, too. Its own environment variables say where to:
    WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, WANDB_MODE=offline."""

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
        try:
            wandb: Any = importlib.import_module("wandb")
        except ImportError:
            raise ValueError(
                "telling Weights & Biases of the run: wanted the package wandb, found none. Install "
                "'speechlm-jax[wandb]', or take 'wandb' out of Recipe.trackers."
            ) from None
        self._wandb = wandb
        name = folder.absolute().name
        try:
            self._run = wandb.init(
                dir=str(folder),
                project=os.environ.get("WANDB_PROJECT", "speechlm_jax"),
                id=os.environ.get("WANDB_RUN_ID", name),
                name=name,
                resume="allow",
                config=dict(settings),
            )
        except wandb.Error as error:
            raise ValueError(
                f"telling Weights & Biases of the run: {error}. Set WANDB_API_KEY, or WANDB_MODE=offline, or take "
                "'wandb' out of Recipe.trackers."
            ) from error

    def _log(self, told: Mapping[str, Any]) -> None:
        try:
            self._run.log(dict(told))
        except self._wandb.Error as error:
            raise OSError(str(error)) from error

    def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """In the history of the run."""
        self._log({"step": step, **numbers})

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Their texts in a table, with audio and pictures beside it."""
        table = self._wandb.Table(["example", "why", "wanted", "written", "by CTC"])
        told: dict[str, Any] = {}
        for tag, one in _tagged(found):
            table.add_data(tag, one.why, one.wanted, one.written, one.by_ctc)
            for name, samples in speech_of(one).items():
                told[f"{tag}/{name}"] = self._wandb.Audio(samples / 2**15, sample_rate=batch.SAMPLE_RATE)
            for name, picture in pictures_of(one).items():
                told[f"{tag}/{name}"] = self._wandb.Image(picture)
        self._log({"step": step, "examples": table, **told})

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()


KINDS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
"""By what Recipe.trackers calls them."""


def text_of(one: shown.Shown) -> str:
    """An example in words, a Markdown list."""
    lines = {"wanted": one.wanted, "written": one.written, "by CTC": one.by_ctc, "id": f"{one.id} ({one.why})"}
    return "\n".join(f"- **{name}** {text}" for name, text in lines.items() if text is not None)


def speech_of(one: shown.Shown) -> dict[str, np.ndarray]:
    """The recordings of an example by name, int16 at 16 kHz."""
    named = {"heard": one.heard, "wanted_speech": one.wanted_speech, "spoken": one.spoken}
    return {name: samples for name, samples in named.items() if samples is not None and len(samples)}


def pictures_of(one: shown.Shown) -> dict[str, np.ndarray]:
    """Of each recording its log-mel, low tones at the bottom, and where the decoder looked: uint8 "H W"."""
    found = {f"{name}_mel": _grey(shown.log_mel(samples)[::-1]) for name, samples in speech_of(one).items()}
    if one.look is not None:
        # Some pixels to a step and a position, so that either can be seen.
        found["looks"] = _grey(np.kron(one.look.shares, np.ones((6, 2))))
    return found


def _grey(values: np.ndarray) -> np.ndarray:
    least, most = float(values.min()), float(values.max())
    return np.round(255 * (values - least) / max(most - least, 1e-9)).astype(np.uint8)


def _tagged(found: Sequence[shown.Shown]) -> list[tuple[str, shown.Shown]]:
    """Each with the name of its task and its number among that task's."""
    counts: dict[str, int] = {}
    tagged = []
    for one in found:
        counts[one.task] = counts.get(one.task, -1) + 1
        tagged.append((f"{one.task}/{counts[one.task]}", one))
    return tagged
