"""Metrics by use."""

import pytest

from speechlm_jax.data import measures


def signature(*languages):
    bleu = measures.translation(*languages)[0]
    return bleu(targets=["a b c d e"], predictions=["a b c d e"])["bleu_signature"]


@pytest.mark.parametrize(
    ("languages", "tokenizer"),
    [
        (["de"], "13a"),
        (["zh"], "zh"),
        (["zh_CN"], "zh"),
        (["zh-Hant"], "zh"),
        (["th"], "char"),
        (["de", "fr"], "13a"),
        (["de", "zh"], "char"),
    ],
)
def test_words_are_parted_as_the_language_writes_them(languages, tokenizer):
    assert f"tok:{tokenizer}|" in signature(*languages)
