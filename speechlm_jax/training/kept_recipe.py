"""The recipe in a run's folder: recipe.gin trains now, recipe-<step>.gin trained until that step."""

import pathlib

from speechlm_jax import runtime, whole_files

FILE = "recipe.gin"
MAX_TOLD = 20
"""Changes that are told; all of them stand in the files."""


def write(folder: pathlib.Path, text: str, *, step: int) -> None:
    """Writes the recipe of a run that goes on from `step`; what has changed since its last life is told, and that
    life's recipe stays beside it."""
    path = folder / FILE
    former = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = _changes(former, text)
    if step and former and changed:
        # The recipe of a life that saved nothing has trained nothing that is left: the first one to be kept stands.
        kept = folder / f"recipe-{step}.gin"
        if not kept.exists():
            whole_files.write_text(kept, former)
        runtime.say(f"the recipe has changed; the one until step {step} stays in {kept}:")
        for line in changed[:MAX_TOLD]:
            runtime.say(f"  {line}")
        if len(changed) > MAX_TOLD:
            runtime.say(f"  and {len(changed) - MAX_TOLD} more")
    whole_files.write_text(path, text)


def _changes(former: str, now: str) -> list[str]:
    """One line for each binding that differs."""
    before, after = bindings(former), bindings(now)
    return [
        f"{name}: {before.get(name, 'unset')} -> {after.get(name, 'unset')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def bindings(text: str) -> dict[str, str]:
    """'scope/Class.field' -> value, of gin text as `recipe_text.write` writes it."""
    found, block = {}, ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            scope, slash, owner = line[:-1].rpartition("/")
            block = f"{scope}{slash}{owner.rpartition('.')[2]}"
        elif line.startswith("  "):
            name, _, value = line.strip().partition(" = ")
            found[f"{block}.{name}"] = value
    return found
