"""Text files with an example a line, read whole into typed columns: JSON lines, tab-separated values, plain text."""

import dataclasses
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from speechlm_jax.data import fields as kinds

_MAX_BYTES = 4 << 30
_MAX_FIELDS = 256
_SCALARS = {str: "text", int: "int", bool: "int", float: "float"}
_EMPTY_LIST = "empty list"
_NESTED = "nested list"
_Seen = dict[str, dict[str, int]]
"""For each field, the kinds it was seen with, each with the first line where it was."""


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file says: columns by name, all of one length."""

    path: Path
    fields: dict[str, str]
    """The kind of each field, found over all lines."""
    columns: dict[str, list[Any]]
    """Python values, lists for the kinds that are lists; None where a line has none."""
    lines: list[int]
    """The line of each example, from 1."""

    def error(self, index: int, what: str) -> ValueError:
        """An error that names the file and the line of example `index`."""
        return _error(self.path, self.lines[index], what)


def read(path: str | os.PathLike) -> Table:
    """A .jsonl, .tsv or .txt file, or one of them with .gz.

    JSON: nested maps become fields such as `translation/de`; null is absent; lists of one kind stay lists; other
    lists become JSON text. TSV: every value is text, named by the header line. Text: one field, `text`; blank lines
    are left out. Raises ValueError, naming the line, where the file cannot be read as such, or where a field has
    one kind in one line and another in another.
    """
    path = Path(path)
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    parse = {".jsonl": _json_rows, ".tsv": _tsv_rows, ".txt": _text_rows}.get(suffixes[-1] if suffixes else "")
    if parse is None:
        raise ValueError(f"manifest {path}: wanted a file named .jsonl, .tsv or .txt, or one of them with .gz.")
    content = _content(path)
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(path, line, f"not UTF-8 (byte {error.object[error.start]:#04x})") from error
    rows, lines, seen = [], [], {}
    for number, row in parse(path, text.split("\n")):
        _note(path, number, row, seen)
        rows.append(row)
        lines.append(number)
    if not rows:
        raise ValueError(f"manifest {path}: there is no example in it. Write one on each line.")
    fields = {name: _kind(path, name, seen) for name in _without_absent_maps(path, seen)}
    columns = {name: _column(path, name, kind, rows, lines) for name, kind in fields.items()}
    fields = {name: "text" if kind == _NESTED else kind for name, kind in fields.items()}
    return Table(path, fields, columns, lines)


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _MAX_BYTES else b""
        if content[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                content = file.read(_MAX_BYTES + 1)
            size = len(content)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"manifest {path}: there is no such file.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"manifest {path}: cannot be read ({error}).") from error
    if size > _MAX_BYTES:
        raise ValueError(f"manifest {path}: above {_MAX_BYTES >> 30} GiB. Cut it into several.")
    return content


def _json_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            row = decoder.decode(line)
            if "\\u" in line:
                # An escape may hold half of a surrogate pair, which no UTF-8 can hold.
                json.dumps(row, ensure_ascii=False).encode("utf-8")
            if type(row) is not dict:
                raise _error(path, number, f"wanted a JSON object, found {type(row).__name__}")
            if dict in map(type, row.values()):
                flat: dict[str, Any] = {}
                _flatten(path, number, "", row, flat)
                row = flat
        except json.JSONDecodeError as error:
            raise _error(path, number, f"not JSON ({error.msg}, column {error.colno})") from error
        except UnicodeEncodeError as error:
            raise _error(path, number, "half of a surrogate pair (\\ud800 to \\udfff)") from error
        except RecursionError as error:
            raise _error(path, number, "nested too deeply") from error
        except _Constant as error:
            raise _error(path, number, f"not JSON ({error})") from error
        yield number, row


def _tsv_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    names = lines[0].rstrip("\r").split("\t")
    if len(set(names)) < len(names) or "" in names:
        raise _error(path, 1, f"the header names each column once, found {names}")
    for number, line in enumerate(lines[1:], 2):
        if not (line := line.rstrip("\r")):
            continue
        cells = line.split("\t")
        if len(cells) != len(names):
            raise _error(path, number, f"{len(cells)} columns, the header has {len(names)}")
        yield number, dict(zip(names, cells, strict=True))


def _text_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    del path
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            yield number, {"text": line.rstrip("\r")}


def _flatten(path: Path, number: int, prefix: str, row: dict[str, Any], flat: dict[str, Any]) -> None:
    for name, value in row.items():
        if type(value) is dict:
            _flatten(path, number, f"{prefix}{name}/", value, flat)
        elif prefix + name in flat:
            raise _error(path, number, f"two values for the field '{prefix}{name}'")
        else:
            flat[prefix + name] = value


def _note(path: Path, number: int, row: dict[str, Any], seen: _Seen) -> None:
    """Adds the kinds of a row's values to what was seen."""
    for name, value in row.items():
        found = seen.get(name)
        if found is None:
            if len(seen) == _MAX_FIELDS:
                raise _error(
                    path, number, f"'{name}' is a field too many: at most {_MAX_FIELDS}. Is a map keyed by id?"
                )
            try:
                kinds.check({name: "text"})
            except ValueError as error:
                raise _error(path, number, str(error)) from error
            found = seen[name] = {}
        if value is not None:
            kind = _SCALARS.get(type(value)) or _kind_of_list(value)
            if kind not in found:
                found[kind] = number


def _kind_of_list(values: list) -> str:
    if not values:
        return _EMPTY_LIST
    item = kinds.common(_SCALARS.get(type(value), _NESTED) for value in values)
    return f"{item}s" if item in _SCALARS.values() else _NESTED


def _without_absent_maps(path: Path, seen: _Seen) -> list[str]:
    """Field names, without those that are null where other lines have a map; a plain value there is an error."""
    maps: dict[str, str] = {}
    for name in seen:
        at = name.find("/")
        while at > 0:
            maps.setdefault(name[:at], name)
            at = name.find("/", at + 1)
    for outer, inner in maps.items():
        if seen.get(outer) and seen[inner]:
            line, inner_line = min(seen[outer].values()), min(seen[inner].values())
            first = next(iter(seen[outer]))
            raise _error(path, line, f"the field '{outer}' is {first}, and a map with '{inner}' in line {inner_line}")
    return [name for name in seen if name not in maps or seen[name]]


def _kind(path: Path, name: str, seen: _Seen) -> str:
    found = seen[name]
    kind = _widest(set(found))
    if kind is None:
        first, *others = sorted(found, key=lambda seen_kind: found[seen_kind])
        other = next(other for other in others if _widest({first, other}) is None) if len(others) > 1 else others[0]
        raise _error(
            path,
            found[other],
            f"the field '{name}' is {other}, and {first} in line {found[first]}. Write one kind in all lines",
        )
    return kind


def _widest(found: set[str]) -> str | None:
    """The kind that holds all of these; None where none does."""
    scalars = found & set(_SCALARS.values())
    if len(scalars) == len(found):
        return kinds.common(scalars) if found else "text"
    if scalars:
        return None
    if _NESTED in found:
        return _NESTED
    return kinds.common(found - {_EMPTY_LIST}) if found != {_EMPTY_LIST} else "texts"


def _column(path: Path, name: str, kind: str, rows: list[dict[str, Any]], lines: list[int]) -> list:
    if kind == _NESTED:
        values = (row.get(name) for row in rows)
        return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    column = [row.get(name) for row in rows]
    dtype = kinds.DTYPES[kind]
    if dtype is None:
        return column
    given = [value for value in column if value is not None]
    flat = given if kind in _SCALARS.values() else [item for values in given for item in values]
    if not _fits(flat, dtype):
        bad = next(
            i
            for i, value in enumerate(column)
            if value is not None and not _fits(value if isinstance(value, list) else [value], dtype)
        )
        raise _error(path, lines[bad], f"the field '{name}' is {column[bad]!r:.60}, which no {np.dtype(dtype)} holds")
    if kind != "int":
        return column
    # JSON's true is a number, and reads as one.
    return [int(value) if isinstance(value, bool) else value for value in column]


def _fits(values: list, dtype: type) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(
                np.isfinite(
                    np.array(values, np.float64).astype(dtype) if dtype is np.float32 else np.array(values, dtype)
                ).all()
            )
    except OverflowError:
        return False


class _Constant(Exception):
    """NaN or Infinity, which Python's parser would take."""


def _refuse_constant(text: str) -> NoReturn:
    raise _Constant(text)


def _error(path: Path, line: int, what: str) -> ValueError:
    return ValueError(f"manifest {path}, line {line}: {what}.")
