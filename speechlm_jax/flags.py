"""The words of a command line: a verb's flags, the gin bindings between them, and the help that explains both."""

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import NoReturn

from speechlm_jax import endings, settings

CONFIG_TEXT = "config_text"
"""The keyword under which run() receives all its other keywords as a gin file's text, where it has such a keyword."""

HELP_TAIL = f"""\
options of every verb:
  --gin_file=PATH            bindings to read; may be repeated, the later one wins
  --gin.NAME=VALUE           one binding, or a macro; wins over the files
  --gin_search_paths=A,B     where gin files and their includes are looked for, after the current folder
{endings.CODES}"""


@dataclasses.dataclass(frozen=True)
class Binding:
    """What `--gin.KEY=VALUE` says."""

    key: str
    value: str


def split(arguments: Sequence[str]) -> tuple[list[str], list[Binding]]:
    """The bindings of a command line apart from its other words."""
    words, bindings = [], []
    for argument in arguments:
        if not argument.startswith("--gin."):
            words.append(argument)
            continue
        key, equals, value = argument.removeprefix("--gin.").partition("=")
        if not equals or not re.fullmatch(r"(\w+/)*[A-Za-z_]\w*(\.\w+)*", key):
            raise ValueError(f"reading {argument!r}: wanted --gin.NAME=VALUE, in one word.")
        bindings.append(Binding(key, value))
    return words, bindings


class _Parser(argparse.ArgumentParser):
    """Says its errors as the rest of the house does."""

    known: Callable[[], Iterable[tuple[str, settings.Setting]]] = tuple
    """Gives the verb's settings, by their whole names. They take a tenth of a second to find: an error has it."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}.{self._hint(message)} See {self.prog} --help.")

    def _hint(self, message: str) -> str:
        unknown = re.search(r"unrecognized arguments: ([^\s=]+)", message)
        if unknown is None:
            return ""
        word = unknown[1].lstrip("-")
        if meant := [f"--gin.{name}" for name, setting in self.known() if setting.name == word]:
            return f" It is a setting: {' or '.join(meant)}=VALUE."
        options = [option for action in self._actions for option in action.option_strings]
        return f"{settings.nearest(unknown[1], options)} A setting is given as --gin.NAME=VALUE."


def parser(verb: str, line: str, module: ModuleType) -> argparse.ArgumentParser:
    """Reads the options of every verb and those that the verb's module adds; what is not given is not in the result."""
    words = _Parser(
        prog=f"speechlm {verb}",
        description=f"{line}\n\n{settings.summary(module.run)}",
        epilog=f"{settings.help_text(module.run, run_name(module), hidden=(CONFIG_TEXT,))}\n\n{HELP_TAIL}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    words.add_argument("--gin_file", action="append", help=argparse.SUPPRESS)
    words.add_argument("--gin_search_paths", help=argparse.SUPPRESS)
    if hasattr(module, "add_arguments"):
        module.add_arguments(words)
    named = [action for action in words._actions if not action.option_strings]
    # Optional ones are told below, by what they are for.
    told = "".join(f" {words_for(words)[action.dest]}" for action in named if action.nargs != "?")
    words.usage = f"speechlm {verb}{told} --gin_file=PATH ... --gin.NAME=VALUE ..."
    words.known = lambda: settings.all_of(module.run, run_name(module), hidden=(CONFIG_TEXT,))
    return words


def words_for(parser: argparse.ArgumentParser) -> dict[str, str]:
    """How each setting that has a flag of its own is given: '--checkpoint', or the name of what stands without one."""
    return {action.dest: (action.option_strings or [action.dest.upper()])[0] for action in parser._actions}


def overview(verbs: Mapping[str, tuple[str, str]]) -> str:
    """What `speechlm --help` says."""
    width = max(map(len, verbs), default=0) + 2
    lines = "\n".join(f"  {verb:<{width}}{line}" for verb, (_, line) in verbs.items())
    return f"usage: speechlm VERB ...   (speechlm VERB --help says what a verb can be told)\n\n{lines}\n\n{HELP_TAIL}"


def run_name(module: ModuleType) -> str:
    """How a binding names a verb's run(): `train.run`."""
    return f"{module.__name__.rpartition('.')[2]}.run"
