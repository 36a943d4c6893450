"""The page of scores."""

import re

from speechlm_jax.reporting import scored

FOUND = {
    "checkpoint": "runs/<first>/3",
    "split": "test",
    "recipe": "Recipe.steps = 3",
    "scores": {
        "heard": {"wer": 0.25, "wer_low": 0.125, "wer_high": 0.5, "wer_words": 8, "samples": [{"id": "a"}]},
        "silent": {"not_scored": "no record"},
    },
}


def test_numbers_stand_with_their_intervals_and_names_run_nothing():
    page = scored.write(FOUND, [])
    rows = re.findall(r'<tr><th scope="row">(\w+)</th><td>(.*?)</td><td>(.*?)</td></tr>', page)
    assert rows == [("wer", "0.25", "0.125 to 0.5"), ("wer_words", "8", "")]
    assert "<first>" not in page and "&lt;first&gt;" in page and "Recipe.steps = 3" in page
    assert "nothing was written or spoken" in page
