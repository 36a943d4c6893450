"""One encoder-decoder that learns speech and text together.

Its verbs are on the command line, `speechlm --help`. From Python, `speechlm_jax.load(RUN)` is a trained model.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechlm_jax.inference.door import Model, load

__all__ = ["Model", "load"]


def __getattr__(name: str) -> Any:
    # The command line imports this package, too, and starts without JAX.
    if name not in __all__:
        raise AttributeError(f"module 'speechlm_jax' has no attribute {name!r}")
    from speechlm_jax.inference import door

    return getattr(door, name)
