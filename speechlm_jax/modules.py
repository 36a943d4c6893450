"""Modules that a recipe names, which are found in the folder that the command is run in, too."""

import importlib
import os
import sys
from types import ModuleType


def imported(name: str) -> ModuleType | None:
    """The module; None where there is none of that name. What it imports itself and does not find raises
    ModuleNotFoundError."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise
