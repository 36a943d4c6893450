"""The front door: reads a verb's gin files, bindings and flags, calls its run(), and turns the end into an exit code.

Nothing else knows gin. A verb is a module with a keyword-only run(), and add_arguments(parser) where it has flags of
its own; a flag that is given is passed to run() by its name and wins over gin. Neither JAX nor TensorFlow is imported
here, by the configs that gin files name, or by a verb's module until run() is called.
"""

import ast
import cmath
import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import gin
import gin.config

from speechlm_jax import configurables, endings, flags, recipe_text, runtime, settings

VERBS = {
    "train": ("speechlm_jax.train", "pretrain or finetune; goes on from the run's last checkpoint"),
    "evaluate": ("speechlm_jax.evaluate", "measure a checkpoint on tasks"),
    "compare": ("speechlm_jax.compare", "set two files of scores side by side, by a paired bootstrap"),
    "experiment": ("speechlm_jax.experiment", "train a recipe, score it, and set the scores beside simple guesses"),
    "infer": ("speechlm_jax.infer", "write a model's answers to speech and text"),
    "checkpoint": ("speechlm_jax.checkpoint_verb", "tell of, verify, compare and prune what a run has saved"),
    "status": ("speechlm_jax.status", "tell where a run stands that goes on elsewhere, or is over"),
    "report": ("speechlm_jax.report", "write a page that shows what runs have left: curves, scores, where time went"),
    "goodput": ("speechlm_jax.goodput", "tell where the time of a run went"),
    "export": ("speechlm_jax.export", "write a checkpoint in another format"),
    "import": ("speechlm_jax.import_verb", "read a model of another library into a run's folder"),
    "plan": ("speechlm_jax.plan", "compile a recipe for hardware that is not at hand: memory, FLOPs, collectives"),
    "data": ("speechlm_jax.data_verb", "look into, measure and prepare data"),
    "cache": ("speechlm_jax.cache", "write the records of tasks into shards that are read by index"),
    "materialise": ("speechlm_jax.materialise", "write the packed rows of a run ahead, to train without TensorFlow"),
}
"""Verb -> (its module, what it does). A verb is listed once its module is there."""

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None, verbs: Mapping[str, tuple[str, str]] = VERBS) -> int:
    """Runs a verb and returns the process's exit code. Messages for people go to standard error."""
    runtime.quiet()
    arguments = list(sys.argv[1:] if argv is None else argv)
    speaker = "speechlm"
    try:
        verbs = {verb: entry for verb, entry in verbs.items() if importlib.util.find_spec(entry[0])}
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(flags.overview(verbs), file=sys.stdout if arguments else sys.stderr)
            return endings.DONE if arguments else endings.MISTAKE
        if arguments[0] == "--version":
            print(f"speechlm_jax {_version()}")
            return endings.DONE
        verb = arguments[0]
        if verb not in verbs:
            raise ValueError(
                f"there is no verb {verb!r}, wanted one of {', '.join(verbs)}.{settings.nearest(verb, verbs)}"
            )
        speaker = f"speechlm {verb}"
        return _run(verb, verbs, arguments[1:])
    except (Exception, KeyboardInterrupt) as error:
        return endings.told(error, speaker)


def _version() -> str:
    try:
        return importlib.metadata.version("speechlm_jax")
    except importlib.metadata.PackageNotFoundError:  # Run from a checkout that is not installed.
        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def _run(verb: str, verbs: Mapping[str, tuple[str, str]], arguments: Sequence[str]) -> int:
    module = importlib.import_module(verbs[verb][0])
    parser = flags.parser(verb, verbs[verb][1], module)
    told, bindings = flags.split(arguments)
    try:
        given = vars(parser.parse_args(told))
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    files = given.pop("gin_file", [])
    search_paths = [path for path in given.pop("gin_search_paths", "").split(",") if path]
    keywords = _read(module, [name for name, _ in verbs.values()], files, bindings, search_paths)
    keywords.update(given)
    path = flags.run_name(module)
    wrong = list(settings.misfits(module.run, keywords, path))
    if wrong:
        raise ValueError("\n".join(wrong))
    missing = [name for name in settings.required(module.run) if name not in {*keywords, flags.CONFIG_TEXT}]
    if missing:
        words = flags.words_for(parser)
        named = ", ".join(words.get(name, f"{path}.{name}") for name in missing)
        how = "" if set(missing) <= set(words) else " Bind it in a file (--gin_file=...) or as --gin.NAME=VALUE."
        raise ValueError(f"{named} must be set, and nothing sets it.{how}")
    if flags.CONFIG_TEXT in settings.of(module.run):
        keywords[flags.CONFIG_TEXT] = recipe_text.write(module.run, keywords)
    module.run(**keywords)
    return endings.DONE


def _read(
    module: ModuleType,
    verb_modules: Iterable[str],
    files: Sequence[str],
    bindings: Sequence[flags.Binding],
    search_paths: Sequence[str],
) -> dict[str, Any]:
    """The keywords that gin gives the verb's run()."""
    gin.clear_config()
    # gin's own lists only grow, and its search for files inside Python packages complains of every miss, or fails.
    gin.config._LOCATION_PREFIXES[:] = ["", *search_paths, str(ROOT)]
    gin.config._FILE_READERS[:] = [(open, os.path.isfile)]
    known = configurables.defined_in([module.__name__, *verb_modules, *configurables.config_modules()])
    for file in files:
        try:
            parsed = gin.parse_config_file(file)
        except Exception as error:
            raise ValueError(_gin_message(error, known)) from error
        known |= configurables.defined_in(_imports(parsed))
    for binding in bindings:
        statement = _statement(binding, known)
        try:
            gin.parse_config(statement)
        except Exception as error:
            raise ValueError(f"reading --gin.{binding.key}={binding.value}: {_gin_message(error, known)}") from error
    try:
        gin.parse_config(_given_by_default(module, known))
        gin.finalize()
        _refuse_misfits(known)
        keywords = gin.get_bindings(module.run) if _bound(module.run) else {}
    except Exception as error:
        raise ValueError(_gin_message(error, known)) from error
    _refuse_unused(bindings, known, module)
    # A part that the command line takes out leaves its bindings behind.
    if not any(binding.value == "None" for binding in bindings):
        _refuse_dangling(verb_modules)
    return keywords


def _bound(run: Callable[..., Any]) -> dict[str, Any]:
    """What is bound for a function, references as they are."""
    try:
        return gin.get_bindings(run, resolve_references=False)
    except ValueError:  # Nothing names it.
        return {}


def _given_by_default(module: ModuleType, known: Mapping[str, Any]) -> str:
    """Gin text that hands run() its dataclasses that nothing binds: `train.run.recipe = @Recipe()`."""
    bound, names = _bound(module.run), {value: name for name, value in known.items()}
    lines = []
    for name, setting in settings.of(module.run).items():
        if setting.default is not settings.ABSENT and not dataclasses.is_dataclass(setting.default):
            continue
        for kind in settings.dataclasses_in(setting.annotation):
            if name not in bound and kind in names:
                lines += [_import_lines([f"{module.__name__}.run", names[kind]])]
                lines += [f"{module.__name__}.run.{name} = @{names[kind]}()"]
    return "\n".join(lines)


def _imports(parsed: Any) -> list[str]:
    """The modules that a gin file and its includes import."""
    names = [name for name in parsed.imports if not name.startswith("__gin__.")]
    return names + [name for included in parsed.includes for name in _imports(included)]


def _statement(binding: flags.Binding, known: Mapping[str, Any]) -> str:
    """The gin text of a command-line binding, its names written out and its forgotten quotes put on."""
    *scopes, target = binding.key.split("/")
    if "." not in target:
        value, names = _value(binding.value, known)
        return f"{_import_lines(names)}{binding.key} = {value}"
    selector, _, name = target.rpartition(".")
    full = configurables.find(selector, known)
    choices = settings.of(known[full])
    if name not in choices:
        raise ValueError(f"{selector} has no setting {name!r}.{settings.nearest(name, choices)}")
    value, names = _value(binding.value, known)
    if not names and not _REFERENCE.search(value):
        literal = ast.literal_eval(value)
        if not settings.fits(literal, choices[name].annotation):
            raise ValueError(settings.misfit(f"{selector}.{name}", choices[name], literal))
    scope = "".join(f"{part}/" for part in scopes)
    return f"{_import_lines([full, *names])}{scope}{full}.{name} = {value}"


_REFERENCE = re.compile(r"^[(\[{\s]*[@%]|^[(\[{].*[@%]")
"""A value that refers to something, or holds members that may."""


def _value(value: str, known: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The gin text of a value, and the full names that it refers to. What is no Python literal is a string."""
    literal: Any = value
    with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        literal = ast.literal_eval(value.strip())
    if literal is not value or not _REFERENCE.search(value):
        if not _is_finite(literal):
            raise ValueError(f"wanted a value whose numbers are finite, found {value}.")
        return repr(literal), []
    names: list[str] = []

    def write_out(match: re.Match[str]) -> str:
        names.append(configurables.find(match[2], known))
        return f"@{match[1]}{names[-1]}"

    return re.sub(r"@((?:\w+/)*)([\w.]+)", write_out, value), names


def _is_finite(literal: Any) -> bool:
    """Whether all numbers in a literal are: Python reads 1e400 as infinite, and writes that as a name."""
    if isinstance(literal, Mapping):
        return all(map(_is_finite, (*literal.keys(), *literal.values())))
    if isinstance(literal, tuple | list | set):
        return all(map(_is_finite, literal))
    return not isinstance(literal, float | complex) or cmath.isfinite(literal)


def _import_lines(names: Iterable[str]) -> str:
    modules = sorted({name.rpartition(".")[0] for name in names})
    return "from __gin__ import dynamic_registration\n" + "".join(f"import {module}\n" for module in modules)


def _refuse_misfits(known: Mapping[str, Any]) -> None:
    """Raises where a literal is bound that is not of its setting's type, before something is made of it."""
    for owner in known.values():
        settings_of_owner = settings.of(owner) if (bound := _bound(owner)) else {}
        for name, value in bound.items():
            if _is_literal(value) and not settings.fits(value, settings_of_owner[name].annotation):
                raise ValueError(settings.misfit(f"{owner.__name__}.{name}", settings_of_owner[name], value))


def _is_literal(value: Any) -> bool:
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False


def _refuse_unused(bindings: Iterable[flags.Binding], known: Mapping[str, Any], module: ModuleType) -> None:
    """Raises where a binding of the command line changes nothing: neither this verb nor another that the files bind
    uses such a macro or dataclass. So one command line serves the verbs of a recipe."""
    used, text = gin.operative_config_str(), gin.config_str()
    for binding in bindings:
        *scopes, target = binding.key.split("/")
        selector = target.rpartition(".")[0]
        if not selector:
            macro = re.escape(binding.key)
            if not re.search(rf"^{macro} = ", used, re.MULTILINE) and not re.search(rf"%{macro}\b", text):
                macros = re.findall(r"^(\w+) = ", used, re.MULTILINE)
                hint = settings.nearest(binding.key, macros)
                raise ValueError(f"--gin.{binding.key} sets a macro that this verb's recipe does not use.{hint}")
            continue
        full = configurables.find(selector, known)
        if full == f"{module.__name__}.run":
            continue
        scope = "".join(f"{part}/" for part in scopes)
        name = full.rpartition(".")[2]
        made = re.search(rf"^# Parameters for {scope}(?:\w+/)*(?:\w+\.)*{name}:$", used, re.MULTILINE)
        if not made and not re.search(rf"@{scope}(?:\w+/)*(?:\w+\.)*{name}\b", text):
            raise ValueError(
                f"--gin.{binding.key} changes nothing here: {flags.run_name(module)} is given nothing that is made of "
                f"{scope}{name}. Bind it where it belongs, as in SOMETHING = @{scope}{name}()."
            )


def _refuse_dangling(verb_modules: Iterable[str]) -> None:
    """Raises where a file binds the fields of a dataclass that nothing in the configuration is made of."""
    text = gin.config_str()
    runs = [importlib.import_module(name).run for name in verb_modules]
    handed = {
        kind.__name__
        for run in runs
        for setting in settings.of(run).values()
        for kind in settings.dataclasses_in(setting.annotation)
    }
    for name in re.findall(r"^# Parameters for (?:\w+/)*(?:\w+\.)*(\w+):$", text, re.MULTILINE):
        if name not in handed | {"run"} and not re.search(rf"@(?:\w+/)*(?:\w+\.)*{name}\b", text):
            raise ValueError(
                f"the gin files bind {name}, and nothing is made of it, so its settings change nothing. "
                f"Bind it where it belongs, as in SOMETHING = @{name}()."
            )


def _gin_message(error: BaseException, known: Mapping[str, Any]) -> str:
    """What is wrong with a gin file or binding, where, and what was probably meant."""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}:{error.lineno}: {(error.text or '').strip()})" if error.filename else ""
        return f"{error.msg}{where}"
    message, *rest = str(error).split("\n  In ")
    place = re.search(r'file "(.*?)", line (\d+)', "".join(rest))
    where = f" ({place[1]}:{place[2]})" if place else ""
    message = " ".join(message.split())
    if found := re.match(r"Configurable '(.+?)' doesn't have a parameter named '(.+?)'", message):
        selector, name = found.groups()
        matches = [full for full in known if full.split(".")[-1] == selector.split(".")[-1]]
        choices = [choice for full in matches for choice in settings.of(known[full])]
        message = f"{selector} has no setting {name!r}.{settings.nearest(name, choices)}"
    elif found := re.match(r"Couldn't resolve selector (.+?); <module '(.+?)'.* has no attribute (\w+)", message):
        message = f"{found[2]} has no {found[3]!r}.{settings.nearest(found[3], vars(sys.modules[found[2]]))}"
    elif found := re.match(r"'(\w+)' was not provided by an import statement", message):
        message = f"{found[1]!r} is not imported by the gin file that uses it; a file sees its own imports alone."
    elif found := re.match(r"No bindings specified for '(.+?)/gin.macro'", message):
        name = found[1]
        message = f"%{name} is used, and nothing sets it. Set it in a file ({name} = ...) or as --gin.{name}=VALUE."
    elif message.startswith("No configurable matching"):
        message += " A gin file opens with `from __gin__ import dynamic_registration` and the modules that it names."
    elif found := re.match(r"Unable to open file: (.+?)\. Searched config paths: (.+)\.", message):
        files = [str(path.relative_to(ROOT)) for path in ROOT.glob("gin_configs/**/*.gin")]
        places = ", ".join(place or "this folder" for place in dict.fromkeys(ast.literal_eval(found[2])))
        there = "a folder, not a gin file, is" if os.path.isdir(found[1]) else "there is no gin file"
        message = f"{there} {found[1]}. Looked in: {places}.{settings.nearest(found[1], files)}"
    return f"{message}{where}"
