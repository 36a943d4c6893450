"""GLUE (arXiv 1804.07461): sentences and pairs of them to be labelled, English; prepared by TFDS.

`tfds build glue/sst2 --file_format=array_record`, one configuration a task. Labels of the test splits are not public.
"""

import dataclasses

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source


@dataclasses.dataclass(frozen=True)
class Part:
    """A task of GLUE."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    name: str
    """What is asked for."""


PARTS = {
    "cola": Part(("sentence",), ("unacceptable", "acceptable"), "acceptability"),
    "sst2": Part(("sentence",), ("negative", "positive"), "sentiment"),
    "mrpc": Part(("sentence1", "sentence2"), ("not_equivalent", "equivalent"), "paraphrase"),
    "qqp": Part(("question1", "question2"), ("not_duplicate", "duplicate"), "duplicate"),
    "mnli": Part(("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), "inference"),
    "qnli": Part(("question", "sentence"), ("entailment", "not_entailment"), "answered"),
    "rte": Part(("sentence1", "sentence2"), ("entailment", "not_entailment"), "inference"),
}

for _config, _part in PARTS.items():
    _splits = {"train": "train", "validation": "validation"}
    if _config == "mnli":
        _splits = {
            "train": "train",
            "validation": "validation_matched",
            "validation_mismatched": "validation_mismatched",
        }
    seqio.TaskRegistry.add(
        f"glue_{_config}",
        source=tfds_source.TfdsSource(
            f"glue/{_config}", _splits, {"label": "label", **{text: text for text in _part.texts}}
        ),
        preprocessors=paired_objectives.classification("label", _part.labels, name=_part.name, texts=_part.texts),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.labels(*_part.labels),
    )
