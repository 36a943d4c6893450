"""Tests of the vocabulary."""

import itertools
import os
import pathlib

import pytest
from tiny_text import corpus

from speechlm_jax import vocabulary


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("vocabulary") / "words.model"
    vocabulary.train(corpus(), path, 640)
    return path


@pytest.fixture(scope="module")
def words(path: pathlib.Path) -> vocabulary.Vocabulary:
    return vocabulary.Vocabulary.load(path)


def test_ids_stand_in_the_pinned_order(words):
    names = ["<pad>", "</s>", "<unk>", "<s>", "<mask>"]
    names += [f"<task:{task}>" for task in vocabulary.TASKS]
    names += [f"<sentinel:{i}>" for i in range(100)]
    names += [f"<lang:{code}>" for code in vocabulary.LANGUAGES]
    assert [words.token(name) for name in names] == list(range(len(names)))
    assert (vocabulary.PAD, vocabulary.EOS, vocabulary.UNK, vocabulary.BOS, vocabulary.MASK) == (0, 1, 2, 3, 4)
    assert words.sentinel(7) == words.token("<sentinel:7>")
    assert words.language("zh") == words.token("<lang:zh>")
    assert words.learned[0] == words.language("he") + 1 + 32 + 256


def test_size_is_met_and_padded(words):
    assert (words.size, words.padded_size) == (640, 640)
    assert words.learned[-1] == 639


def test_padded_size_is_the_next_multiple_of_128(tmp_path):
    assert vocabulary.train(corpus(), tmp_path / "w.model", 641).padded_size == 768


def test_bpe_leaves_more_words_of_one_grammar_whole(tmp_path):
    made = {
        kind: vocabulary.train(corpus(), tmp_path / f"{kind}.model", 1000, kind=kind) for kind in ("unigram", "bpe")
    }
    words = {word for line in corpus() if line.isascii() for word in line.split()}
    whole = {kind: sum(len(one.encode(word)) == 1 for word in words) for kind, one in made.items()}
    assert whole["bpe"] > whole["unigram"], whole
    assert all(made["bpe"].decode(made["bpe"].encode(line)) == line for line in corpus()[:40])


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("bpe", [*"你我他们的手提包汽车是红绿白。"]), ("words", [*"你我的是红绿白。", "他们", "手提包", "汽车"])],
)
def test_a_chinese_piece_is_a_character_or_a_word(tmp_path, kind, wanted):
    """A thing said after whatever else is the same piece."""
    lines = [
        f"{who}的{what}是{how}的。" for who in ("你", "我", "他们") for what in ("手提包", "汽车") for how in "红绿白"
    ]
    words = vocabulary.train(lines * 4, tmp_path / "words.model", 500, kind=kind)
    pieces = {words.decode([token]) for line in lines for token in words.encode(line)} - {""}
    assert pieces == set(wanted)


@pytest.mark.parametrize(
    "text",
    [
        "don't walk",
        "größere Bäume",
        "l'été à côté",
        "你好，世界。今天",
        "never seen: Ωμέγα Ж 日本 🙂 0123 % €",
        "decomposed e\u0301",
        "x",
        "",
    ],
)
def test_any_text_comes_back_as_it_went_in(words, text):
    assert words.decode(words.encode(text)) == text
    assert vocabulary.UNK not in words.encode(text)


def test_runs_of_spaces_become_one(words):
    assert words.decode(words.encode("  two   words ")) == "two words"


def test_text_and_its_bytes_have_the_same_ids(words):
    assert words.encode("größere 世界".encode()) == words.encode("größere 世界")


@pytest.mark.parametrize("text", ["small house", "größere 世界", "a 漢 b"])
def test_a_text_is_spelled_letter_by_letter(words, text):
    letters = words.spell(text)
    assert words.decode(letters) == text and words.spell(text.encode()) == letters
    pieces = [words._processor.id_to_piece(letter) for letter in letters]
    assert all(len(piece) == 1 or piece.startswith("<0x") for piece in pieces)


def test_no_text_encodes_to_special_tokens(words):
    for name in ("<mask>", "</s>", "<lang:de>", "<sentinel:3>", "<task:speak>", "<pad>"):
        assert min(words.encode(f"a {name} b")) > words.language("he")


def test_decoding_stops_at_the_end_and_skips_what_is_not_text(words):
    text = words.encode("small house")
    ids = [
        words.token("<task:transcribe>"),
        words.language("en"),
        0,
        *text[:1],
        vocabulary.UNK,
        words.sentinel(0),
        *text[1:],
    ]
    assert words.decode([*ids, 1, *text]) == "small house"
    assert words.decode([-1, *text, 640, 10**6]) == "small house"
    assert words.decode([1, *text]) == words.decode([]) == ""


def test_showing_puts_special_tokens_in_their_places(words):
    ids = [words.token("<task:translate>"), words.language("de"), *words.encode("das kleine Haus"), 1, 0]
    assert words.show(ids) == "<task:translate> <lang:de> das kleine Haus </s> <pad>"


def test_training_twice_gives_the_same_bytes(path, tmp_path):
    vocabulary.train(iter(corpus()), tmp_path / "again.model", 640)
    assert (tmp_path / "again.model").read_bytes() == path.read_bytes()


def test_a_sample_of_lines_is_a_function_of_the_seed(tmp_path):
    def trained(seed: int) -> str:
        return vocabulary.train(corpus(), tmp_path / f"{seed}.model", 520, max_lines=300, seed=seed).hash

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_a_sample_takes_every_line_equally_often():
    taken = [line for seed in range(800) for line in vocabulary._sample("abcd", 2, seed)]
    counts = [taken.count(line) for line in "abcd"]
    assert sum(counts) == 1600
    assert 340 < min(counts) <= max(counts) < 460


def test_hash_tells_vocabularies_apart(words, tmp_path):
    hashes = {
        words.hash,
        vocabulary.train(corpus(), tmp_path / "size.model", 641).hash,
        vocabulary.train(corpus(400), tmp_path / "text.model", 640).hash,
        vocabulary.train(corpus(), tmp_path / "lang.model", 640, languages=vocabulary.LANGUAGES[::-1]).hash,
    }
    assert len(hashes) == 4


def test_hash_tells_normalizations_apart_where_the_pieces_are_the_same(tmp_path):
    plain = [line for line in corpus() if line.isascii()]
    one = vocabulary.train(plain, tmp_path / "identity.model", 500)
    other = vocabulary.train(plain, tmp_path / "nfkc.model", 500, normalization="nmt_nfkc")
    assert one.show(one.learned) == other.show(other.learned)
    assert one.hash != other.hash


def test_a_language_added_later_has_a_token_and_leaves_the_hash_and_the_ids(words, path, tmp_path):
    later = tmp_path / "later.model"
    later.write_bytes(path.read_bytes())
    index = vocabulary.add_language(later, "mdw")
    renamed = vocabulary.Vocabulary.load(later)
    assert renamed.language("mdw") == index == words.token("<lang:reserved_0>")
    assert renamed.hash == words.hash
    assert renamed.languages == (*words.languages, "mdw")
    assert [renamed.encode(text) for text in corpus(40)] == [words.encode(text) for text in corpus(40)]
    assert vocabulary.add_language(later, "mdw") == index
    assert vocabulary.add_language(later, "pt-BR") == index + 1


def test_reserved_languages_run_out_with_a_clear_error(path, tmp_path):
    full = tmp_path / "full.model"
    full.write_bytes(path.read_bytes())
    for code in itertools.islice(map("".join, itertools.product("qx", repeat=5)), 32):
        vocabulary.add_language(full, code)
    assert len(vocabulary.Vocabulary.load(full).languages) == len(vocabulary.LANGUAGES) + 32
    with pytest.raises(ValueError, match="32 reserved tokens are taken"):
        vocabulary.add_language(full, "one-more")


def test_unknown_names_are_errors_that_name_the_nearest(words, path):
    with pytest.raises(ValueError, match=r"'<task:transcrbe>'. Nearest: '<task:transcribe>'"):
        words.token("<task:transcrbe>")
    with pytest.raises(ValueError, match=r"language 'mdw'.*add_language"):
        words.language("mdw")
    with pytest.raises(ValueError, match="language 'reserved_0'"):
        words.language("reserved_0")
    with pytest.raises(ValueError, match=r"sentinel 100: .*has 100, counted from 0"):
        words.sentinel(100)
    with pytest.raises(ValueError, match=r"language code is letters.*'d e'"):
        vocabulary.add_language(path, "d e")


def test_texts_that_cannot_fill_a_size_make_a_smaller_vocabulary(tmp_path):
    words = vocabulary.train(corpus(), tmp_path / "w.model", 5000)
    assert 640 < words.size < 5000
    assert words.decode(words.encode("größere Bäume")) == "größere Bäume"
    assert vocabulary.train(corpus(), tmp_path / "exact.model", words.size - 50).size == words.size - 50


def test_a_size_without_room_for_the_characters_is_an_error_with_the_bound(tmp_path):
    with pytest.raises(ValueError, match=r"single characters alone are \d+") as error:
        vocabulary.train(corpus(), tmp_path / "small.model", 430)
    smallest = int(str(error.value).split("alone are ")[1].split(".")[0])
    assert vocabulary.train(corpus(), tmp_path / "w.model", smallest + 1).size == smallest + 1
    with pytest.raises(ValueError, match="no text"):
        vocabulary.train([" ", "\n"], tmp_path / "small.model", 430)
    assert not (tmp_path / "small.model").exists()


def test_a_failed_write_leaves_the_old_file(path, tmp_path, monkeypatch):
    target = tmp_path / "w.model"
    target.write_bytes(path.read_bytes())

    def full_disk(number: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        vocabulary.add_language(target, "mdw")
    assert target.read_bytes() == path.read_bytes()
    assert os.listdir(tmp_path) == ["w.model"]


def test_files_that_are_no_vocabulary_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no path is given. Set Data.vocabulary"):
        vocabulary.Vocabulary.load("")
    with pytest.raises(ValueError, match=r"(?s)absent.model': No such file.*Set Data.vocabulary"):
        vocabulary.Vocabulary.load(tmp_path / "absent.model")
    (tmp_path / "text.model").write_text("no model at all")
    with pytest.raises(ValueError, match="is not a SentencePiece model"):
        vocabulary.Vocabulary.load(tmp_path / "text.model")


def test_a_mismatch_names_both(words, tmp_path):
    other = vocabulary.train(corpus(), tmp_path / "other.model", 600)
    vocabulary.check_same(words.hash, words, "the checkpoint")
    with pytest.raises(ValueError, match=f"the checkpoint was made with the vocabulary {words.hash}.*{other.hash}"):
        vocabulary.check_same(words.hash, other, "the checkpoint")
