"""JSON that is written whole."""

import json
import math

from speechlm_jax import whole_files


def test_a_number_that_is_none_is_null(tmp_path):
    whole_files.write_json(
        tmp_path / "new" / "scores.json", {"auc": math.nan, "each": [1.5, {"most": math.inf}], "name": "nan"}
    )
    found = json.loads((tmp_path / "new" / "scores.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert found == {"auc": None, "each": [1.5, {"most": None}], "name": "nan"}
