"""From waveforms to the tokens of their transcripts in one program, to be run where nothing of this project is."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, Int16

from speechlm_jax import audio, batch, parameters, vocabulary
from speechlm_jax.inference import decoding, hypotheses, loading

PLATFORMS = ("cpu", "cuda", "tpu")
"""That programs are exported for."""


class Program(NamedTuple):
    """What to compile, and what it is given."""

    run: Callable[..., tuple[Array, Array]]
    """(weights by path, samples int16 "B N", lengths "B", prompts "B W", prompt lengths "B") -> tokens "B U" behind the
    prompts, and how many there are, "B"."""
    samples: int
    """N: what a row holds."""
    prompt: int
    """W."""
    prompts: Mapping[str, list[int]]
    """Of each language, to transcribe it."""
    room: int
    """U."""
    forbidden: hypotheses.Forbidden
    """What is not written."""


def transcription(loaded: loading.Loaded) -> Program:
    """The program of a model. Raises ValueError for one that hears nothing, or writes nothing, and for Whisper, whose
    vocabulary the script beside a program does not read."""
    row, words = loaded.data.row, loaded.vocabulary
    if loaded.model.is_whisper:
        raise ValueError(
            f"exporting {loaded.folder}: it is a Whisper, which no program of ours is made of. Use --exporter=whisper."
        )
    if not row.audio_positions or not row.targets:
        raise ValueError(
            f"exporting {loaded.folder}: wanted a model that hears speech and writes text, found Row.audio_seconds = "
            f"{row.audio_seconds:g} and Row.targets = {row.targets}."
        )
    # What suits one device another may not have.
    model = dataclasses.replace(loaded.model, attention_kernel="reference")
    graphdef = loading.graph_of(model)
    task = words.token("<task:transcribe>")
    prompts = {code: words.arranged(task, [words.language(code)]) for code in words.languages}
    forbidden = hypotheses.forbidden_of(words)

    def run(
        weights: Mapping[str, Array],
        samples: Int16[Array, "B N"],
        lengths: Int[Array, "B"],
        prompts: Int[Array, "B W"],
        prompt_lengths: Int[Array, "B"],
    ) -> tuple[Int[Array, "B U"], Int[Array, "B"]]:
        kept = {path: weight.astype(jnp.float32) for path, weight in weights.items()}
        params = parameters.rebuild(loaded.params, kept)
        whole = nnx.merge(graphdef, params)
        rows = _batch(samples, lengths, row)
        given = prompts[:, None], prompt_lengths[:, None], row.targets
        texts = decoding.write(whole, rows, whole.encode(rows), *given, forbidden=forbidden)
        return texts.tokens[:, 0, 0], texts.lengths[:, 0, 0]

    room = row.longest_samples
    return Program(run, room, max(map(len, prompts.values()), default=1), prompts, row.targets, forbidden)


def weights(loaded: loading.Loaded, dtype: str) -> dict[str, np.ndarray]:
    """By path, as `Program.run` takes them."""
    return {path: array.astype(dtype) for path, array in parameters.arrays(loaded.params).items()}


def probe(program: Program) -> tuple[np.ndarray, ...]:
    """Two recordings of noise, of one language, as `Program.run` takes them."""
    prompt = next(iter(program.prompts.values()), [])
    samples = np.random.default_rng(0).normal(0, 3_000, (2, program.samples)).astype(np.int16)
    lengths = np.array([program.samples, program.samples // 2], np.int32)
    prompts = np.zeros((2, program.prompt), np.int32)
    prompts[:, : len(prompt)] = prompt
    return samples, lengths, prompts, np.full(2, len(prompt), np.int32)


def description(loaded: loading.Loaded, program: Program, dtype: str) -> dict[str, Any]:
    """What the program is to be given, and of which model it is."""
    return {
        "model_type": "speechlm_jax",
        "step": loaded.step,
        "dtype": dtype,
        "platforms": PLATFORMS,
        "sampling_rate": batch.SAMPLE_RATE,
        "least_samples": audio.EDGE + 1,
        "samples": program.samples,
        "prompt_room": program.prompt,
        "prompts": program.prompts,
        "room": program.room,
        "start": vocabulary.BOS,
        "end": vocabulary.EOS,
        "forbidden": program.forbidden.always,
        "forbidden_first": program.forbidden.first,
        "model": dataclasses.asdict(loaded.model),
    }


def heads_left_out(loaded: loading.Loaded) -> list[str]:
    """Those that the program does not ask."""
    heads = {"ctc": loaded.model.ctc, "matching": loaded.model.matching, "speech_out": bool(loaded.model.speech_out)}
    return sorted(name for name, has in heads.items() if has)


def _batch(samples: Int16[Array, "B N"], lengths: Int[Array, "B"], row: batch.Row) -> batch.Batch:
    """Waveforms as rows of a segment each, as packing.write_row lays them out."""
    rows, padded = samples.shape[0], round(row.padded_seconds * batch.SAMPLE_RATE)
    frames = row.audio_frames
    heard_B1 = jnp.where(lengths > 0, jnp.maximum(lengths, padded), 0)[:, None]
    whole_BN = jnp.where(jnp.arange(samples.shape[1])[None, :] < lengths[:, None], samples, 0)
    frames_B1 = jnp.where(heard_B1 > audio.EDGE, heard_B1 // batch.HOP, 0)
    # As audio.slot_into: mirrored at both ends.
    places_1N = jnp.arange(frames * batch.HOP)[None, :]
    from_BN = jnp.abs(places_1N - audio.EDGE)
    from_BN = jnp.where(from_BN < heard_B1, from_BN, 2 * (heard_B1 - 1) - from_BN)
    kept_BN = places_1N < (frames_B1 - 1) * batch.HOP + batch.WINDOW
    slots_BN = jnp.take_along_axis(whole_BN, jnp.clip(from_BN, 0, samples.shape[1] - 1), axis=1)
    alive_BT = jnp.arange(frames)[None, :] < frames_B1
    positions_BT = jnp.where(alive_BT, jnp.arange(frames)[None, :], 0)
    lane = batch.AudioLane(jnp.where(kept_BN, slots_BN, 0), alive_BT.astype(jnp.int32), positions_BT.astype(jnp.int32))
    one, nothing = jnp.ones((rows, 1)), jnp.zeros((rows, 1))
    segments = batch.Segments(
        task_ids=nothing.astype(jnp.int32),
        weights=one,
        ctc=one,
        claims=nothing,
        mask_shares=nothing,
        origins=jnp.zeros((rows, 1, 3), jnp.int32),
    )
    return batch.Batch(lane, None, None, None, segments)
