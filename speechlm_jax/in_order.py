"""Verbs one after the other in one process, as a person would type them."""

import sys
import time
from collections.abc import Mapping, Sequence

from speechlm_jax import cli, runtime


def run(verbs: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Runs command lines of `speechlm`, each under a name, and returns the seconds that each took. One that fails has
    told why; its exit code is the process's."""
    seconds = {}
    for name, words in verbs.items():
        runtime.say(f"\n$ speechlm {' '.join(words)}")
        started = time.monotonic()
        if code := cli.main(list(words)):
            sys.exit(code)
        seconds[name] = round(time.monotonic() - started, 1)
    return seconds
