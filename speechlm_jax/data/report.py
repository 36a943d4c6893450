"""What a mixture yields: counted, measured, packed, and a few examples in words."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax import batch, runtime, vocabularies, vocabulary, whole_files
from speechlm_jax.data import (
    capacities,
    config,
    packing,
    pipeline,
    quarantine,
    registration,
    stream,
    texts,
)

_BOUNDLESS = 10**9
"""Room that no mixture fills."""

_FEW = 20
"""Records that may come to nothing by chance."""

UNITS = {"audio": "positions", "inputs": "tokens", "targets": "tokens", "target_audio": "steps"}


class Looked(NamedTuple):
    """What was found of a mixture, and from what."""

    found: dict[str, Any]
    """As `data_verb.run` returns it."""
    tasks: list[str]
    drawn: list[dict[str, Any]]
    """Examples, whose 'task' is a number of `tasks`."""
    vocabulary: Any


def report(
    data: config.Data, *, seed: int, examples: int, show: int, propose_row: bool, json_path: str | None
) -> Looked:
    """Draws `examples` examples as training would, whatever room the row has, and tells what they are; see
    `data_verb.run`."""
    registration.register(data)
    tasks, rates = pipeline.tasks_and_rates(data.stream.mixture, data.stream.split)
    drawn, draws, bad = _draw(data, seed, examples)
    row = data.row
    demands = np.stack([packing.demand(example, row) for example in drawn])
    contents = np.stack([capacities.content(example, row) for example in drawn])
    too_large = demands > packing.capacity(row)
    fits = ~too_large.any(axis=1)
    numbers = np.array([example["task"] for example in drawn])
    # A record may become several examples, which bear the number of its draw.
    became = collections.Counter(task for task, _ in {(one["task"], one["origin"][1]) for one in drawn})
    found: dict[str, Any] = {
        "mixture": data.stream.mixture,
        "split": data.stream.split,
        "measured": len(drawn),
        "tasks": {
            task.name: _of_task(
                pipeline.source_of(task).num_input_examples(data.stream.split),
                rate,
                float((numbers == index).mean()),
                contents[numbers == index],
                too_large[numbers == index],
                row,
            )
            | {
                "empty": {"records": draws[index] - became[index], "of": draws[index]},
                "left_out": pipeline.source_of(task).left_out(data.stream.split),
            }
            for index, (task, rate) in enumerate(zip(tasks, rates, strict=True))
        },
        "useful_shares": capacities.useful_shares(contents[fits], demands[fits], row, data.stream.open_rows),
        "bad_records": {
            "skipped": bad.skipped,
            "read": bad.read,
            "different": bad.different,
            "reasons": dict(collections.Counter(record.reason for record in bad.records)),
            "first": [dataclasses.asdict(record) for record in bad.records[:5]],
        },
    }
    if propose_row:
        proposal = capacities.propose(contents, demands, row, data.stream.open_rows)
        found["proposal"] = {
            "bindings": proposal.bindings(),
            "useful_shares": proposal.shares,
            "examples_per_row": round(proposal.examples_per_row, 2),
        }
    _print(found)
    words = vocabularies.load(data.vocabulary)
    for example in drawn[:show]:
        print(_in_words(example, tasks[example["task"]].name, words))
    if json_path is not None:
        whole_files.write_json(json_path, found)
    return Looked(found, [task.name for task in tasks], drawn, words)


def train_vocabulary(
    data: config.Data, size: int, *, fields: Sequence[str] | None, languages: Sequence[str]
) -> dict[str, Any]:
    """Trains Data.vocabulary on the text of the mixture, as its tasks see it."""
    if not data.vocabulary:
        raise ValueError("training a vocabulary: wanted the file to write, found none. Set Data.vocabulary.")
    registration.register(data, bind_vocabulary=False)
    lines = texts.texts(data.stream.mixture, data.stream.split, fields)
    codes = tuple(languages) or vocabulary.LANGUAGES
    words = vocabulary.train(lines, data.vocabulary, size, kind=data.vocabulary_kind, languages=codes)
    fewer = f" of the {size} asked for, for the texts yield no more" if words.size < size else ""
    runtime.say(
        f"wrote {data.vocabulary}: {words.size} pieces{fewer}; Model.vocabulary_size = {words.padded_size}, "
        f"hash {words.hash}"
    )
    return {"path": data.vocabulary, "size": words.size, "padded_size": words.padded_size, "hash": words.hash}


def _draw(data: config.Data, seed: int, number: int) -> tuple[list[dict[str, Any]], list[int], quarantine.Quarantine]:
    """The first examples of a one-shard stream of the mixture, those too that do not fit the recipe's row, and how many
    records of each task were drawn for them."""
    settings = dataclasses.replace(data.stream, data_shards=1)
    everything = dataclasses.replace(
        data.row,
        audio_seconds=_BOUNDLESS,
        inputs=_BOUNDLESS,
        targets=_BOUNDLESS,
        target_audio_seconds=_BOUNDLESS,
        segments=_BOUNDLESS,
    )
    source = stream.Stream(settings, everything, rows=1, seed=seed, augmentation=data.augmentation)
    try:
        return source.draw(number), source.draws, source.bad_records
    finally:
        source.close()


def _of_task(
    records: int, rate: float, realised: float, contents: np.ndarray, too_large: np.ndarray, row: batch.Row
) -> dict[str, Any]:
    lanes = {
        lane: {"unit": UNITS[lane], **capacities.lengths(contents[:, index])}
        for index, lane in enumerate(capacities.LANES)
        if len(contents) and contents[:, index].any()
    }
    seconds = batch.HOP * row.subsampling / batch.SAMPLE_RATE
    found: dict[str, Any] = {"records": records, "rate": round(rate, 5), "realised": round(realised, 5), "lanes": lanes}
    found["too_large"] = {
        "examples": int(too_large.any(axis=1).sum()),
        "of": len(too_large),
        "rooms": {packing.BINDINGS[d]: int(n) for d, n in enumerate(too_large.sum(axis=0)) if n},
    }
    if "audio" in lanes:
        found["hours"] = round(float(contents[:, 0].mean()) * seconds * records / 3600, 2)
    return found


def _print(found: dict[str, Any]) -> None:
    print(f"{found['mixture']}/{found['split']}: {found['measured']} examples measured")
    for name, task in found["tasks"].items():
        hours = f", about {task['hours']:.2f} h" if "hours" in task else ""
        print(f"  {name}: {task['records']:,} records{hours}, rate {task['rate']:.3f}, realised {task['realised']:.3f}")
        for lane, lengths in task["lanes"].items():
            print(f"    {lane:<13}" + "  ".join(f"{key} {value}" for key, value in lengths.items()))
        if task["left_out"]:
            print(f"    {task['left_out']:,} more lack a text that the task reads, and are not drawn")
        empty = task["empty"]
        if empty["records"]:
            most = 2 * empty["records"] > empty["of"] >= _FEW
            hint = ": draw it from those that can (data.sources.Having)" if most else ""
            print(f"    {empty['records']} of {empty['of']} records drawn became no example{hint}")
        large = task["too_large"]
        if large["examples"]:
            rooms = ", ".join(f"{binding} ({count})" for binding, count in large["rooms"].items())
            print(f"    {large['examples']} of {large['of']} do not fit the row, and are skipped in training: {rooms}")
    if not any(task["too_large"]["examples"] < task["too_large"]["of"] for task in found["tasks"].values()):
        print("none of them fits the row: training would have nothing to learn from; --propose_row finds a row")
    print("useful share of each lane: " + "  ".join(f"{k} {v:.3f}" for k, v in found["useful_shares"].items()))
    bad = found["bad_records"]
    different = f", {bad['different']} different" if bad["different"] < bad["skipped"] else ""
    print(f"bad records: {bad['skipped']} of {bad['read']} read{different}")
    for reason, count in bad["reasons"].items():
        print(f"  {count}x {reason}")
    if "proposal" in found:
        proposal = found["proposal"]
        print("proposed row: " + "; ".join(proposal["bindings"]))
        shares = "  ".join(f"{lane} {share:.3f}" for lane, share in proposal["useful_shares"].items())
        print(f"  useful: {shares}; {proposal['examples_per_row']} examples a row")


def _in_words(example: dict[str, Any], task: str, words: vocabulary.Vocabulary) -> str:
    lines = [f"- {task}  {example['id'].decode('utf-8', 'replace')}"]
    for lane in ("audio", "target_audio"):
        if len(example[lane]):
            lines.append(f"    {lane}: {len(example[lane]) / batch.SAMPLE_RATE:.2f} s")
    for lane in ("inputs", "masked_tokens", "prompt", "targets"):
        if len(example[lane]):
            lines.append(f"    {lane}: {words.show(example[lane].tolist())}")
    if example["claim"][0]:
        lines.append(f"    claim: {'true' if example['claim'][0] > 0 else 'false'}")
    return "\n".join(lines)
