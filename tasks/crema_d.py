"""CREMA-D (Cao et al., 2014): twelve English sentences acted in six emotions by 91 actors; prepared by TFDS.

`tfds build crema_d --file_format=array_record`. Speakers of a split are in no other.
"""

import seqio
import tensorflow as tf

from speechlm_jax.data import features, measures, paired_objectives, preprocessors, tfds_source

EMOTIONS = {
    "NEU": "neutral",
    "HAP": "happiness",
    "SAD": "sadness",
    "ANG": "anger",
    "FEA": "fear",
    "DIS": "disgust",
}
"""Of each label of the corpus, the word that is written."""


def _in_words(example: preprocessors.Example) -> preprocessors.Example:
    is_own = tf.equal(example["emotion"], tf.constant(list(EMOTIONS)))
    word = tf.gather(tf.constant(list(EMOTIONS.values())), tf.argmax(is_own))
    # What is no label of the corpus stays, for the classification to refuse it; no label at all, for it to drop it.
    return {**example, "emotion": tf.where(tf.reduce_any(is_own), word, example["emotion"])}


seqio.TaskRegistry.add(
    "crema_d_emotion",
    source=tfds_source.TfdsSource(
        "crema_d",
        {"train": "train", "validation": "validation", "test": "test"},
        {"audio": "audio", "emotion": "label", "speaker": "speaker_id"},
    ),
    preprocessors=[
        preprocessors.mapped(_in_words),
        *paired_objectives.classification("emotion", tuple(EMOTIONS.values()), name="emotion", speech=True),
    ],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.labels(*EMOTIONS.values()),
)
