"""`speechlm VERB ...`, or `python -m speechlm_jax VERB ...`."""

import os
import sys

from speechlm_jax import cli, endings


def start() -> None:
    """Runs the command line and ends the process."""
    code = cli.main()
    if code == endings.INTERRUPTED:
        # TensorFlow's threads may still be at work in what Python would take down under them.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    start()
