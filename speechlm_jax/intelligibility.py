"""Is what a model speaks understood? It speaks held-out texts, and a recogniser writes down what it hears."""

import json
import pathlib
from typing import Any

from speechlm_jax import cli, metrics


def compare(
    checkpoint: str, recogniser: str, *, recipe: str, task: str, split: str, folder: pathlib.Path, examples: int
) -> dict[str, Any]:
    """Error rates of a recogniser on what a checkpoint speaks, and on the recordings of the same texts.

    task: one of the embedded corpus, whose records have `spoken`, `lang` and `speaker`. folder: gets the recordings,
    what was spoken, and what was heard. Returns {"spoken": {...}, "recordings": {...}} of wer and cer; of Chinese,
    which has no spaces, cer counts. Raises RuntimeError where a verb fails, which has told why.
    """
    recordings, spoken = folder / "recordings", folder / "spoken"
    if not (recordings / "manifest.jsonl").exists():
        _verb(
            "data",
            f"--gin_file={recipe}",
            f"--task={task}",
            f"--split={split}",
            f"--export={recordings}",
            f"--limit={examples}",
        )
    records = _lines(recordings / "manifest.jsonl")
    texts = folder / "texts.jsonl"
    with texts.open("w", encoding="utf-8") as out:
        for record in records:
            line = {"id": record["id"], "text": record["spoken"], "lang": record["lang"], "speaker": record["speaker"]}
            print(json.dumps(line, ensure_ascii=False), file=out)
    _verb(
        "infer",
        f"--checkpoint={checkpoint}",
        "--use=speak",
        str(texts),
        f"--out_dir={spoken}",
        f"--out={folder / 'spoken.jsonl'}",
    )
    language = records[0]["lang"]
    found = {}
    for name in ("recordings", "spoken"):
        heard = folder / f"{name}_heard.jsonl"
        _verb(
            "infer",
            f"--checkpoint={recogniser}",
            "--search=ctc",
            f"--language={language}",
            str(folder / name),
            f"--out={heard}",
        )
        said = {pathlib.Path(line["id"]).stem: line.get("text", "") for line in _lines(heard)}
        predictions = [said.get(record["id"], "") for record in records]
        targets = [record["spoken"] for record in records]
        found[name] = {**metrics.wer(targets, predictions), **metrics.cer(targets, predictions)}
    return {**found, "examples": len(records)}


def _verb(*words: str) -> None:
    if cli.main(list(words)):
        raise RuntimeError(f"speechlm {' '.join(words)} failed; it has told why.")


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
