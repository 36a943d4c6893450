"""Verb `infer`: recordings and texts in, a model's answers out as JSON lines."""

import argparse
import dataclasses

from speechlm_jax import whole_files
from speechlm_jax.inference import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument(
        "inputs", nargs="*", help="audio files, folders of them, or a manifest (.jsonl, .jsonl.gz, .tsv)"
    )
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument("--use", help="transcribe (default), translate, classify, answer, match or speak")
    parser.add_argument(
        "--text",
        action="append",
        help="translate, classify, answer, speak: a text in place of inputs, may be given several times; match: what "
        "the recordings are claimed to say",
    )
    parser.add_argument(
        "--language",
        help="transcribe, translate, speak: of the inputs, where a manifest does not say (default: training's)",
    )
    parser.add_argument("--to", help="translate: the language to translate into")
    parser.add_argument(
        "--about",
        help="classify: what is asked for, as training names it, such as sentiment; --about= if it has no name",
    )
    parser.add_argument("--question", help="answer: the question, where a manifest does not say")
    parser.add_argument("--speaker", help="speak: whose voice, where a manifest does not say")
    parser.add_argument(
        "--out_dir", help="speak: the folder for the sound files; --format: for a file of each recording"
    )
    parser.add_argument(
        "--format", help="jsonl (default), text, or of what was said when: srt, vtt (SubRip, WebVTT subtitles)"
    )
    parser.add_argument(
        "--times",
        action="store_const",
        const=True,
        help="transcribe, translate: tell when segments and words were said, which is told of long recordings anyway",
    )
    parser.add_argument(
        "--piece_seconds",
        type=float,
        help="transcribe, translate: cut longer recordings into pieces of at most this (default: what a row holds)",
    )
    parser.add_argument("--temperature", type=float, help="speak: 0 takes the likeliest sound (default: 0.7)")
    parser.add_argument("--seed", type=int, help="speak: another draws another sound (default: 0)")
    parser.add_argument("--search", help="transcribe: decoder, greedily (default), or ctc, the CTC head")
    parser.add_argument("--beam", type=int, help="follow so many hypotheses at once, as Search.beam")
    parser.add_argument(
        "--label",
        action="append",
        help="classify, answer: a text that the answer may be, given for each (default: any text)",
    )
    parser.add_argument(
        "--language_model", help="a checkpoint that has learned text behind the same prompts; see Search.language_model"
    )
    parser.add_argument(
        "--aligner", help="transcribe: a checkpoint whose CTC head tells when words were said, of any vocabulary"
    )
    parser.add_argument("--rows", type=int, help="rows computed at once (default: at most 8)")
    parser.add_argument("--out", help="write the lines here instead of standard output")


def run(
    *,
    checkpoint: str,
    decoding: config.Search = config.GREEDY,
    inputs: list[str] | tuple[str, ...] = (),
    use: str = "transcribe",
    text: list[str] | tuple[str, ...] = (),
    language: str | None = None,
    to: str | None = None,
    about: str | None = None,
    question: str | None = None,
    speaker: str | None = None,
    out_dir: str | None = None,
    temperature: float = 0.7,
    seed: int = 0,
    search: str = "decoder",
    beam: int | None = None,
    label: list[str] | tuple[str, ...] = (),
    language_model: str | None = None,
    aligner: str | None = None,
    format: str = "jsonl",
    times: bool = False,
    piece_seconds: float | None = None,
    out: str | None = None,
    decode_steps: int | None = None,
    rows: int | None = None,
) -> None:
    """Asks a model about recordings and texts: one line {"id", "text", "seconds"} each, in order; one that cannot be
    used gets {"id", "error"}, and one whose text the decoder did not end has "cut": true.

    A manifest's fields are `audio`, `text`, `lang`, `question` and `speaker`, and what a line says wins over a flag.
    To translate, classify and answer, its recording is heard, or else its text read. "seconds" are of the recording.

    use: transcribe; translate (--to); classify (--about); answer (--question); match, whether a text is what was said
    ("text" is match or mismatch, "score" how likely it is a match); speak, whose lines are {"id", "audio", "seconds"}.
    text: read in place of inputs; to match, the one text that is claimed of all recordings. speaker: a name as training
    spelled it; None where training named none. about: the `name` of the classification that the model learned, or ''.
    language: of what is given, where a manifest's own field of languages does not say. None: the one language of the
    manifest that the model was trained on; else the only one that its vocabulary has; else English, with a note.
    decoding: how the decoder's text is looked for; of Search.best > 1 a line has "texts": [{"text", "score"}], too.
    out_dir: what is spoken is written to ID.wav in it, 16 kHz; and of a format but jsonl, each answer to a file. out:
    the file bears its name once it is whole; the same command goes on behind what it has done, in a .part beside it.
    times: a line has "segments" and "coverage", as those of long recordings have anyway, which are heard in pieces of
    piece_seconds at most. aligner: whose CTC head tells when words were said. docs/decoding.md explains them.
    decode_steps: tokens that the decoder may write, the end too; None: Row.targets. rows: of a batch; None: 8 at most.

    Raises ValueError for a checkpoint or an input that is not there, for flags that do not go with the use, or a
    language that the vocabulary lacks; and, when the lines are written, where all of them are errors.
    """
    from speechlm_jax import there
    from speechlm_jax.inference import entries, uses

    request = uses.Request(
        use=use,
        text=tuple(text),
        language=language,
        to=to,
        about=about,
        question=question,
        speaker=speaker,
        out_dir=out_dir,
        temperature=temperature,
        seed=seed,
        search=search,
        decoding=decoding if beam is None else dataclasses.replace(decoding, beam=beam),
        label=tuple(label),
        language_model=language_model,
        aligner=aligner,
        format=format,
        times=times,
        piece_seconds=piece_seconds,
    )
    for path in (checkpoint, *filter(None, [language_model, aligner])):
        there.check_checkpoint(path)
    found = entries.find(inputs, request)
    whole_files.check_file(out, "--out")
    whole_files.check_folder(out_dir, "--out_dir")
    from speechlm_jax.inference import answering

    answering.answer(checkpoint, found, request, out_path=out, decode_steps=decode_steps, rows=rows)
