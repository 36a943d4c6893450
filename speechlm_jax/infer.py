"""Verb `infer`: recordings in, JSON lines out."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument(
        "inputs", nargs="*", help="audio files, folders of them, or a manifest (.jsonl, .jsonl.gz, .tsv)"
    )
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument(
        "--language", help="language that is spoken, where a manifest does not say (default: training's)"
    )
    parser.add_argument(
        "--search", choices=("decoder", "ctc"), help="greedy over the decoder (default) or the CTC head"
    )
    parser.add_argument("--rows", type=int, help="rows computed at once (default: at most 8)")
    parser.add_argument("--out", help="write the lines here instead of standard output")


def run(
    *,
    checkpoint: str,
    inputs: list[str] | tuple[str, ...],
    language: str | None = None,
    search: str = "decoder",
    out: str | None = None,
    decode_steps: int | None = None,
    rows: int | None = None,
) -> None:
    """Transcribes recordings: one line {"id", "text", "seconds"} each, in order; one that cannot be read gets
    {"id", "error"}, and one whose text the decoder did not end has "cut": true.

    language: what is spoken where a manifest's own field of languages does not say. None: the one language of the
    manifest that the model was trained on; else the only one that its vocabulary has; else English, with a note.

    out: the file bears its name once it is whole, and ends in .part until then.

    decode_steps: tokens that the decoder may write, the end token too; None: as many as Row.targets.

    rows: rows of a batch, shared by the devices of this machine; None: no more than are needed, those of training or
    8.

    Raises ValueError for a checkpoint or an input that is not there, or a language the vocabulary lacks.
    """
    from speechlm_jax import there

    there.check_checkpoint(checkpoint)
    from speechlm_jax.inference import transcription

    transcription.transcribe(
        checkpoint,
        list(inputs),
        language=language,
        search=search,
        out_path=out,
        decode_steps=decode_steps,
        rows=rows,
    )
