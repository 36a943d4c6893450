"""A disk on which a save takes seconds: a task module that makes it so."""

import time

from speechlm_jax import checksums


def _write(*arguments, former=checksums.write, **choices):
    time.sleep(3.0)
    former(*arguments, **choices)


checksums.write = _write
