"""Ways in which a file of a folder comes to be other than it was written."""

import pathlib

import numpy as np

WAYS = ("flipped", "cut", "zeroed", "swapped", "missing")


def files(folder: pathlib.Path) -> list[str]:
    """Names of those that hold something."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def corrupt(folder: pathlib.Path, name: str, how: str, random: np.random.Generator) -> bool:
    """Alters one file, or removes it; False where it happens to be what it was."""
    path = folder / name
    before = path.read_bytes()
    content = bytearray(before)
    place = int(random.integers(len(content)))
    if how == "flipped":
        content[place] ^= 1 << int(random.integers(8))
    elif how == "cut":
        del content[place:]
    elif how == "zeroed":
        end = place + int(random.integers(1, 512))
        content[place:end] = bytes(len(content[place:end]))
    elif how == "swapped":
        others = [other for other in files(folder) if (folder / other).read_bytes() != before]
        content = bytearray((folder / others[int(random.integers(len(others)))]).read_bytes())
    if how == "missing":
        path.unlink()
        return True
    path.write_bytes(content)
    return bytes(content) != before
