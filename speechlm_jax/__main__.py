"""`speechlm VERB ...`, or `python -m speechlm_jax VERB ...`."""

import atexit
import os
import sys

from speechlm_jax import endings


def _is_one_of_many() -> bool:
    """Whether this process has joined others."""
    if "jax" not in sys.modules:
        return False
    from speechlm_jax import peers

    return peers.count() > 1


def start() -> None:
    """Runs the command line and ends the process."""
    try:
        from speechlm_jax import cli

        code = cli.main()
    except KeyboardInterrupt:  # While the modules of the front door were read.
        code = endings.INTERRUPTED
        sys.stderr.write("speechlm: stopped from the keyboard.\n")
    together = code in (endings.DONE, endings.PREEMPTED) or not _is_one_of_many()
    if code != endings.INTERRUPTED and together:
        # Those who asked for it are told of the end, such as JAX, which waits for the other processes of a run: where
        # this one fails, they do not come.
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's threads may still be at work in what Python would take down under them, for seconds, with complaints.
    os._exit(code)


if __name__ == "__main__":
    start()
