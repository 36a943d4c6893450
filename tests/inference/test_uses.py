"""Which flags go with which use."""

import dataclasses

import pytest

from speechlm_jax import vocabulary
from speechlm_jax.inference import config, uses


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"use": "transalte"}, r"one of transcribe, .*, found 'transalte'\. Nearest: 'translate'"),
        ({"to": "de"}, r"^transcribing: --to means nothing to --use=transcribe\. .* --use=translate\.$"),
        ({"text": ("x",)}, "--text means nothing to --use=transcribe.*--use=match or --use=speak"),
        ({"use": "classify", "about": "x", "language": "en"}, "--language means nothing to --use=classify"),
        ({"use": "translate", "to": "de", "search": "ctc"}, "--search means nothing to --use=translate"),
        ({"use": "translate"}, "translating: wanted --to, found none"),
        ({"use": "classify"}, "classifying: wanted --about, found none"),
        ({"use": "speak"}, "speaking: wanted --out_dir, found none"),
        ({"use": "match", "text": ("x", "y")}, "wanted one --text for all recordings, found 2"),
        ({"use": "speak", "out_dir": "x", "temperature": -1.0}, r"--temperature to be 0 or more, found -1\.0"),
        ({"search": "ctc", "decoding": config.Search(beam=2)}, "asks the CTC head alone"),
        (
            {"decoding": config.Search(language_model=0.5)},
            "wanted --language_model=RUN and Search.language_model above",
        ),
        ({"language_model": "x"}, r"or neither; found x and 0\.0"),
        ({"use": "match", "decoding": config.Search(beam=2)}, "--gin.Search means nothing to --use=match"),
        ({"use": "translate", "to": "de", "label": ("x",)}, "--label means nothing to --use=translate"),
        ({"use": "answer", "question": "x", "decoding": config.Search(ctc=0.3)}, r"Search\.ctc = 0\.3 means nothing"),
        ({"decoding": config.Search(best=3), "times": True}, r"Search\.best = 3 tells several texts"),
        ({"decoding": config.Search(best=3), "format": "text"}, "Leave out Search.best, or --times and --format"),
        ({"search": "beam"}, "--search=decoder or --search=ctc, found 'beam'"),
    ],
)
def test_what_does_not_go_together_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        uses.Request(**choices)


def test_every_choice_means_something_to_some_use():
    choices = {field.name for field in dataclasses.fields(uses.Request)}
    assert choices == {"use"} | {name for use in uses.USES.values() for name in use.takes}
    for use in uses.USES.values():
        assert {*use.needs, *filter(None, [use.beside])} <= set(use.takes)


def test_what_is_asked_about_asks_for_no_other_program():
    one = uses.Request("translate", text=("x",), to="de", language="en")
    assert one.program == uses.Request("translate", text=("y", "z"), to="zh").program
    assert one.program != uses.Request("translate", to="de", decoding=config.Search(beam=2)).program
    labelled = uses.Request("classify", about="x", label=("a", "b"))
    assert labelled.program != uses.Request("classify", about="x", label=("a", "c")).program


def test_uses_are_tasks_of_the_vocabulary():
    assert set(uses.USES) == set(vocabulary.TASKS) - {"denoise", "continue"}
