"""Whether two ways to measure come to the same scores."""

import numpy as np

from speechlm_jax import metrics


def numbers(found):
    """The scores that are numbers."""
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def check(found, wanted):
    """Scores with a bootstrap's."""
    assert found.keys() == wanted.keys()
    for name, value in numbers(wanted).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)
    for name in found:
        if name.endswith(metrics.RESAMPLES):
            parts = (np.array(told[name].split()[1:], np.float64) for told in (found, wanted))
            np.testing.assert_allclose(*parts, rtol=2e-6, err_msg=name)
