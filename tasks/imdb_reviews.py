"""IMDB reviews (Maas et al., ACL 2011): reviews of films, good or bad, English; prepared by TFDS.

`tfds build imdb_reviews --file_format=array_record`.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

SENTIMENTS = ("neg", "pos")

seqio.TaskRegistry.add(
    "imdb_reviews_sentiment",
    source=tfds_source.TfdsSource(
        "imdb_reviews", {"train": "train", "test": "test"}, {"text": "text", "sentiment": "label"}
    ),
    preprocessors=paired_objectives.classification("sentiment", SENTIMENTS, name="sentiment", texts=("text",)),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.labels(*SENTIMENTS),
)
