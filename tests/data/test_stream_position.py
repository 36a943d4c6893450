"""What the order of a stream depends on, and that a setting which changes nothing is none of it."""

import dataclasses

import pytest

from speechlm_jax import batch
from speechlm_jax.data import config, stream_position


def layout(**row):
    data = config.Data(row=batch.Row(audio_seconds=40, **row), vocabulary="x")
    return stream_position.layout(data, seed=0, vocabulary="abc")


def test_silence_that_nobody_asks_for_changes_no_stream():
    former = layout()
    assert {*former["row"]} == {field.name for field in dataclasses.fields(batch.Row)} - {"padded_seconds"}
    stream_position.check(former, layout(padded_seconds=0.0))
    with pytest.raises(ValueError, match=r"row\.padded_seconds: None -> 30\.0"):
        stream_position.check(former, layout(padded_seconds=30.0))


def test_a_row_must_hold_what_is_followed_by_silence():
    with pytest.raises(ValueError, match=r"Set Row\.audio_seconds or Row\.padded_seconds"):
        layout(padded_seconds=41.0)
