"""The kinds of value that the fields of a record may hold: the same in manifests, caches and sources."""

import difflib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

AUDIO = "audio"
"""int16 samples, mono, 16 kHz."""

DTYPES: Mapping[str, Any] = {
    "text": None,
    "int": np.int64,
    "float": np.float32,
    "texts": None,
    "ints": np.int64,
    "floats": np.float32,
    AUDIO: np.int16,
}
"""Each kind, with its numpy type; text is str, texts an object array of str."""

_SCALARS = ("text", "int", "float")
_WIDER = {frozenset(("int", "float")): "float", frozenset(("ints", "floats")): "floats"}


def empty(kind: str) -> Any:
    """What stands in a field of this kind where a record has none: "", 0, or an array of length 0."""
    if kind == "text":
        return ""
    if kind in _SCALARS:
        return DTYPES[kind](0)
    return np.zeros(0, DTYPES[kind] or object)


def kind_of(value: Any) -> str | None:
    """The kind of a Python or numpy value; None where it does not tell (None, an empty list).

    An int16 array is audio. Raises ValueError for a value of no kind.
    """
    if isinstance(value, (str, bytes)):
        return "text"
    if isinstance(value, (numbers.Integral, np.bool_)):
        return "int"
    if isinstance(value, numbers.Real):
        return "float"
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.int16:
        return AUDIO
    if value is None or (isinstance(value, (list, tuple, np.ndarray)) and len(value) == 0):
        return None
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1):
        kinds = {kind_of(item) for item in value}
        found = kinds.pop() if len(kinds) == 1 else common(kinds)
        if found in _SCALARS:
            return found + "s"
    raise ValueError(f"a field holds text, a number, audio or a flat list of one of them, found {_show(value)}")


def common(kinds: Iterable[str | None]) -> str | None:
    """The kind that holds values of all these kinds; None where no kind does, or all are None."""
    found = {kind for kind in kinds if kind is not None}
    if len(found) == 1:
        return found.pop()
    return _WIDER.get(frozenset(found))


def check(fields: Mapping[str, str]) -> None:
    """Raises ValueError where a kind is unknown, or a name is empty or one that the stream uses itself."""
    for name, kind in fields.items():
        if kind not in DTYPES:
            raise ValueError(f"field '{name}' has the kind '{kind}', wanted one of {', '.join(DTYPES)}.")
        if not isinstance(name, str) or not name or name == "_pos":
            raise ValueError(f"a field cannot be named {name!r}: '_pos' is the stream's own, and '' names nothing.")


def conform(example: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an example with exactly the types of their kinds; absent or None becomes empty.

    Fields that are not asked for are left out. Raises ValueError for a value of another kind, naming the field.
    """
    out = {}
    for name, kind in fields.items():
        value = example.get(name)
        try:
            out[name] = empty(kind) if value is None else _conform(value, kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"field '{name}' holds {_show(value)}, wanted {kind} ({error})") from error
    return out


def nearest(name: str, names: Iterable[str]) -> str:
    """A line for error messages: what there is, and what was likely meant."""
    names = sorted(map(str, names))
    close = difflib.get_close_matches(str(name), names, 1)
    shown = ", ".join(f"'{known}'" for known in names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
    return (f"Nearest: '{close[0]}'. " if close else "") + f"There are: {shown or 'none'}."


def _conform(value: Any, kind: str) -> Any:
    if kind == "text":
        if isinstance(value, bytes):
            return value.decode("utf-8")
        if not isinstance(value, str):
            raise TypeError("not text")
        return str(value)
    if kind in ("int", "float"):
        if isinstance(value, (str, bytes)) or (kind == "int" and not isinstance(value, (numbers.Integral, np.bool_))):
            raise TypeError("not such a number")
        return DTYPES[kind](value)
    if kind == "texts":
        out_N = np.empty(len(value), object)
        out_N[:] = [_conform(item, "text") for item in value]
        return out_N
    array = np.asarray(value)
    if array.ndim != 1 or (kind == AUDIO and array.dtype != np.int16 and array.size):
        raise TypeError(f"{array.dtype} of rank {array.ndim}")
    if array.size and array.dtype.kind not in ("biuf" if kind == "floats" else "biu"):
        raise TypeError(f"{array.dtype}")
    return array.astype(DTYPES[kind], copy=False)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
