"""Reads recipes as `train` would and writes each out in full; run as `read_recipe.py FOLDER RECIPE...` by a test.

It ends with an error where a recipe cannot be read, reads back as something else, or needs an array library.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from speechlm_jax import cli  # noqa: E402
from speechlm_jax.training import config  # noqa: E402


def run(*, recipe: config.Recipe, out: str, config_text: str) -> None:
    """Writes what it is given.

    out: the file to write.
    """
    pathlib.Path(out).write_text(config_text)


def main(folder: pathlib.Path, recipes: list[str]) -> int:
    verbs = {"read": ("read_recipe", "writes a recipe out in full"), **cli.VERBS}
    for recipe in recipes:
        out, again = folder / recipe.replace("/", "_"), folder / "again"
        for source, target in ((recipe, out), (str(out), again)):
            if code := cli.main(["read", f"--gin_file={source}", f"--gin.read_recipe.run.out={target}"], verbs):
                return code
        if out.read_text().replace(str(out), str(again)) != again.read_text():
            print(f"{recipe} reads back as another run", file=sys.stderr)
            return 1
    heavy = {"jax", "tensorflow", "seqio", "librosa"} & set(sys.modules)
    if heavy:
        print(f"reading recipes imports {sorted(heavy)}", file=sys.stderr)
    return int(bool(heavy))


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
