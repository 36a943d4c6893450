"""From a checkpoint and what is named to lines: every use, entries that cannot be used, and the file of lines."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
import soundfile
import warm
from inference import untrained

from speechlm_jax import cli, vocabulary
from speechlm_jax.data import batches, config
from speechlm_jax.inference import answering, entries, loading, matching, questions, told, uses

ROW = untrained.ROW


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings, a manifest, and the checkpoint of a model that has learned nothing."""
    made = tmp_path_factory.mktemp("answering")
    for number, name in enumerate(("one.wav", "two.wav")):
        (made / "clips").mkdir(exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 9_000 + 800 * number)
        soundfile.write(made / "clips" / name, noise, 16_000)
    lines = [
        {"id": "first", "audio": "clips/one.wav", "text": "you and me", "lang": "de", "question": "who?"},
        {"id": "mute", "audio": None, "text": "", "lang": "en", "question": "who?"},
        {"id": "strange", "audio": "clips/one.wav", "text": "you", "lang": "tlh", "question": ""},
        {"id": "../out", "audio": "clips/two.wav", "text": "you", "lang": "en", "question": "why?"},
    ]
    (made / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    untrained.write(made / "run")
    return made


def infer(capsys, folder, *told):
    """The lines that a command writes."""
    assert cli.main(["infer", f"--checkpoint={folder}/run", "--rows=1", *map(str, told)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_a_manifest_did_not_teach_is_told(capsys):
    taught = config.Manifest(about="mood", objectives=(("spoken_classification", 1.0),))
    for about in ("mood", "intent"):
        answering._tell_untrained(taught, uses.Request(use="classify", text=("x",), about=about))
    assert capsys.readouterr().err.count("--about=mood") == 1
    pairs = config.Manifest(target_language="de", objectives=(("speech_translation", 1.0),))
    for to in ("de", "fr"):
        answering._tell_untrained(pairs, uses.Request(use="translate", text=("x",), to=to))
    assert "--to=fr: the model was last trained with --to=de" in capsys.readouterr().err
    answering._tell_untrained(config.Manifest(), uses.Request(use="translate", text=("x",), to="fr"))
    assert "translating: the model's last training had no translation" in capsys.readouterr().err
    answering._tell_untrained(config.Manifest(language="en"), uses.Request(use="transcribe", language="fr"))
    assert "--language=fr: the model was last trained with --language=en" in capsys.readouterr().err
    spoken = config.Manifest(speaker="", objectives=(("text_to_speech", 1.0),))
    asked = uses.Request(use="speak", text=("x",), speaker="anna", out_dir="out")
    answering._tell_untrained(spoken, asked)
    assert "--speaker=anna: the model was last trained without --speaker" in capsys.readouterr().err
    answering._tell_untrained(dataclasses.replace(spoken, speaker="voice"), asked)
    answering._tell_untrained(config.Manifest(language="{lang}"), uses.Request(use="transcribe", language="fr"))
    answering._tell_untrained(None, uses.Request(use="translate", text=("x",), to="fr"))
    assert not capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [[], ["--use=translate", "--to=zh"], ["--use=classify", "--about=mood"], ["--use=answer", "--question=who?"]],
    ids=["transcribe", "translate", "classify", "answer"],
)
def test_a_folder_of_recordings_is_answered_in_text(folder, capsys, use):
    found = infer(capsys, folder, *use, folder / "clips")
    assert [(line["id"], line["seconds"]) for line in found] == [("one.wav", 0.562), ("two.wav", 0.613)]
    assert all(set(line) - {"cut"} == {"id", "text", "seconds"} for line in found)
    if use:
        texts = infer(capsys, folder, *use, "--text=you and me", "--text", "我喜欢吃苹果")
        assert [(line["id"], line["seconds"]) for line in texts] == [("text-1", 0), ("text-2", 0)]


@pytest.mark.slow
def test_several_texts_are_followed_and_told_whatever_shares_their_batch(folder, capsys):
    told = ["--beam=3", "--gin.Search.best=2", "--gin.Search.ctc=0.3", "--gin.infer.run.decode_steps=5"]
    found = infer(capsys, folder, *told, folder / "clips")
    for line in found:
        (first, second) = line["texts"]
        assert first["text"] == line["text"] and first["score"] >= second["score"] and first != second
    beside = infer(capsys, folder, *told, "--rows=2", folder / "clips" / "two.wav", folder / "clips" / "one.wav")
    assert [line["texts"] for line in beside] == [line["texts"] for line in reversed(found)]


@pytest.mark.slow
def test_an_answer_is_one_of_the_labels_that_it_may_be(folder, capsys):
    told = ["--use=classify", "--about=mood", "--text=you and me", "--text=we", "--label=happy", "--label=very sad"]
    assert all(line["text"] in ("happy", "very sad") for line in infer(capsys, folder, *told))
    (line, _) = infer(capsys, folder, *told, "--beam=2", "--gin.Search.best=2")
    assert {found["text"] for found in line["texts"]} == {"happy", "very sad"}


@pytest.mark.slow
def test_a_language_model_counts_beside_the_decoder(folder, capsys):
    alone = infer(capsys, folder, "--beam=2", "--gin.infer.run.decode_steps=5", folder / "clips")
    beside = ["--beam=2", "--gin.Search.language_model=5.0", f"--language_model={folder}/run"]
    found = infer(capsys, folder, *beside, "--gin.infer.run.decode_steps=5", folder / "clips")
    assert [line["id"] for line in found] == [line["id"] for line in alone] and found != alone


@pytest.mark.slow
def test_a_claim_is_answered_by_match_or_mismatch_and_how_likely_it_is(folder, capsys):
    found = infer(capsys, folder, "--use=match", "--text=you and me", folder / "clips")
    assert [line["id"] for line in found] == ["one.wav", "two.wav"]
    for line in found:
        assert set(line) == {"id", "text", "seconds", "score"} and 0 < line["score"] < 1
        assert line["text"] == ("match" if line["score"] >= 0.5 else "mismatch")


@pytest.mark.slow
def test_texts_are_spoken_into_a_folder(folder, capsys, tmp_path):
    words = ["--use=speak", "--language=zh", "--text=你好", "--text=世界", "--speaker=anna"]
    found = infer(capsys, folder, *words, f"--out_dir={tmp_path}/a", "--seed=3")
    assert [line["id"] for line in found] == ["text-1", "text-2"]
    for line in found:
        assert line["audio"] == f"{tmp_path}/a/{line['id']}.wav" and set(line) - {"cut"} == {"id", "audio", "seconds"}
        info = soundfile.info(line["audio"])
        assert (info.samplerate, info.subtype, round(info.duration, 3)) == (16_000, "PCM_16", line["seconds"])
    again, other = (
        infer(capsys, folder, *words, f"--out_dir={tmp_path}/{name}", f"--seed={seed}")
        for name, seed in (("b", 3), ("c", 4))
    )
    first, same, another = (soundfile.read(lines[0]["audio"])[0] for lines in (found, again, other))
    np.testing.assert_array_equal(first, same)
    assert len(first) != len(another) or (first != another).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "wrong"),
    [
        (["--use=transcribe"], {"mute": "no recording", "strange": "language 'tlh'"}),
        (["--use=classify", "--about=mood"], {"mute": "no recording and no text"}),
        (["--use=answer"], {"mute": "no recording and no text", "strange": "no question"}),
        (["--use=match"], {"mute": "no recording"}),
        (
            ["--use=speak", "--out_dir={}"],
            {"mute": "no text", "strange": "'tlh'", "../out": "no.* path below a folder"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_manifest_is_used_line_by_line_and_a_bad_line_is_told(folder, capsys, tmp_path, use, wrong):
    found = infer(capsys, folder, *(word.format(tmp_path / "said") for word in use), folder / "m.jsonl")
    assert [line["id"] for line in found] == ["first", "mute", "strange", "../out"]
    errors = {line["id"]: line["error"] for line in found if "error" in line}
    assert errors.keys() == wrong.keys()
    for name, message in wrong.items():
        assert re.search(message, errors[name])
    assert [path.name for path in tmp_path.iterdir()] in ([], ["said"])


@pytest.mark.slow
def test_a_claim_scores_by_what_the_decoder_says_step_by_step_whatever_shares_its_row(folder):
    loaded = loading.load(str(folder / "run"), rows=1)
    request = uses.Request("match", ("you and me",))
    found = entries.find([str(folder / "clips")], request)
    matcher = matching.Matcher(loaded.graphdef, mesh=loaded.mesh)

    def packed(which):
        out = told.Out(print)
        examples = questions.examples(which, [""] * len(which), loaded, request, None, out, out.add)
        (one,) = batches.pack(examples, ROW, rows=1)
        return one

    claim = [*loaded.vocabulary.encode("you and me"), vocabulary.EOS]
    before = [vocabulary.BOS, loaded.vocabulary.token("<task:match>"), *claim[:-1]]

    @rows.compiled
    def step_by_step(params, batch):
        model = rows.nnx.merge(loaded.graphdef, params)
        steps = model.steps(model.encode(batch), 1, ROW.segments, len(before))
        cache, said = steps.start(), []
        for token in before:
            logits, cache = steps.text(jnp.full((1, ROW.segments), token), cache)
            said.append(jax.nn.log_softmax(logits[0, 0]))
        surprise = -jnp.stack([one[token] for one, token in zip(said[1:], claim, strict=True)])
        on_mean, on_most = model.matching.weights_2[...]
        return model.matching.bias[...] + on_mean * jnp.log1p(surprise.mean()) + on_most * jnp.log1p(surprise.max())

    together = {example["id"]: score for example, score in matcher(loaded.params, packed(found))}
    assert len(set(together.values())) == 2
    for entry in found:
        margin = step_by_step(loaded.params, packed([entry]).batch)
        assert together[entry.id] == pytest.approx(float(jax.nn.sigmoid(margin)), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--use=translate", "--to=tlh", "--text=x"], "language 'tlh'"),
        (["--use=speak", "--out_dir={folder}/m.jsonl", "--text=x"], "m.jsonl: Not a directory. Name another place"),
        (["--out={folder}", "{folder}/clips"], "it is a folder. Name a file"),
    ],
)
def test_mistakes_are_told_in_a_line(folder, capsys, told, message):
    assert cli.main(["infer", f"--checkpoint={folder}/run", *(word.format(folder=folder) for word in told)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_without_speech_out_cannot_speak(folder):
    loaded = loading.load(str(folder / "run"), rows=1)
    silent = loaded._replace(model=dataclasses.replace(loaded.model, speech_out=None))
    with pytest.raises(ValueError, match=r"the model writes no speech.*Model\.speech_out"):
        answering.answers_of(silent, uses.Request("speak", ("x",), out_dir="x"))


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_behind_its_lines(folder, tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    for number in range(40):
        noise = np.random.default_rng(number).normal(0, 0.1, 8_000 + 50 * number)
        soundfile.write(tmp_path / "clips" / f"{number:02}.wav", noise, 16_000)
    words = [f"--checkpoint={folder}/run", "--rows=1", "--beam=2", f"{tmp_path}/clips"]
    assert cli.main(["infer", f"--out={tmp_path}/whole.jsonl", *words]) == 0
    out, begun = tmp_path / "killed.jsonl", []
    for least in (1, 9):
        process = warm.Process(["infer", f"--out={out}", *words])
        process.kill_once(lambda least=least: len(_lines(tmp_path)) >= least)
        begun.append(len(_lines(tmp_path)))
    assert 0 < begun[0] < begun[1] < 40 and not out.exists()
    assert cli.main(["infer", f"--out={out}", *words]) == 0
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert f"going on behind the {begun[1]} lines" in capsys.readouterr().err


def _lines(folder):
    """Those that are whole, of what is written there."""
    return [line for part in folder.glob("killed.*.part") for line in part.read_bytes().split(b"\n")[:-1]]
