"""Every test sees eight pretended CPU devices, and arrays of different rank do not combine by themselves.

The environment is set before JAX or TensorFlow is imported, and so reaches the processes that tests start, too.
"""

import os

from speechlm_jax import runtime

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
runtime.quiet()
