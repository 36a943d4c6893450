"""How a command ends: the exit code and the message that belong to what stopped it.

A mistake of the user is a ValueError that this project's code (or the user's own module) raises with a `raise`
statement, or a file that is not there or not allowed. A ValueError from inside a library is a fault of the program: its
stack is shown. So whoever reads user input turns a library's complaint into a ValueError of their own.
"""

import dis
import os
import sys
import sysconfig
import traceback

from speechlm_jax import runtime

DONE, FAULT, MISTAKE, PREEMPTED, INTERRUPTED = 0, 1, 2, 42, 130
"""Done; a fault of the program; the user's mistake; saved, start me again; stopped from the keyboard."""

CODES = (
    "exit codes: 0 done, 1 fault of the program, 2 mistake in what was asked, 42 preempted and saved: start again,\n"
    "130 stopped from the keyboard.\n"
    "SPEECHLM_TRACEBACK=1 shows the stack above every message."
)

_FILE_MISTAKES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def told(error: BaseException, speaker: str) -> int:
    """Says on standard error, in the speaker's name, why a command stopped, and returns its exit code."""
    code, message = _judged(error)
    if code == FAULT or os.environ.get("SPEECHLM_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"{speaker}: {message}", file=sys.stderr, flush=True)
    return code


def _judged(error: BaseException) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "stopped from the keyboard."
    if isinstance(error, runtime.Preempted):
        return PREEMPTED, str(error)
    if isinstance(error, _FILE_MISTAKES):
        return MISTAKE, f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
    if isinstance(error, ValueError) and raised_on_purpose(error):
        return MISTAKE, str(error)
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
    room = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    libraries = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    return room in ("speechlm_jax", "tasks") or not code.co_filename.startswith(libraries)
