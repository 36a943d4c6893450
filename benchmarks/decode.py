"""Text from speech, by our search and by transformers' generate: one Whisper, one set of recordings, turn by turn.

    pip install 'speechlm_jax[bench]'
    python benchmarks/decode.py [--size tiny] [--tokens 64] [--rounds 3] [--devices 1] [--keep NAME]

A Whisper of random weights, of the size that is named and of its 51,865 tokens, is read by both. Each writes so many
tokens behind the same prompt of every recording of 30 s: greedily of one and of sixteen at once, and by a beam of five
of sixteen. Ours makes its features of the samples within that time; the peer is given them. Each system has a process
of its own, and takes its turn; compiling is timed apart.

The last line is JSON. `greedy_batch1_ratio`, `greedy_batch16_ratio` and `beam5_batch16_ratio` are the peer's time over
ours, higher is better; `real_time_factor` is time over seconds of speech, lower is better; `same_tokens` is the share
of tokens in which both agree.
"""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import apart
import figures
import jax
import numpy as np
import train_step
import utterances
from flax import nnx

from speechlm_jax import batch, layout, provenance, runtime, sharding, vocabulary
from speechlm_jax.data import packing
from speechlm_jax.exporters import whisper
from speechlm_jax.inference import beam, config, decoding, hypotheses
from speechlm_jax.models import speech_text

SECONDS = 30.0
PIECES = utterances.PIECES
PROMPT = (50_258, 50_259, 50_359, 50_363)
"""Start of transcript, English, transcribe, no times."""
END, NEVER = 50_257, -1
"""The end of a text, which nobody writes; and what ends none of ours."""


class Case(NamedTuple):
    """What is written at once."""

    rows: int
    beam: int


CASES = {"greedy_batch1": Case(1, 1), "greedy_batch16": Case(16, 1), "beam5_batch16": Case(16, 5)}
Run = Callable[[str], np.ndarray]
"""From the name of a case to tokens "B U"."""


def main() -> None:
    """Prints what each takes."""
    runtime.quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=train_step.SIZES, default="tiny")
    parser.add_argument("--tokens", type=figures.positive, default=64)
    parser.add_argument("--rounds", type=figures.positive, default=3)
    parser.add_argument("--devices", type=figures.positive, default=1, help="that ours deals its rows to")
    figures.add_arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as parts:
        peer = parts.enter_context(apart.Apart(_serve, "peer", folder, given))
        ours = parts.enter_context(apart.Apart(_serve, "ours", folder, given))
        systems = {"ours": ours, "peer": peer}
        first = {name: {case: system.ask(case) for case in CASES} for name, system in systems.items()}
        taken: dict[str, dict[str, list[float]]] = {name: {case: [] for case in CASES} for name in systems}
        for _ in range(given.rounds):
            for case in CASES:
                for name, system in systems.items():
                    taken[name][case].append(system.ask(case)[0])
    seconds = {name: {case: float(np.median(values)) for case, values in own.items()} for name, own in taken.items()}
    found = {
        "size": given.size,
        "tokens": given.tokens,
        "ours_devices": given.devices,
        **{f"{case}_ratio": round(seconds["peer"][case] / seconds["ours"][case], 3) for case in CASES},
        "real_time_factor": {
            name: {case: round(own[case] / (SECONDS * CASES[case].rows), 5) for case in CASES}
            for name, own in seconds.items()
        },
        "compile_seconds": {case: round(first["ours"][case][0] - seconds["ours"][case], 1) for case in CASES},
        "same_tokens": {
            case: round(float(np.mean(first["ours"][case][1] == first["peer"][case][1])), 4) for case in CASES
        },
    }
    figures.tell(found, given, "jaxlib", "torch", "transformers")


def _serve(there: Any, name: str, folder: str, given: argparse.Namespace) -> None:
    runtime.quiet()
    run = {"ours": ours, "peer": peer}[name](pathlib.Path(folder), given)
    there.send(name)
    with contextlib.suppress(EOFError):
        while True:
            case = there.recv()
            began = time.perf_counter()
            tokens = run(case)
            there.send((time.perf_counter() - began, tokens))


def recordings(rows: int) -> list[np.ndarray]:
    """Noise that rises and falls, int16."""
    random, time_N = np.random.default_rng(0), np.arange(int(SECONDS * batch.SAMPLE_RATE)) / batch.SAMPLE_RATE
    return [
        (random.normal(0, 3_000, len(time_N)) * np.sin((1 + row) * time_N) ** 2).astype(np.int16) for row in range(rows)
    ]


def ours(folder: pathlib.Path, given: argparse.Namespace) -> Run:
    """Our search."""
    if given.devices > 1:
        jax.config.update("jax_num_cpu_devices", given.devices)
    model, theirs = whisper.read(folder)
    model = dataclasses.replace(model, vocabulary_size=-(-PIECES // 128) * 128, dtype=train_step.dtype())
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: speech_text.SpeechText(model, rngs=nnx.Rngs(0))))
    # Ours begin with a token of another number, which changes places with theirs.
    tokens = np.arange(PIECES)
    tokens[[PROMPT[0], vocabulary.BOS]] = vocabulary.BOS, PROMPT[0]
    params = whisper.params_of(model, theirs, tokens)
    row = batch.Row(audio_seconds=SECONDS + 0.02, targets=len(PROMPT) + given.tokens, segments=1, subsampling=2)

    @functools.cache
    def made(name: str) -> tuple[Any, Any]:
        case = CASES[name]
        devices = jax.devices()[: min(given.devices, case.rows)]
        mesh = sharding.make_mesh(layout.Layout(), devices)
        prompt = np.array(PROMPT[1:], np.int32)
        rows = batch.empty(row, case.rows)
        for index, samples in enumerate(recordings(case.rows)):
            example = {**utterances.example(SECONDS), "audio": samples, "prompt": prompt, "targets": prompt[:0]}
            packing.write_row(rows, index, [example], row)
        prompts = np.broadcast_to(prompt, (case.rows, 1, len(prompt)))
        lengths = np.full((case.rows, 1), len(prompt), np.int32)

        def search(params: Any, rows: batch.Batch, prompts: jax.Array, lengths: jax.Array) -> jax.Array:
            with sharding.model_on(mesh, graphdef, params) as model:
                encoded = model.encode(rows)
                without = hypotheses.Forbidden((END,))
                if case.beam == 1:
                    texts = decoding.write(
                        model, rows, encoded, prompts, lengths, given.tokens, forbidden=without, eos=NEVER
                    )
                else:
                    choices, scorers = config.Search(beam=case.beam), beam.Scorers(forbidden=without)
                    asked = (rows, encoded, prompts, lengths, choices, scorers)
                    texts = beam.Beam(model, *asked, max_steps=given.tokens, eos=NEVER).search()
                return texts.tokens[:, 0, 0]

        cut = sharding.batch_sharding(mesh)
        placed = jax.device_put((rows, prompts, lengths), cut)
        return jax.jit(search), (jax.device_put(params, sharding.replicated(mesh)), *placed)

    def run(name: str) -> np.ndarray:
        search, arguments = made(name)
        return tokens[np.asarray(search(*arguments))]

    return run


def peer(folder: pathlib.Path, given: argparse.Namespace) -> Run:
    """generate of transformers; it also makes the weights that both read."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    where = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(provenance.cpus())
    torch.manual_seed(0)
    shape = {**train_step.of_transformers(train_step.SIZES[given.size]), "init_std": 0.06}
    model: Any = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**shape)).eval()
    model.save_pretrained(folder)
    half = train_step.dtype() == "bfloat16"
    model.to(where, torch.bfloat16 if half else torch.float32)
    told = {
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": PROMPT[1]},
        "task_to_id": {"transcribe": PROMPT[2]},
        "no_timestamps_token_id": PROMPT[3],
        "decoder_start_token_id": PROMPT[0],
        "eos_token_id": END,
        "pad_token_id": END,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    }
    # Its own `update` leaves out what it does not know yet.
    for name, value in told.items():
        setattr(model.generation_config, name, value)
    extractor = transformers.WhisperFeatureExtractor()

    @functools.cache
    def heard(rows: int) -> Any:
        given_to_it = [samples.astype(np.float32) / 32_768 for samples in recordings(rows)]
        return extractor(given_to_it, sampling_rate=batch.SAMPLE_RATE, return_tensors="pt").input_features.to(
            where, model.dtype
        )

    def run(name: str) -> np.ndarray:
        case = CASES[name]
        with torch.inference_mode():
            found = model.generate(
                heard(case.rows),
                language="en",
                task="transcribe",
                num_beams=case.beam,
                do_sample=False,
                length_penalty=0.0,
                min_new_tokens=given.tokens,
                max_new_tokens=given.tokens,
            )
        return found[:, -given.tokens :].cpu().numpy()

    for case in CASES.values():
        heard(case.rows)
    return run


if __name__ == "__main__":
    main()
