"""Starts jobs on one machine or many: `python -m launch TARGET JOB.toml`.

It imports neither JAX nor speechlm_jax, and so runs wherever Python does."""
