"""IMDB reviews (Maas et al., ACL 2011): reviews of films, good or bad, English; prepared by TFDS.

`tfds build imdb_reviews --file_format=array_record`.
"""

from typing import Any

import seqio

from speechlm_jax import label_metrics, metrics
from speechlm_jax.data import features, paired_objectives, tfds_source

SENTIMENTS = ("neg", "pos")

METRICS: list[Any] = [
    metrics.bootstrapped(label_metrics.in_label_set(label_metrics.accuracy, *SENTIMENTS)),
    label_metrics.macro_f1,
]
seqio.TaskRegistry.add(
    "imdb_reviews_sentiment",
    source=tfds_source.TfdsSource(
        "imdb_reviews", {"train": "train", "test": "test"}, {"text": "text", "sentiment": "label"}
    ),
    preprocessors=paired_objectives.classification("sentiment", SENTIMENTS, name="sentiment", texts=("text",)),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=METRICS,
)
