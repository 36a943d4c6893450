"""What the loop refuses before it trains."""

import pytest
import rows

from speechlm_jax import batch
from speechlm_jax.training import loop

ROW = batch.Row(targets=30, segments=4)


def test_claims_that_no_head_judges_are_refused():
    claims, transcripts = (
        rows.batch(ROW, [rows.example(0, targets=5, claim=claim), rows.example(1, targets=4)]) for claim in (-1, 0)
    )
    assert loop._with_heads(claims, ["targets", "matching"]) is claims
    assert loop._with_heads(transcripts, ["targets"]) is transcripts
    with pytest.raises(ValueError, match=r"claims of what is spoken.*found targets, ctc. Set Model.matching = True"):
        loop._with_heads(claims, ["targets", "ctc"])
