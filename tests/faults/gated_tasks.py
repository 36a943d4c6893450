"""The speech of a small run, by readers that stand still for as long as a file is there, named by $FAULTS_GATE; and
that fail in the process that $FAULTS_GATE with .broken behind it names."""

import os
import pathlib
import time

import seqio
import tensorflow as tf

from speechlm_jax.data import features, objectives, sources

FOLDER, GATE = pathlib.Path(os.environ["FAULTS_FOLDER"]), pathlib.Path(os.environ["FAULTS_GATE"])


BROKEN, PROCESS = GATE.with_suffix(".broken"), os.environ.get("SPEECHLM_PROCESS_ID", "0")


def _wait(name: bytes) -> bytes:
    while GATE.exists():
        time.sleep(0.01)
    if BROKEN.exists() and BROKEN.read_text() == PROCESS:
        raise LookupError("no such speaker")
    return name


@seqio.map_over_dataset
def _behind_the_gate(example):
    passed = tf.ensure_shape(tf.numpy_function(_wait, [example["id"]], tf.string), [])
    return {**example, "id": passed}


SOURCE = sources.ManifestSource(str(FOLDER / "manifest.jsonl"), {"train": "train", "validation": "validation"})
TASKS = {
    "gated_recognition": [_behind_the_gate, *objectives.recognition("text", "{lang}")],
    "gated_span_corruption": objectives.span_corruption("text"),
}
for name, preprocessors in TASKS.items():
    seqio.TaskRegistry.add(name, source=SOURCE, preprocessors=preprocessors, output_features=features.OUTPUT_FEATURES)
seqio.MixtureRegistry.add("gated", [("gated_recognition", 2.0), ("gated_span_corruption", 1.0)])
