"""The embedded corpus: five languages that say the same, held-out sentences and voices, one result in any way made."""

import collections
import concurrent.futures
import dataclasses
import pathlib
import shutil
import sys

import espeakng_loader
import numpy as np
import pytest
import seqio

from speechlm_jax.data import records, sources
from tasks import embedded
from tasks.embedded_corpus import build, config, dealer, meanings, nouns, numerals, speech, words
from tasks.embedded_corpus.domains import sentiment

TINY = dataclasses.replace(config.SMALL, languages=("en", "zh"), train_sentences=4, validation_sentences=2)
HELD_OUT = ("validation", "test_sentences", "test_voices")


@pytest.fixture(scope="module")
def planned():
    """The fields of every record of the default corpus."""
    return [utterance.fields() for utterance in meanings.utterances(config.EmbeddedCorpus())]


@pytest.fixture(scope="module")
def small():
    return list(build.examples(config.SMALL, workers=1))


def _tokens(fields):
    return list(fields["spoken"]) if fields["lang"] == "zh" else fields["spoken"].split()


def test_a_corpus_is_the_same_at_every_call_and_with_any_number_of_workers(small):
    again = list(build.examples(config.SMALL, workers=3))
    assert [(split, fields) for split, fields, _ in small] == [(split, fields) for split, fields, _ in again]
    for (_, fields, one_N), (_, _, other_N) in zip(small, again, strict=True):
        np.testing.assert_array_equal(one_N, other_N, err_msg=fields["id"])


def test_another_seed_says_other_sentences():
    texts = [
        {one.fields()["text"] for one in meanings.utterances(dataclasses.replace(config.SMALL, seed=seed))}
        for seed in (0, 1)
    ]
    assert len(texts[0] & texts[1]) < 0.1 * len(texts[0])


def test_no_sentence_stands_in_two_splits_in_any_language(planned):
    for language in words.LANGUAGES:
        owners = collections.defaultdict(set)
        for fields in planned:
            owners[fields[f"translation/{language}"]].add(fields["meaning_id"])
        assert {len(owner) for owner in owners.values()} == {1}
    ids = {split: {one["meaning_id"] for one in planned if one["split"] == split} for split in meanings.SPLITS}
    assert sum(map(len, ids.values())) == len(set.union(*ids.values()))


def test_only_the_split_of_unseen_voices_has_them(planned):
    heard = {split: {one["speaker"] for one in planned if one["split"] == split} for split in meanings.SPLITS}
    assert heard["test_voices"].isdisjoint(heard["train"] | heard["validation"] | heard["test_sentences"])
    assert heard["test_sentences"] <= heard["train"]
    assert len(heard["train"]) == 5 * len(config.EmbeddedCorpus().voices)


def test_held_out_sentences_stay_when_the_training_grows(planned):
    grown = meanings.utterances(config.EmbeddedCorpus(train_sentences=900))
    kept = {one.id: one.fields() for one in grown if one.split in HELD_OUT}
    assert kept == {one["id"]: one for one in planned if one["split"] in HELD_OUT}


def test_held_out_speech_stays_when_the_training_grows():
    speech_of = []
    for sentences in (4, 5):
        corpus = dataclasses.replace(TINY, train_sentences=sentences)
        speech_of.append(
            {fields["id"]: wave_N for split, fields, wave_N in build.examples(corpus) if split in HELD_OUT}
        )
    assert speech_of[0].keys() == speech_of[1].keys()
    for name, wave_N in speech_of[0].items():
        np.testing.assert_array_equal(wave_N, speech_of[1][name])


def test_every_record_has_its_text_in_five_languages(planned):
    for fields in planned:
        assert fields["text"] == fields[f"translation/{fields['lang']}"]
        for language in words.LANGUAGES:
            text = fields[f"translation/{language}"]
            assert text
            assert not set("[]{}|_") & set(text), text
            assert text == " ".join(text.split()), text


def test_held_out_sentences_are_spoken_in_every_language_and_training_sentences_in_one(planned):
    spoken = collections.defaultdict(set)
    for fields in planned:
        spoken[fields["split"], fields["meaning_id"]].add(fields["lang"])
    for (split, _), languages in spoken.items():
        assert len(languages) == (1 if split == "train" else 5)


def test_the_spoken_form_has_neither_figures_nor_punctuation_nor_capitals(planned):
    for fields in planned:
        spoken = fields["spoken"]
        assert spoken == spoken.lower()
        assert all(c.isalpha() or (c in " '" and fields["lang"] != "zh") for c in spoken), spoken


@pytest.mark.parametrize(("language", "share"), [("en", 0.99), ("de", 0.98), ("fr", 0.99), ("es", 0.99), ("zh", 0.99)])
def test_words_of_held_out_sentences_are_known_from_training(planned, language, share):
    # German writes its numbers as single words, of which no training set has all.
    counts = {"train": collections.Counter(), "held out": collections.Counter()}
    for fields in planned:
        if fields["lang"] == language:
            counts["train" if fields["split"] == "train" else "held out"].update(_tokens(fields))
    known = sum(count for token, count in counts["held out"].items() if token in counts["train"])
    assert known >= share * counts["held out"].total()
    assert 300 < len(counts["train"]) < 600


def test_answers_stand_in_the_text_or_are_yes_or_no_in_equal_parts(planned):
    answers = collections.Counter()
    for fields in planned:
        assert bool(fields["question"]) == bool(fields["answer"]) == (fields["domain"] == "facts")
        if fields["question"]:
            labels = {words.YES.of(fields["lang"]): "yes", words.NO.of(fields["lang"]): "no"}
            label = labels.get(fields["answer"])
            answers[label] += 1
            assert label or fields["answer"] in fields["text"], fields
            assert fields["question"][-1] in "?？"
    assert answers["yes"] == pytest.approx(answers["no"], rel=0.15)
    assert answers[None] == pytest.approx(answers["yes"] + answers["no"], rel=0.15)


def test_training_asks_a_sentence_all_that_its_grammar_can_and_what_is_held_out_is_asked_once(planned):
    asked = collections.Counter()
    for fields in planned:
        several = len(fields["questions"])
        assert several == len(fields["answers"]) == len(set(fields["questions"]))
        if fields["question"]:
            assert (fields["question"], fields["answer"]) == (fields["questions"][0], fields["answers"][0])
            assert several == 1 or fields["split"] == "train"
            yes_or_no = {words.YES.of(fields["lang"]), words.NO.of(fields["lang"])}
            assert all(answer in yes_or_no or answer in fields["text"] for answer in fields["answers"]), fields
        asked[fields["split"] == "train", several] += 1
    assert asked[True, 1] == 0 < asked[True, 3] < asked[True, 4]
    answers = collections.Counter()
    for fields in planned:
        labels = {words.YES.of(fields["lang"]): "yes", words.NO.of(fields["lang"]): "no"}
        for answer in fields["answers"]:
            answers[labels.get(answer, "open")] += 1 / len(fields["answers"])
    assert answers["yes"] == pytest.approx(answers["no"], rel=0.15)
    assert answers["open"] > 0.4 * answers.total()


def test_sentiments_and_intents_are_balanced(planned):
    for language in words.LANGUAGES:
        train = [one for one in planned if one["split"] == "train" and one["lang"] == language]
        feelings = collections.Counter(one["sentiment"] for one in train if one["domain"] == "sentiment")
        assert set(feelings) == {"positive", "negative"}
        assert feelings["positive"] == pytest.approx(feelings["negative"], rel=0.2)
        intents = collections.Counter(one["intent"] for one in train if one["domain"] == "commands")
        assert len(intents) == 13
        assert max(intents.values()) < 2.5 * min(intents.values())
        assert all(bool(one["intent"]) == bool(one["slots"]) == (one["domain"] == "commands") for one in train)


def test_that_one_likes_apples_and_that_one_does_not_can_both_be_said():
    draw = dealer.Dealer("apples")
    said = {}
    for _ in range(2000):
        for kind in sentiment.KINDS[:2]:
            meaning = kind(draw)
            said[words.written(meaning.text.zh, "zh")] = meaning
    likes, dislikes = said["我喜欢吃苹果。"], said["我不喜欢吃苹果。"]
    assert (likes.sentiment, dislikes.sentiment) == ("positive", "negative")
    assert words.written(likes.text.fr, "fr") == "J'aime manger des pommes."
    assert words.written(dislikes.text.de, "de") == "Ich esse nicht gern Äpfel."


def test_waveforms_are_speech_at_the_level_asked_for_neither_silent_nor_clipped(small):
    assert {split for split, *_ in small} == set(meanings.SPLITS)
    for _, fields, wave_N in small:
        level = np.asarray(wave_N, np.float64) / 32767
        assert wave_N.dtype == np.int16
        assert 0.35 < len(wave_N) / speech.SAMPLE_RATE < 8, fields["text"]
        assert 20 * np.log10(np.abs(level).max()) == pytest.approx(fields["level_db"], abs=0.01)
        assert np.sqrt(np.mean(level**2)) > 0.01
        assert np.mean(np.abs(level) >= 0.999 * np.abs(level).max()) < 1e-3
        per_letter = len(wave_N) / speech.SAMPLE_RATE / len(fields["spoken"])
        assert 0.03 < per_letter < 0.6, fields["text"]


@pytest.mark.parametrize(
    ("number", "en", "de", "fr", "es", "zh"),
    [
        (0, "zero", "null", "zéro", "cero", "零"),
        (16, "sixteen", "sechzehn", "seize", "dieciséis", "十六"),
        (21, "twenty-one", "einundzwanzig", "vingt et un", "veintiuno", "二十一"),
        (71, "seventy-one", "einundsiebzig", "soixante et onze", "setenta y uno", "七十一"),
        (80, "eighty", "achtzig", "quatre-vingts", "ochenta", "八十"),
        (91, "ninety-one", "einundneunzig", "quatre-vingt-onze", "noventa y uno", "九十一"),
        (101, "one hundred one", "einhunderteins", "cent un", "ciento uno", "一百零一"),
        (110, "one hundred ten", "einhundertzehn", "cent dix", "ciento diez", "一百一十"),
        (200, "two hundred", "zweihundert", "deux cents", "doscientos", "两百"),
        (1007, "one thousand seven", "eintausendsieben", "mille sept", "mil siete", "一千零七"),
        (
            2570,
            "two thousand five hundred seventy",
            "zweitausendfünfhundertsiebzig",
            "deux mille cinq cent soixante-dix",
            "dos mil quinientos setenta",
            "两千五百七十",
        ),
        (
            9999,
            "nine thousand nine hundred ninety-nine",
            "neuntausendneunhundertneunundneunzig",
            "neuf mille neuf cent quatre-vingt-dix-neuf",
            "nueve mil novecientos noventa y nueve",
            "九千九百九十九",
        ),
    ],
)
def test_numbers_are_said_as_each_language_says_them(number, en, de, fr, es, zh):
    found = tuple(numerals.cardinal(number, language) for language in words.LANGUAGES)
    assert found == (en, de, fr, es, zh)


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_no_two_numbers_are_said_alike(language):
    assert len({numerals.cardinal(number, language) for number in range(10_000)}) == 10_000


def test_numbers_agree_with_what_they_count():
    (chair, book) = nouns.named("chair", "book")
    assert numerals.cardinal(21, "es", gender=chair.es) == "veintiuna"
    assert numerals.cardinal(21, "es", gender=book.es) == "veintiún"
    assert numerals.cardinal(531, "es", gender=chair.es) == "quinientas treinta y una"
    assert numerals.cardinal(81, "fr", gender=chair.fr) == "quatre-vingt-une"
    assert nouns.counted(book, 2).zh == "两本书"
    one = nouns.counted(chair, 1, "accusative")
    assert one == ("a chair", "einen Stuhl", "une chaise", "una silla", "一把椅子")


@pytest.mark.parametrize(
    ("marked", "language", "written", "said"),
    [
        ("a orange at [7:30|seven thirty]", "en", "An orange at 7:30", "An orange at seven thirty"),
        ("le avion de Anna, que elle voit de le école", "fr", *["L'avion d'Anna, qu'elle voit de l'école"] * 2),
        ("je vais à le marché de le village à [8 h|huit heures]", "fr", "Je vais au marché du village à 8 h", None),
        ("le [8|huit] mai et le [11|onze] mai", "fr", "Le 8 mai et le 11 mai", "Le huit mai et le onze mai"),
        ("ma école et son nouveau ordinateur", "fr", *["Mon école et son nouvel ordinateur"] * 2),
        ("¿va a el museo de el pueblo?", "es", *["¿Va al museo del pueblo?"] * 2),
    ],
)
def test_words_join_as_each_language_joins_them(marked, language, written, said):
    assert words.written(marked, language) == written
    if said:
        assert words.said(marked, language) == said


def _plain(record):
    """The fields of a record but its waveform, lists as lists."""
    return {k: list(v) if isinstance(v, np.ndarray) else v for k, v in record.items() if k != "audio"}


def test_a_corpus_is_written_once_and_read_back(tmp_path):
    path = build.build(tmp_path, TINY)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    assert build.build(tmp_path, TINY) == path
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    readers = {split: records.Reader(path, split) for split in meanings.SPLITS}
    for split, fields, wave_N in build.examples(TINY):
        place = [one["id"] for one in readers[split]].index(fields["id"])
        found = readers[split][place]
        np.testing.assert_array_equal(found.pop("audio"), wave_N)
        assert _plain(found) == {**fields, "level_db": np.float32(fields["level_db"])}
    assert build.location(tmp_path, dataclasses.replace(TINY, seed=1)) != path


@pytest.mark.parametrize("damage", ["no info.json", "a file lost"])
def test_a_half_built_corpus_is_made_anew(tmp_path, damage):
    path = build.build(tmp_path, TINY)
    whole = {file.name: file.read_bytes() for file in path.iterdir()}
    lost = path / "info.json" if damage == "no info.json" else path / records.shard_name("train", 0, 4)
    lost.unlink()
    assert build.build(tmp_path, TINY) == path
    assert {file.name: file.read_bytes() for file in path.iterdir()} == whole
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_text_alone_is_that_of_the_spoken_corpus_without_the_speech(tmp_path):
    spoken, alone = (build.build(tmp_path, dataclasses.replace(TINY, is_spoken=speech)) for speech in (True, False))
    for split in meanings.SPLITS:
        there, here = records.Reader(spoken, split), records.Reader(alone, split)
        assert len(here) == len(there) and "audio" not in here.fields
        assert all(_plain(here[i]) == _plain({**there[i], "audio": None}) for i in range(len(here)))


def test_builders_at_the_same_time_leave_one_whole_corpus(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: build.build(tmp_path, TINY, workers=1), range(3)))
    assert len(paths) == 1
    assert [one.name for one in tmp_path.iterdir()] == [paths.pop().name]


def test_a_voice_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no voice '[a-z-]+\+nobody'.*EmbeddedCorpus.voices"):
        build.build(tmp_path, dataclasses.replace(TINY, voices=("nobody",)))
    assert not list(tmp_path.iterdir())


def test_without_the_wheel_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match="pip install espeakng-loader"):
        next(build.examples(TINY))


def test_a_deep_installation_is_spoken_from_all_the_same(tmp_path, monkeypatch):
    # espeak-ng keeps its data's path in 160 bytes.
    installed = pathlib.Path(espeakng_loader.__file__).parent
    deep = tmp_path / ("a" * 90) / ("b" * 90) / installed.name
    deep.mkdir(parents=True)
    shutil.copy(espeakng_loader.__file__, deep)
    for part in installed.iterdir():
        if part.name not in ("__init__.py", "__pycache__"):
            (deep / part.name).symlink_to(part)
    expected = list(build.examples(TINY))
    monkeypatch.delitem(sys.modules, "espeakng_loader")
    monkeypatch.syspath_prepend(deep.parent)
    found = list(build.examples(TINY))
    assert str(deep) in sys.modules["espeakng_loader"].__file__
    for (*_, one_N), (*_, other_N) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one_N, other_N)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"languages": ("en", "xx")}, r"'xx'.*EmbeddedCorpus.languages"),
        ({"languages": ()}, "EmbeddedCorpus.languages"),
        ({"train_sentences": 0}, "EmbeddedCorpus.train_sentences = 0"),
        ({"train_domains": ("facts", "poems")}, r"greetings; found .*poems.*EmbeddedCorpus.train_domains"),
        ({"train_domains": ()}, "EmbeddedCorpus.train_domains"),
        ({"unseen_voices": ("m1",)}, r"in both: m1.*EmbeddedCorpus.voices"),
        ({"second_voice_share": 1.5}, "EmbeddedCorpus.second_voice_share = 1.5"),
        ({"pitches": (60, 40)}, r"EmbeddedCorpus.pitches .* found \(60, 40\)"),
    ],
)
def test_a_corpus_that_makes_no_sense_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        config.EmbeddedCorpus(**choices)


def test_a_training_about_facts_alone_holds_out_what_any_other_does():
    some, all_of_them = (
        [one.fields() for one in meanings.utterances(dataclasses.replace(TINY, train_domains=domains))]
        for domains in (("facts",), config.DOMAINS)
    )
    assert {one["domain"] for one in some if one["split"] == "train"} == {"facts"}
    assert len(some) == len(all_of_them)
    held_out, as_ever = ([one for one in told if one["split"] != "train"] for told in (some, all_of_them))
    assert held_out == as_ever and len({one["domain"] for one in held_out}) > 3


@pytest.mark.slow
def test_more_sentences_than_the_grammar_has_are_refused():
    with pytest.raises(ValueError, match=r"ran out of new sentences.*EmbeddedCorpus.train_sentences"):
        collections.deque(meanings.utterances(config.EmbeddedCorpus(train_sentences=8000)), maxlen=0)


def test_pretraining_without_labels_and_learning_from_a_tenth_of_them_share_no_objective():
    tasks = {task.name: task for task in seqio.get_subtasks(seqio.get_mixture_or_task("embedded_unlabelled_en"))}
    kinds = ("masked_speech", "masked_language_model", "span_corruption")
    assert set(tasks) == {f"embedded_{kind}_en" for kind in kinds}
    tenth = seqio.TaskRegistry.get("embedded_recognition_tenth_en")
    assert isinstance(tenth.source, sources.ShareOf)
    assert "(0.0, 0.1), splits=('train',)" in repr(tenth.source) and tuple(tenth.splits) == embedded.SPLITS
