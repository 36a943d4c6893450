"""How a command ends: the exit code and the message that belong to what stopped it.

A mistake of the user is a ValueError that this project's code (or the user's own module) raises with a `raise`
statement, a file that is not there or not allowed, or any error in a module of the user's own, such as one that
registers tasks. A ValueError from inside a library is a fault of the program: its stack is shown. So whoever reads user
input turns a library's complaint into a ValueError of their own.
"""

import dis
import os
import pathlib
import re
import sys
import sysconfig
import traceback
import types

from speechlm_jax import preemption, storage

DONE, FAULT, MISTAKE = 0, 1, 2
"""Done; a fault of the program; the user's mistake."""
PREEMPTED, INTERRUPTED = preemption.PREEMPTED, preemption.INTERRUPTED
STALLED = 43
"""Stood still for longer than it may, or what it reads and writes did."""

CODES = (
    "exit codes: 0 done, 1 fault of the program, 2 mistake in what was asked or in a module of one's own,\n"
    "42 told to stop, and nothing lost that was saved: start again, 43 stood still, or its storage did: start again,\n"
    "130 stopped from the keyboard.\n"
    "SPEECHLM_TRACEBACK=1 shows the stack above every message."
)

_AUTOGRAPH = "in user code:"
"""What an error opens with that came up in a function that AutoGraph has rewritten."""
_PLACE = re.compile(r'File "(.+?)", line (\d+)')
_FILE_MISTAKES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def told(error: BaseException, speaker: str) -> int:
    """Says on standard error, in the speaker's name, why a command stopped, and returns its exit code."""
    code, message = judged(error)
    for note in getattr(error, "__notes__", ()):
        if note.startswith("--------"):  # JAX's, about frames that it has left out.
            continue
        message = f"{message.rstrip('.')}. {note}"
    if code == FAULT or os.environ.get("SPEECHLM_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"{speaker}: {message}", file=sys.stderr, flush=True)
    return code


def judged(error: BaseException) -> tuple[int, str]:
    """The exit code and the message that belong to an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "stopped from the keyboard."
    if isinstance(error, preemption.Preempted):
        return PREEMPTED, str(error)
    if isinstance(error, storage.NoAnswer):
        return STALLED, str(error)
    code = STALLED if storage.is_momentary(error) else MISTAKE
    if isinstance(error, OSError) and (code == STALLED or isinstance(error, _FILE_MISTAKES)):
        return code, f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
    if isinstance(error, ValueError) and raised_on_purpose(error):
        return code, str(error)
    if place := _own_code(error):
        return MISTAKE, f"{place}: {_in_words(error).rstrip('.')}. SPEECHLM_TRACEBACK=1 shows the stack."
    return FAULT, "stopped by a fault of the program; the stack above says where."


def raised_on_purpose(error: BaseException) -> bool:
    """Whether an exception comes from a `raise` outside Python's library and the installed packages, so that its
    message was written for whoever reads it."""
    step = error.__traceback__
    if step is None:
        return False
    while step.tb_next is not None:
        step = step.tb_next
    code = step.tb_frame.f_code
    if dis.opname[code.co_code[step.tb_lasti]] != "RAISE_VARARGS":
        return False
    return _is_ours(step.tb_frame) or not code.co_filename.startswith(_libraries())


def _libraries() -> tuple[str, ...]:
    return tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))


def _is_ours(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("speechlm_jax", "tasks")


def _own_code(error: BaseException) -> str:
    """Where in a module of the user's own an error came up, such as "/home/me/my_tasks.py, line 7"; empty where it came
    up elsewhere: behind the last line of this project's."""
    if isinstance(error, SyntaxError):
        place = (error.filename or "", error.lineno or 0)
        return "" if not _is_own_file(place[0]) else f"{place[0]}, line {place[1]}"
    found = ""
    if str(error).startswith(_AUTOGRAPH):
        # Its frames are of files that it has made, and what it says names those that they were made of.
        named = [place for place in _PLACE.findall(str(error)) if _is_own_file(place[0])]
        return f"{named[-1][0]}, line {named[-1][1]}" if named else ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_ours(frame):
            found = ""
        elif _is_own_file(frame.f_code.co_filename) and frame.f_globals.get("__name__") != "__main__":
            found = f"{frame.f_code.co_filename}, line {line}"
    return found


def _is_own_file(path: str) -> bool:
    file = pathlib.Path(path)
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    # AutoGraph writes what it makes of a function to a file that is gone when somebody looks for it.
    made = file.name.startswith("__autograph_generated_file")
    rooms = (pathlib.Path(__file__).parent, *_libraries())
    return file.is_absolute() and not installed and not made and not any(map(file.is_relative_to, rooms))


def _in_words(error: BaseException) -> str:
    """The kind of an error and what it says, without the places that AutoGraph puts before it."""
    if str(error).startswith(_AUTOGRAPH):
        return str(error).strip().splitlines()[-1].strip()
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
