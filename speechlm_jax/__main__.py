"""`speechlm VERB ...`, or `python -m speechlm_jax VERB ...`."""

import os
import sys

from speechlm_jax import preemption


def start() -> None:
    """Runs the command line and ends the process."""
    try:
        from speechlm_jax import cli

        code = cli.main()
    except KeyboardInterrupt:  # While the modules of the front door were read.
        code = preemption.INTERRUPTED
        sys.stderr.write("speechlm: stopped from the keyboard.\n")
    if code == preemption.INTERRUPTED:
        # TensorFlow's threads may still be at work in what Python would take down under them.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    start()
