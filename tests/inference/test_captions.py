"""Subtitles as their formats want them."""

import pytest

from speechlm_jax.inference import captions

LINE = {
    "text": "a & b then a line that is much too long to be read at once",
    "segments": [
        {"start": 0.0, "end": 1.2344, "text": "a & b"},
        {"start": 3599.9996, "end": 3661.5, "text": "then a line that is much too long to be read at once"},
    ],
}


def test_subrip():
    assert captions.srt(LINE) == (
        "1\n00:00:00,000 --> 00:00:01,234\na & b\n\n"
        "2\n01:00:00,000 --> 01:01:01,500\nthen a line that is much\ntoo long to be read at once\n"
    )


def test_webvtt():
    assert captions.vtt(LINE) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\na &amp; b\n\n"
        "01:00:00.000 --> 01:01:01.500\nthen a line that is much\ntoo long to be read at once\n"
    )


@pytest.mark.parametrize("form", captions.FORMATS)
def test_a_recording_without_text_is_a_file_all_the_same(form):
    assert captions.FORMATS[form]({"text": "", "segments": []}).strip() in ("", "WEBVTT")
    assert form in captions.ENDINGS
