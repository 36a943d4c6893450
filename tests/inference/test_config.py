"""What a search may be asked for."""

import pytest

from speechlm_jax.inference import config


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"beam": 0}, r"Search\.beam of 1 or more, found 0"),
        ({"ctc": 1.5}, r"Search\.ctc of 1 or less, found 1\.5"),
        ({"length_penalty": -1.0}, r"Search\.length_penalty of 0 or more"),
        ({"best": 0}, r"Search\.best of 1 or more"),
        ({"top_p": 0.0, "temperature": 1.0}, r"Search\.top_p above 0, found 0\.0"),
        ({"top_k": 5}, r"Search\.top_k = 5 .* nothing is\. Set Search\.temperature above 0"),
        ({"temperature": 1.0, "beam": 2}, r"followed alone, by the decoder; found Search\.beam = 2"),
        ({"temperature": 1.0, "ctc": 0.3}, r"\.ctc = 0\.3"),
    ],
)
def test_what_does_not_go_together_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        config.Search(**choices)
