"""Public corpora: builders of TensorFlow Datasets (TFDS) as sources, read by index from their ArrayRecord files.

TensorFlow Datasets is imported when a split is opened, not when a task is registered.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import audio
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import sources

Features = Mapping[str, Any]
"""The features of a TFDS builder by their paths, such as 'answers/text'."""


SQUAD_LAYOUT: Mapping[str, str] = {
    "id": "id",
    "question": "question",
    "context": "context",
    "answer": "answers/text/0",
    "accepted": "answers/text",
}
"""Fields of a builder whose features are SQuAD's: the first answer is learned, all of them are accepted."""


class TfdsSource(sources.RandomAccessSource):
    """The examples of a TFDS builder that was prepared on this machine.

    name: of the builder and its configuration, such as 'wmt14_translate/de-en'; a version may follow, ':1.0.0'.
    splits: for each split the builder's name of it, a part such as 'train[:1%]', or a sequence of those.
    fields: what is read, our name to the feature's path, {"text": "transcript", "answers": "answers/text"}; a number at
    its end takes one item of a list, or nothing where it is shorter: {"answer": "answers/text/0"}. Without `fields`
    every feature that has a kind is read, by its path.
    data_dir: where the corpus was prepared; by default TFDS_DATA_DIR, or else ~/tensorflow_datasets.
    sample_rate: of recordings, where the builder does not say it.
    max_seconds: a longer recording is a bad record.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, str | Sequence[str]],
        fields: Mapping[str, str] | None = None,
        *,
        data_dir: str | os.PathLike | None = None,
        sample_rate: int | None = None,
        max_seconds: float = audio.MAX_SECONDS,
    ):
        self.name = name
        self._splits_there = {
            split: there if isinstance(there, str) else "+".join(there) for split, there in splits.items()
        }
        self._fields = dict(fields) if fields is not None else None
        self._data_dir, self._sample_rate, self._max_seconds = data_dir, sample_rate, max_seconds
        super().__init__(self._splits_there)

    @property
    def splits_there(self) -> dict[str, str]:
        """For each split what it is called in TFDS."""
        return dict(self._splits_there)

    def open(self, split: str) -> sources.Reader:
        """The examples of a split. Raises ValueError where TFDS has no such corpus, where it is not prepared or not as
        ArrayRecord, and where a split or a feature is not there."""
        builder = _builder(self.name, self._data_dir)
        features = _flat(builder.info.features)
        known = {path: _kind(feature) for path, feature in features.items() if _kind(feature)}
        chosen = {name: name for name in known} if self._fields is None else self._fields
        found = {name: self._field(builder, features, known, name, path) for name, path in chosen.items()}
        label = f"{builder.info.full_name}:{self._splits_there[split]}"
        return _Reader(label, _examples(builder, self.name, self._splits_there[split], features), found)

    def __repr__(self) -> str:
        return f"TfdsSource('{self.name}', splits={self._splits_there})"

    def _field(self, builder: Any, features: Features, known: Mapping[str, str], name: str, path: str) -> "_Field":
        """How a field is read. Raises ValueError where its feature is not there, or of no kind."""
        above, _, place = path.rpartition("/")
        if path in known:
            return _Field(known[path], tuple(path.split("/")), self._read(builder, path, features[path]))
        if place.isdecimal() and known.get(above, "").endswith("s"):
            read, item = self._read(builder, above, features[above]), int(place)
            return _Field(
                known[above][:-1],
                tuple(above.split("/")),
                lambda values: next(iter(read(values[item : item + 1])), None),
            )
        raise ValueError(
            f"opening '{self.name}': the field '{name}' is read from the feature '{path}', which "
            f"{'is of no kind that a field may have' if path in features else 'is not there'}. "
            f"{kinds.nearest(path, known)}"
        )

    def _read(self, builder: Any, path: str, feature: Any) -> Callable[[Any], Any]:
        """What makes a value of TFDS one of ours."""
        import tensorflow_datasets as tfds

        listed, single = _single(feature)
        if isinstance(single, tfds.features.ClassLabel):
            names = single.names

            def label(number: Any) -> str:
                # -1 stands for a label that is not told.
                return names[number] if number >= 0 else ""

            return (lambda numbers: [label(number) for number in numbers]) if listed else label
        if not isinstance(single, tfds.features.Audio):
            return lambda value: value
        rate = single.sample_rate or (builder.info.metadata or {}).get("sample_rate") or self._sample_rate
        max_seconds = self._max_seconds
        if not rate:
            raise ValueError(
                f"opening '{self.name}': the builder does not say the sampling rate of the feature '{path}'. Give its "
                "source sample_rate=..."
            )

        def recording(value: Any) -> np.ndarray:
            if isinstance(value, np.ndarray) and value.ndim:
                return audio.from_samples(value, int(rate), max_seconds=max_seconds)
            # A builder that decodes lazily keeps the file.
            return audio.read(io.BytesIO(bytes(value)), max_seconds=max_seconds)

        return recording


@dataclasses.dataclass(frozen=True)
class _Field:
    kind: str
    parts: tuple[str, ...]
    """Where its value is in an example of TFDS."""
    read: Callable[[Any], Any]
    """What makes it one of ours."""


class _Reader:
    def __init__(self, label: str, examples: Sequence[Any], found: Mapping[str, _Field]):
        self.fields = {name: field.kind for name, field in found.items()}
        self._label, self._examples, self._found = label, examples, dict(found)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.values(index, tuple(self.fields))

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        example, out = self._examples[index], {}
        for name in names:
            value = example
            for part in self._found[name].parts:
                value = value[part]
            out[name] = self._found[name].read(value)
        return kinds.conform(out, {name: self.fields[name] for name in names})

    def name(self, index: int) -> str:
        return f"{self._label}[{index}]"

    def fingerprint(self) -> str:
        parts = sorted((name, field.kind, field.parts) for name, field in self._found.items())
        what = repr((self._label, len(self), parts)).encode("utf-8")
        return f"{len(self)}-{hashlib.blake2b(what, digest_size=16).hexdigest()}"


def _builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of a prepared corpus."""
    import tensorflow_datasets as tfds

    place = data_dir or os.environ.get("TFDS_DATA_DIR") or None
    corpus = name.split("/")[0].split(":")[0]
    try:
        builder = tfds.builder(name, data_dir=place)
    except ValueError as error:
        corpora = tfds.list_builders(with_community_datasets=False)
        if corpus not in corpora:
            raise ValueError(
                f"opening '{name}': TFDS has no builder '{corpus}'. {kinds.nearest(corpus, corpora)}"
            ) from error
        raise ValueError(
            f"opening '{name}': TFDS has the builder '{corpus}' without this configuration or version. "
            f"{kinds.nearest(name.partition('/')[2], tfds.builder_cls(corpus).builder_configs)}"
        ) from error
    if not builder.is_prepared():
        raise ValueError(
            f"opening '{name}': it is not prepared on this machine, there is no {builder.data_dir}. Prepare it: "
            f"{_command(name, place)}. Where it is prepared elsewhere, set TFDS_DATA_DIR to that folder, or give its "
            "source data_dir=..."
        )
    return builder


def _command(name: str, data_dir: Any) -> str:
    return f"tfds build {name} --file_format=array_record" + (f" --data_dir={data_dir}" if data_dir else "")


def _examples(builder: Any, name: str, split: str, features: Features) -> Sequence[Any]:
    """The examples of a split, recordings as they are kept."""
    import tensorflow_datasets as tfds

    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise ValueError(
            f"opening '{name}': it is prepared as {', '.join(sorted(formats))} in {builder.data_dir}, which cannot be "
            f"read by index. Prepare it anew: {_command(name, 'ANOTHER_FOLDER')}, and set TFDS_DATA_DIR to that folder."
        )
    decoders: dict[str, Any] = {}
    for path, feature in features.items():
        if isinstance(feature, tfds.features.Audio):
            *above, last = path.split("/")
            inner = decoders
            for part in above:
                inner = inner.setdefault(part, {})
            inner[last] = tfds.decode.SkipDecoding()
    try:
        return builder.as_data_source(split, decoders=decoders or None, file_format="array_record")
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"opening '{name}': the split '{split}' cannot be read ({reason}). "
            f"{kinds.nearest(split, builder.info.splits)}"
        ) from error


def _single(feature: Any) -> tuple[bool, Any]:
    """Whether a feature is a list, and the feature of an item."""
    import tensorflow_datasets as tfds

    listed = isinstance(feature, tfds.features.Sequence) and not isinstance(feature, tfds.features.Dataset)
    return listed, feature.feature if listed else feature


def _flat(feature: Any, path: str = "") -> dict[str, Any]:
    """Features by their paths; lists of dicts become dicts of lists, as TFDS reads them."""
    import tensorflow_datasets as tfds

    listed, single = _single(feature)
    if not isinstance(single, tfds.features.FeaturesDict):
        return {path: feature}
    found = {}
    for name, part in single.items():
        found |= _flat(tfds.features.Sequence(part) if listed else part, f"{path}/{name}" if path else name)
    return found


def _kind(feature: Any) -> str:
    """The kind of field that a feature becomes; empty where it becomes none."""
    import tensorflow_datasets as tfds

    listed, single = _single(feature)
    if isinstance(single, tfds.features.Audio):
        return "" if listed else kinds.AUDIO
    if isinstance(single, tfds.features.ClassLabel):
        return "texts" if listed else "text"
    # Images, videos and the like are tensors, too, of subclasses that make no field.
    if type(single) not in (tfds.features.Text, tfds.features.Scalar, tfds.features.Tensor):
        return ""
    dtype, rank = np.dtype(single.np_dtype), len(single.shape) + listed
    kind = "text" if dtype.kind in "OSU" else "int" if dtype.kind in "biu" else "float" if dtype.kind == "f" else ""
    return kind + "s" * rank if kind and rank < 2 else ""
