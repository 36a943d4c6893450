"""Verb `import`: a model of another library in, and out comes a run's folder to finetune from, score or ask."""

import argparse
import pathlib

from speechlm_jax import export, whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("folder", help="a model's folder, as transformers writes it: config, safetensors, tokenizer")
    parser.add_argument("--exporter", help="the format: whisper (default) or transformers")
    parser.add_argument("--out", help="the run's folder to write, which is not there yet or empty")


def run(*, folder: str, out: str, exporter: str = "whisper") -> None:
    """Writes a run's folder with the weights and the vocabulary of a model of another library, reads it back and
    compares it, number by number. `Finetune.checkpoint` may name it, and so may `--checkpoint` of other verbs.

    exporter: whisper, of transformers or of `speechlm export --exporter=whisper`; transformers, of the export of that
    name.

    Raises ValueError for a folder that is none of the format, and where a file stands in `out`.
    """
    member = export.find(exporter)
    if not hasattr(member, "bring"):
        raise ValueError(f"importing {folder}: the format {exporter!r} is written alone. Name another --exporter.")
    if not pathlib.Path(folder).is_dir():
        raise ValueError(f"importing '{folder}': there is no such folder. Name one that transformers has written.")
    run_dir = export.new_folder(out)
    from speechlm_jax.inference import loading

    member.bring(pathlib.Path(folder), run_dir)
    loaded = loading.load(out, rows=1)
    member.check_against(loaded, pathlib.Path(folder))
    whole_files.sync_folder(run_dir)
    print(f"{out}: {exporter} from {folder}; read back and found the same")
