"""Making the tasks of a run known to SeqIO: its task modules, its manifest, its vocabulary."""

import difflib
import pkgutil

from speechlm_jax import modules
from speechlm_jax.data import config, features


def register(data: config.Data, *, bind_vocabulary: bool = True) -> None:
    """Imports Data.task_modules, registers the tasks of Data.manifest, and binds the vocabulary that they tokenize by.

    Raises ValueError where a module does not exist.
    """
    for name in data.task_modules:
        import_tasks(name)
    if data.manifest is not None and data.manifest.path:
        from speechlm_jax.data import manifest_tasks

        manifest_tasks.register(data.manifest)
    if bind_vocabulary:
        features.bind(data.vocabulary)


def import_tasks(name: str) -> None:
    """Imports one task module, also from the folder that the command is run in. Raises ValueError with the nearest
    name where it does not exist."""
    if modules.imported(name) is None:
        import tasks

        known = [f"tasks.{module.name}" for module in pkgutil.iter_modules(tasks.__path__)]
        known += [module.name for module in pkgutil.iter_modules(["."])]
        near = difflib.get_close_matches(name, known, 1, 0.0)
        raise ValueError(
            f"importing task module '{name}': there is no such module. Nearest: '{near[0] if near else ''}'. "
            "Set Data.task_modules to modules that Python can import, such as my_tasks.py in this folder."
        )
