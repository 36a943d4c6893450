"""What a batch is: the one page on which the data and the models meet.

A *row* has room in four lanes; several examples are packed into one row, each under a segment id (1, 2, ...) that
is the same in every lane; 0 marks room that belongs to no example. A lane without room is `None`: it is not in the
batch and not in the compiled program. Everything here is numpy-only, so that a data process needs no JAX; the
tuples are JAX pytrees as they are.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

SAMPLE_RATE = 16_000
HOP = 160
"""Samples from one speech frame to the next: 10 ms."""
WINDOW = 400
"""Samples that one speech frame looks at: 25 ms."""


class AudioLane(NamedTuple):
    """Waveforms of a row, cut into slots that start on an encoder position. Frame t looks at samples
    [HOP t, HOP t + WINDOW) and never at another segment's."""

    samples: Any
    """int16 "B N", N = HOP T."""
    segment_ids: Any
    """int32 "B T": the segment of each frame; 0 on dead frames between slots and on free room."""
    positions: Any
    """int32 "B T": the place of each frame in its segment, from 0."""


class InputsLane(NamedTuple):
    """Tokens into the encoder."""

    tokens: Any
    """int32 "B S"."""
    segment_ids: Any
    """int32 "B S"."""
    positions: Any
    """int32 "B S"."""
    masked_tokens: Any
    """int32 "B S": what stood where `tokens` was masked."""
    masked_weights: Any
    """float32 "B S": above 0 where `masked_tokens` is to be predicted."""


class TargetsLane(NamedTuple):
    """Tokens out of the decoder: an optional prompt, which weighs 0, then the target with its end token."""

    tokens: Any
    """int32 "B U"."""
    segment_ids: Any
    """int32 "B U"."""
    positions: Any
    """int32 "B U"."""
    weights: Any
    """float32 "B U": the weight of each token in the loss."""


class Segments(NamedTuple):
    """One line for each segment of a row: line e describes segment id e + 1."""

    task_ids: Any
    """int32 "B E": which task of the mixture the example came from."""
    weights: Any
    """float32 "B E": the weight of the example in every loss; 0 where there is no example."""
    ctc: Any
    """float32 "B E": 1 where the target is a transcript that CTC may align with the speech."""
    claims: Any
    """float32 "B E": 1 where the target is claimed to be what is spoken and is, -1 where it is not, 0 for no claim."""
    mask_shares: Any
    """float32 "B E": the share of the speech that masked-speech training hides; 0 for none."""
    origins: Any
    """int32 "B E 3": (data shard, draw of its task by that shard, piece of the record)."""


class Batch(NamedTuple):
    """Rows, ready for the device. Lanes without room are None."""

    audio: AudioLane | None
    inputs: InputsLane | None
    targets: TargetsLane | None
    target_audio: AudioLane | None
    segments: Segments

    def segment_ids(self) -> dict[str, Any]:
        """Of each lane that there is, the segment that every place belongs to, "B S"."""
        lanes = {name: getattr(self, name) for name in ("audio", "inputs", "targets", "target_audio")}
        return {name: lane.segment_ids for name, lane in lanes.items() if lane is not None}


@dataclasses.dataclass(frozen=True)
class Row:
    """The room of one row in each lane, and with it the shape of every array of a batch.

    Seconds of audio are room for slots: an example of d seconds takes d rounded up to a position, plus at most one
    more position, so that no frame looks across its edge.
    """

    audio_seconds: float = 0.0
    inputs: int = 0
    targets: int = 0
    target_audio_seconds: float = 0.0
    segments: int = 32
    """At most this many examples share a row."""
    subsampling: int = 4
    """Speech frames in one encoder position."""
    reduction: int = 2
    """Speech frames in one decoder step."""
    padded_seconds: float = 0.0
    """Shorter speech into the encoder is followed by silence up to this. Whisper has learned from 30 s alone."""

    def __post_init__(self):
        if self.subsampling not in (1, 2, 4, 8) or self.reduction not in (1, 2, 4, 8):
            raise ValueError(
                f"a row's subsampling and reduction are 1, 2, 4 or 8 frames, found subsampling={self.subsampling}, "
                f"reduction={self.reduction}. Set Row.subsampling or Row.reduction."
            )
        for field in ("audio_seconds", "inputs", "targets", "target_audio_seconds", "padded_seconds"):
            if getattr(self, field) < 0:
                raise ValueError(f"a row's room cannot be negative: Row.{field} = {getattr(self, field)}.")
        if self.padded_seconds > self.audio_seconds:
            raise ValueError(
                f"a row of {self.audio_seconds} s of speech has no room for recordings of {self.padded_seconds} s with "
                "their silence. Set Row.audio_seconds or Row.padded_seconds."
            )
        if self.segments < 1:
            raise ValueError(f"a row has room for one example or more: Row.segments = {self.segments}.")
        if not any((self.audio_seconds, self.inputs, self.targets, self.target_audio_seconds)):
            raise ValueError("a row has no room in any lane. Set Row.audio_seconds, .inputs, .targets.")

    @property
    def audio_positions(self) -> int:
        """Encoder positions of the audio lane, P."""
        return int(round(self.audio_seconds * SAMPLE_RATE)) // (HOP * self.subsampling)

    @property
    def target_audio_steps(self) -> int:
        """Decoder steps of the target_audio lane."""
        return int(round(self.target_audio_seconds * SAMPLE_RATE)) // (HOP * self.reduction)

    @property
    def audio_frames(self) -> int:
        """Speech frames of the audio lane, T."""
        return self.audio_positions * self.subsampling

    @property
    def longest_samples(self) -> int:
        """Samples of the longest recording that a row holds."""
        return longest_frames(self.audio_positions, self.subsampling) * HOP

    @property
    def position_seconds(self) -> float:
        """Seconds of an encoder position of the audio lane."""
        return self.subsampling * HOP / SAMPLE_RATE

    @property
    def target_audio_frames(self) -> int:
        """Speech frames of the target_audio lane."""
        return self.target_audio_steps * self.reduction


def slot_positions(num_frames: int, frames_per_position: int) -> int:
    """Positions that an utterance of `num_frames` frames takes in an audio lane.

    At least two frames are left dead, and at least one at every rate that a stack of stride-2 convolutions passes
    through, so that a kernel of width 3 never reaches from one slot into the next.
    """
    if num_frames == 0:
        return 0
    dead = max(2, frames_per_position // 2)
    return -(-(num_frames + dead) // frames_per_position)


def longest_frames(positions: int, frames_per_position: int) -> int:
    """The frames of the longest utterance whose slot takes so many positions."""
    return positions * frames_per_position - max(2, frames_per_position // 2)


def empty(row: Row, num_rows: int) -> Batch:
    """A batch of `num_rows` rows without examples (numpy zeros): the shapes and dtypes of every batch of `row`."""

    def zeros(*shape: int, dtype: Any = np.int32) -> np.ndarray:
        return np.zeros((num_rows, *shape), dtype)

    def audio(frames: int) -> AudioLane | None:
        return AudioLane(zeros(frames * HOP, dtype=np.int16), zeros(frames), zeros(frames)) if frames else None

    n, u, e = row.inputs, row.targets, row.segments
    return Batch(
        audio=audio(row.audio_frames),
        inputs=InputsLane(zeros(n), zeros(n), zeros(n), zeros(n), zeros(n, dtype=np.float32)) if n else None,
        targets=TargetsLane(zeros(u), zeros(u), zeros(u), zeros(u, dtype=np.float32)) if u else None,
        target_audio=audio(row.target_audio_frames),
        segments=Segments(
            task_ids=zeros(e),
            weights=zeros(e, dtype=np.float32),
            ctc=zeros(e, dtype=np.float32),
            claims=zeros(e, dtype=np.float32),
            mask_shares=zeros(e, dtype=np.float32),
            origins=zeros(e, 3),
        ),
    )
