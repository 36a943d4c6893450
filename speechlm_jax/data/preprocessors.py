"""Small SeqIO preprocessors: fields in, fields out, and `lanes` at the end. All of them keep `_pos` and `id`.

Each function here returns a preprocessor, to be put in the list of a seqio.Task.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf
import tensorflow_text

from speechlm_jax import vocabulary
from speechlm_jax.data import features

Example = dict[str, tf.Tensor]
Preprocessor = Callable[..., tf.data.Dataset]

CARRIED = ("_pos", "id", "targets_pretokenized")
"""What an example keeps beside its lanes."""
KEEPABLE = ("kind", "accepted")
"""What it may keep besides, for metrics to read."""


def mapped(function: Callable[[Example], Example], texts: Sequence[str] | None = None) -> Preprocessor:
    """The preprocessor that applies `function` to each example.

    texts: for one that needs the vocabulary, the fields whose text it tokenizes, if any. By this mark data/texts.py
    finds the text that a vocabulary is trained on.
    """
    plain = tf.autograph.experimental.do_not_convert(function)

    def preprocessor(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(plain)

    if texts is not None:
        preprocessor.texts = tuple(texts)
    return preprocessor


def seeded(function: Callable[[Example, tf.Tensor], Example], texts: Sequence[str] | None = None) -> Preprocessor:
    """`mapped` for a function of an example and a seed, two integers, which is another for each example and pass."""

    @tf.autograph.experimental.do_not_convert
    def with_seed(example: Example, seed: Any) -> Example:
        # SeqIO's own seeds are tuples of two scalars.
        return function(example, tf.stack(seed))

    preprocessor: Any = seqio.map_over_dataset(with_seed, num_seeds=1)
    if texts is not None:
        preprocessor.texts = tuple(texts)
    return preprocessor


def rename(**fields: str) -> Preprocessor:
    """New names for fields: rename(text="transcript") makes `transcript` the field `text`."""

    def change(example: Example) -> Example:
        new = {name: field(example, old, "renaming fields") for name, old in fields.items()}
        return {**{name: value for name, value in example.items() if name not in fields.values()}, **new}

    return mapped(change)


def select(*fields: str) -> Preprocessor:
    """Keeps these fields, `_pos` and `id`, and drops all others."""

    def change(example: Example) -> Example:
        return {**{name: field(example, name, "selecting fields") for name in fields}, **named(example)}

    return mapped(change)


def named(example: Example) -> Example:
    """What tells an example from others: `_pos` and `id`, as far as it has them."""
    return {name: example[name] for name in ("_pos", "id") if name in example}


def keep_where(condition: Callable[[Example], tf.Tensor]) -> Preprocessor:
    """Keeps the examples for which `condition`, a function of TensorFlow operations, is true."""

    def preprocessor(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.filter(condition)

    return preprocessor


def drop_empty(*fields: str) -> Preprocessor:
    """Drops examples in which one of these fields holds nothing: no elements, or no text but space."""

    def full(value: tf.Tensor) -> tf.Tensor:
        if value.dtype == tf.string:
            return tf.reduce_any(has_text(value))
        return tf.size(value) > 0

    @tf.autograph.experimental.do_not_convert
    def condition(example: Example) -> tf.Tensor:
        return tf.reduce_all([full(field(example, name, "dropping empty examples")) for name in fields])

    return keep_where(condition)


def has_text(texts: tf.Tensor) -> tf.Tensor:
    """Of each text, whether it holds more than space, of whatever script."""
    return tf.logical_not(tf.strings.regex_full_match(texts, f"{_SPACE}*"))


_SPACE = r"[\s\p{Z}\x0b\x1c-\x1f\x{85}]"
_EAST_ASIAN = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
_MARKS = r"[^\p{L}\p{M}\p{N}\s]+"
_NOT_WORD = r"[^\p{L}\p{M}\p{N}]"


def normalize_text(
    *fields: str, lower: bool = False, strip_punctuation: bool = False, unicode_form: str | None = "NFC"
) -> Preprocessor:
    """Makes texts plainer, in any language; runs of white space become one space in any case.

    lower: small letters (ß stays). strip_punctuation: only letters, accents, digits and apostrophes inside words stay;
    other marks become a space, or nothing beside Chinese characters and kana. unicode_form: NFC, NFKC or None.
    """
    if unicode_form not in (None, "NFC", "NFKC"):
        raise ValueError(f"normalizing text: unicode_form is 'NFC', 'NFKC' or None, found {unicode_form!r}.")
    plainer = functools.partial(normalized, lower=lower, strip_punctuation=strip_punctuation, unicode_form=unicode_form)

    def change(example: Example) -> Example:
        return {**example, **{name: plainer(field(example, name, "normalizing text")) for name in fields}}

    return mapped(change)


def normalized(
    text: Any, *, lower: bool = False, strip_punctuation: bool = False, unicode_form: str | None = "NFC"
) -> tf.Tensor:
    """Texts as `normalize_text` makes them."""
    if unicode_form:
        text = tensorflow_text.normalize_utf8(text, unicode_form)
    if lower:
        text = tf.strings.lower(text, encoding="utf-8")
    if strip_punctuation:
        text = tf.strings.regex_replace(text, "[’‘ʼ＇]", "'")
        text = tf.strings.regex_replace(text, f"({_EAST_ASIAN}){_MARKS}", r"\1")
        text = tf.strings.regex_replace(text, f"{_MARKS}({_EAST_ASIAN})", r"\1")
        text = tf.strings.regex_replace(text, r"[^\p{L}\p{M}\p{N}']+|'{2,}", " ")
        text = tf.strings.regex_replace(text, f"(^|{_NOT_WORD})'", r"\1")
        text = tf.strings.regex_replace(text, f"'({_NOT_WORD}|$)", r"\1")
    return tf.strings.strip(tf.strings.regex_replace(text, f"{_SPACE}+", " "))


def tokenize(**texts: str) -> Preprocessor:
    """Ids of texts: tokenize(inputs="source", targets="text"). The texts stay; there is no end token yet."""

    def change(example: Example) -> Example:
        ids = features.encode([field(example, name, "tokenizing") for name in texts.values()])
        return {**example, **dict(zip(texts, ids, strict=True))}

    return mapped(change, tuple(texts.values()))


def append_eos(*names: str) -> Preprocessor:
    """An end token after each of these features."""

    def change(example: Example) -> Example:
        return {**example, **{name: with_eos(field(example, name, "ending features")) for name in names}}

    return mapped(change)


def prompt(task: str, *languages: str) -> Preprocessor:
    """The decoder's prompt: a task token, such as 'transcribe', then tokens of languages.

    A language is a code, or a field in braces that holds one: prompt("translate", "{source_lang}", "de").
    """

    def change(example: Example) -> Example:
        return {**example, "prompt": prompt_ids(example, task, *languages)}

    return mapped(change, [])


def lanes(*, keep: Sequence[str] = ()) -> Preprocessor:
    """The last preprocessor of a task: fills absent lanes, fixes dtypes, and drops every other field but `keep`, which
    are of KEEPABLE.

    Raises ValueError where `_pos` is missing, where no lane is filled, for a feature of another rank than 1, and for
    another field to keep.
    """
    if unknown := set(keep) - set(KEEPABLE):
        raise ValueError(
            f"filling the lanes of an example: wanted keep to be of {KEEPABLE}, which metrics read, found "
            f"{sorted(unknown)}. Leave them out."
        )

    def preprocessor(dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None) -> tf.data.Dataset:
        spec: Any = dataset.element_spec
        _check_lanes(spec)
        limits = {
            name: length
            for name, length in (sequence_length or {}).items()
            if name in features.OUTPUT_FEATURES and isinstance(length, int)
        }

        def fill(example: Example) -> Example:
            filled = {name: example[name] for name in (*CARRIED, *keep) if name in example}
            if "id" not in filled:
                filled["id"] = tf.strings.as_string(example["_pos"])
            for name, feature in features.OUTPUT_FEATURES.items():
                value = example.get(name, _DEFAULTS.get(name, []))
                filled[name] = tf.cast(value, feature.dtype)
            checks = [
                tf.debugging.assert_less_equal(
                    tf.size(filled[name]),
                    length,
                    f"SeqIO would cut feature {name} to sequence_length={length} and leave the others whole. Give "
                    "get_dataset no sequence_length, or drop long examples (preprocessors.keep_where).",
                )
                for name, length in limits.items()
            ]
            with tf.control_dependencies([check for check in checks if check is not None]):
                return {name: tf.identity(value) for name, value in filled.items()} if checks else filled

        return dataset.map(tf.autograph.experimental.do_not_convert(fill))

    return preprocessor


_DEFAULTS: Mapping[str, list[float]] = {"ctc": [0], "claim": [0.0], "mask_share": [0.0], "weight": [1.0]}


def _check_lanes(spec: Mapping[str, Any]) -> None:
    doing = "filling the lanes of an example"
    if "_pos" not in spec:
        raise ValueError(
            f"{doing}: an earlier preprocessor dropped the feature `_pos`, by which a record is found again after a "
            f"restart. Found: {sorted(spec)}. Keep `_pos` in what each preprocessor returns."
        )
    if not any(lane in spec for lane in features.LANES):
        raise ValueError(
            f"{doing}: none of {', '.join(features.LANES)} is there, found {sorted(spec)}. Name the fields: "
            "preprocessors.rename(inputs=...), tokenize(targets=...)."
        )
    for name, feature in features.OUTPUT_FEATURES.items():
        if name not in spec:
            continue
        shape, dtype = spec[name].shape, spec[name].dtype
        length = len(_DEFAULTS.get(name, ())) or None
        if shape.rank != 1 or not shape.is_compatible_with([length]):
            wanted = f"rank 1 and length {length}" if length else "rank 1"
            raise ValueError(f"{doing}: feature '{name}' has shape {shape}, wanted {wanted}.")
        integers = feature.dtype == tf.int32 and dtype in (tf.int64, tf.int32, tf.bool)
        if dtype != feature.dtype and not integers and not (feature.dtype.is_floating and dtype.is_floating):
            hint = " Scale a waveform in [-1, 1) by 32768." if feature.dtype == tf.int16 and dtype.is_floating else ""
            raise ValueError(f"{doing}: feature '{name}' is {dtype.name}, wanted {feature.dtype.name}.{hint}")


def field(example: Example, name: str, doing: str) -> tf.Tensor:
    """A field of an example. Raises ValueError, while the dataset is built, where it has none of this name."""
    if name not in example:
        there = ", ".join(sorted({*example} - {"_pos"}))
        raise ValueError(f"{doing}: an example has no field '{name}', it has {there}.")
    return example[name]


def with_eos(ids: tf.Tensor) -> tf.Tensor:
    """Ids and an end token, int32."""
    return tf.concat([tf.cast(ids, tf.int32), tf.constant([vocabulary.EOS], tf.int32)], 0)


def prompt_ids(example: Example, task: str, *languages: str) -> tf.Tensor:
    """Ids of a task token and of languages; see `prompt`."""
    words = features.current()
    ids: list[Any] = []
    for language in languages:
        if language.startswith("{") and language.endswith("}"):
            ids.append(_language_of(field(example, language[1:-1], "making a prompt"), language, words))
        else:
            ids.append(words.language(language))
    told = words.arranged(words.token(f"<task:{task}>"), ids)
    return tf.stack([tf.cast(token, tf.int32) for token in told])


def _language_of(code: tf.Tensor, name: str, words: vocabulary.Vocabulary) -> tf.Tensor:
    found = tf.equal(code, tf.constant(words.languages))
    ids = tf.constant([words.language(known) for known in words.languages], tf.int32)
    message = (
        f"making a prompt: the field {name} of an example holds a language without a token. The vocabulary has "
        f"{', '.join(words.languages)}. A new one is trained with --languages (speechlm data) or "
        "experiment.run.languages; speechlm_jax.vocabulary.add_language gives one to a trained vocabulary. Found:"
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(found), [message, code])]):
        return tf.reduce_sum(tf.where(found, ids, 0))
