"""`python -m speechlm_jax VERB ...`."""

import sys

from speechlm_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main())
