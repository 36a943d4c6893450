"""Verb `infer`: recordings in, JSON lines out."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument(
        "inputs", nargs="*", help="audio files, folders of them, or a manifest (.jsonl, .jsonl.gz, .tsv)"
    )
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument("--language", help="language that is spoken (default: en), where a manifest does not say")
    parser.add_argument(
        "--search", choices=("decoder", "ctc"), help="greedy over the decoder (default) or the CTC head"
    )
    parser.add_argument("--out", help="write the lines here instead of standard output")


def run(
    *,
    checkpoint: str,
    inputs: list[str] | tuple[str, ...],
    language: str = "en",
    search: str = "decoder",
    out: str | None = None,
    decode_steps: int = 96,
) -> None:
    """Transcribes recordings: one line {"id", "text", "seconds"} each, in order; one that cannot be read gets
    {"id", "error"}.

    Raises ValueError for a checkpoint or an input that is not there, or a language the vocabulary lacks.
    """
    from speechlm_jax.inference import transcription

    transcription.transcribe(
        checkpoint, list(inputs), language=language, search=search, out_path=out, decode_steps=decode_steps
    )
