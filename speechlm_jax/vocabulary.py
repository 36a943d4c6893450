"""The vocabulary: one SentencePiece model for all languages, tasks and objectives of a run.

Ids in their order: <pad> </s> <unk> <s> <mask>, task tokens, sentinels, languages, reserved
languages, 256 bytes, then learned pieces. All but bytes and pieces are control symbols: no text encodes to them.
"""

import difflib
import functools
import hashlib
import io
import os
import pathlib
import random
import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from speechlm_jax import whole_files

PAD, EOS, UNK, BOS, MASK = range(5)
"""Padding, which is the blank of CTC too; end of text; what no piece covers; the decoder's first input; masked text."""

FILE = "vocabulary.model"
"""The copy of the vocabulary in a run's folder: with it a checkpoint can be used anywhere."""

TASKS = ("transcribe", "translate", "speak", "answer", "classify", "match", "denoise", "continue")
LANGUAGES = (
    *("en", "de", "fr", "es", "zh", "pl", "ru", "ja", "ko", "it", "pt", "nl"),
    *("ar", "hi", "tr", "vi", "id", "fa", "uk", "cs", "sv", "ro", "el", "he"),
)
"""ISO 639 codes that get a token where none are asked for."""
RESERVED_LANGUAGES = 32
"""Slots for languages that join later; see add_language."""
ROUND_TO = 128

_ModelProto: Any = sentencepiece_model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]
SPECIALS = ("<pad>", "</s>", "<unk>", "<s>", "<mask>")
_SPACE = "\u2581"
"""What SentencePiece writes for a space."""
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_CODE = re.compile(r"(?!reserved_)[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")


class Vocabulary:
    """Text to ids and back. Cheap to load; safe to share between threads."""

    forbidden: tuple[int, ...] = ()
    """Ids that no decoder is to write."""
    forbidden_first: tuple[int, ...] = ()
    """Those that it is not to begin with."""

    def __init__(self, model: bytes, path: str = ""):
        """model: a SentencePiece model that `train` made. Raises ValueError for any other."""
        self.path = path
        try:
            proto = _ModelProto.FromString(model)
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (message.DecodeError, RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"loading the vocabulary '{path}': it is not a SentencePiece model ({error}).") from None
        pieces = [piece.piece for piece in proto.pieces]
        if not all(isinstance(piece, str) for piece in pieces):
            raise ValueError(f"loading the vocabulary '{path}': some of its pieces are no UTF-8. Train another.")
        first_byte = pieces.index("<0x00>") if "<0x00>" in pieces else 0
        self._controls = {name: i for i, name in enumerate(pieces[:first_byte])}
        wanted = (*SPECIALS, *(f"<task:{task}>" for task in TASKS))
        slots = [name for name in self._slots if name.startswith("<lang:")]
        if tuple(pieces[: len(wanted)]) != wanted or len(slots) < RESERVED_LANGUAGES:
            raise ValueError(
                f"loading the vocabulary '{path}': its first pieces are not those of this project, wanted "
                f"{', '.join(wanted)}, found {', '.join(pieces[:8])} ... Train one: "
                "speechlm data --train_vocabulary=SIZE."
            )
        self.size = len(pieces)
        """Pieces, special ones included."""
        self.bytes = range(first_byte, first_byte + 256)
        """The ids of pieces that are a byte each."""
        self.learned = range(self.bytes.stop, self.size)
        """The ids of learned pieces: neither special nor bytes."""
        self.num_sentinels = sum(name.startswith("<sentinel:") for name in self._controls)
        self.hash = _hash(proto)
        """16 hexadecimal digits of the content; the names of reserved languages are left out of it."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Reads a vocabulary file. Raises ValueError where there is none."""
        try:
            model = pathlib.Path(path).read_bytes() if str(path) else None
        except OSError as error:
            model, reason = None, error.strerror
        else:
            reason = "no path is given"
        if model is None:
            raise ValueError(
                f"loading the vocabulary '{path}': {reason}. Set Data.vocabulary to a file that "
                "`speechlm data --train_vocabulary=SIZE` wrote."
            )
        return cls(model, str(path))

    @functools.cached_property
    def begins_word(self) -> list[bool]:
        """Of each id, whether it begins a word: after a space, or in Chinese characters."""
        pieces = [self._processor.id_to_piece(i) for i in range(self.size)]
        return [piece.startswith(_SPACE) or bool(_HAN.match(piece)) for piece in pieces]

    @property
    def padded_size(self) -> int:
        """`size` rounded up to a multiple of 128: rows of the embedding."""
        return -(-self.size // ROUND_TO) * ROUND_TO

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that have a token."""
        names = [name for name in self._controls if name.startswith("<lang:")]
        return tuple(name[6:-1] for name in names if not name.startswith("<lang:reserved_"))

    @property
    def _slots(self) -> list[str]:
        return list(self._controls)[-RESERVED_LANGUAGES:]

    def encode(self, text: str | bytes) -> list[int]:
        """Ids of a text (bytes: UTF-8), without an end token."""
        return self._processor.encode(text)

    def spell(self, text: str | bytes) -> list[int]:
        """Ids of a text letter by letter: the piece of each character, or its bytes."""
        return [letter for token in self.encode(text) for letter in self._letters[token]]

    @functools.cached_property
    def _letters(self) -> list[list[int]]:
        """Of each id, those of its letters: pieces are made of characters that are pieces themselves."""
        to_id = self._processor.piece_to_id
        return [
            [to_id(letter) for letter in self._processor.id_to_piece(i)] if i in self.learned else [i]
            for i in range(self.size)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end token. Special tokens, padding and ids that are no piece are skipped."""
        kept = []
        for token in ids:
            if token == EOS:
                break
            if len(self._controls) <= token < self.size:
                kept.append(int(token))
        return self._processor.decode(kept)

    def show(self, ids: Iterable[int]) -> str:
        """The whole of `ids` for the eye: text, with special tokens in their places."""
        words, text = [], []
        for token in [*map(int, ids), PAD]:
            if len(self._controls) <= token < self.size:
                text.append(token)
                continue
            words += [self._processor.decode(text)] if text else []
            words.append(self._processor.id_to_piece(token) if 0 <= token < self.size else f"<{token}?>")
            text = []
        return " ".join(words[:-1])

    def token(self, name: str) -> int:
        """The id of a special token, such as '<task:translate>'. Raises ValueError with the nearest name."""
        if name in self._controls:
            return self._controls[name]
        near = difflib.get_close_matches(name, self._controls, 1, 0.0)[0]
        raise ValueError(f"looking up a special token: the vocabulary{self._at} has no '{name}'. Nearest: '{near}'.")

    def language(self, code: str) -> int:
        """The id of a language's token. Raises ValueError where it has none."""
        name = f"<lang:{code}>"
        if name in self._controls and code in self.languages:
            return self._controls[name]
        near = difflib.get_close_matches(code, self.languages, 1, 0.0)
        raise ValueError(
            f"looking up the token of language '{code}': the vocabulary{self._at} has none, it has "
            f"{', '.join(self.languages)}." + (f" Nearest: '{near[0]}'." if near else "") + " "
            "speechlm_jax.vocabulary.add_language(path, code) gives it a reserved one."
        )

    def arranged(self, task: Any, languages: Sequence[Any]) -> list[Any]:
        """The prompt of a task and its languages, in the order that models of this vocabulary learn."""
        return [task, *languages]

    def sentinel(self, index: int) -> int:
        """The id of <sentinel:index>. Raises ValueError where there are not so many."""
        if not 0 <= index < self.num_sentinels:
            raise ValueError(
                f"looking up sentinel {index}: the vocabulary{self._at} has {self.num_sentinels}, counted from 0."
            )
        return self._controls["<sentinel:0>"] + index

    @property
    def _at(self) -> str:
        return f" '{self.path}'" if self.path else ""


_APART = "\x1f"
"""Between texts that no piece is to join; training alone sees it."""


def train(
    texts: Iterable[str],
    path: str | os.PathLike[str],
    size: int,
    *,
    kind: Literal["unigram", "bpe", "words"] = "unigram",
    languages: Sequence[str] = LANGUAGES,
    num_sentinels: int = 100,
    character_coverage: float = 0.9995,
    normalization: str = "identity",
    max_lines: int = 2_000_000,
    seed: int = 0,
) -> Vocabulary:
    """Trains pieces with byte fallback (arXiv 1808.06226) and writes them to `path`.

    The same texts make the same file, byte for byte. `size` counts special tokens and bytes; texts that yield fewer
    pieces make a smaller vocabulary, so look at the `size` of what is returned.

    kind: unigram (arXiv 1804.10959) or bpe (arXiv 1508.07909), which joins what often stands together: of a few
    thousand sentences of one grammar it makes words whole, where the unigram model leaves many in two or three pieces.
    Of Chinese, where no space tells where a word ends and a piece that goes on into the next word hides it, every
    character is a piece by itself; or, of the kind "words", pieces are learned within the words that jieba finds.
    What is looked up in a text is found sooner where it is one piece.
    character_coverage: characters rarer than the rest of this share become bytes.
    normalization: what SentencePiece does to text before it cuts it. "identity" gives back what was put in but for
    runs of spaces; "nmt_nfkc" makes Chinese commas Latin ones, so a task that wants that does it itself.
    max_lines: of more lines than this, a sample drawn by `seed` is looked at.
    Raises ValueError for a size that does not hold special tokens, bytes and the characters of the texts.
    """
    doing = f"training a vocabulary of {size} pieces"
    for code in languages:
        _check_code(code, doing)
    if len(set(languages)) != len(languages) or num_sentinels < 1:
        raise ValueError(
            f"{doing}: wanted different languages and at least one sentinel, found languages={list(languages)}, "
            f"num_sentinels={num_sentinels}."
        )
    lines = _sample((line for text in texts for line in text.splitlines() if line.strip()), max_lines, seed)
    if not lines:
        raise ValueError(f"{doing}: no text was found: it is empty in all records, or no record is left.")
    if kind != "unigram":
        lines = [_apart(line, words=kind == "words") for line in lines]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram" if kind == "unigram" else "bpe",
            pretokenization_delimiter="" if kind == "unigram" else _APART,
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=character_coverage,
            normalization_rule_name=normalization,
            control_symbols=_controls(languages, num_sentinels),
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            bos_id=BOS,
            pad_piece="<pad>",
            max_sentence_length=1 << 20,
            # The sums of expectation maximisation depend on the number of threads in their last bits.
            num_threads=4,
            minloglevel=2,
        )
    except RuntimeError as error:
        smallest = re.search(r"required_chars\. \d+ vs (\d+)", str(error))
        if not smallest:
            raise
        reason = (
            f"special tokens, bytes and single characters alone are {smallest[1]}. Ask for more pieces "
            f"(--train_vocabulary, or experiment.run.pieces), or for "
            f"less than character_coverage={character_coverage}."
        )
        raise ValueError(f"{doing}: {reason}") from None
    _write(path, model.getvalue())
    return Vocabulary.load(path)


def _controls(languages: Sequence[str], num_sentinels: int) -> list[str]:
    """The special tokens beside those of SentencePiece, in the order of their ids."""
    return [
        "<mask>",
        *(f"<task:{task}>" for task in TASKS),
        *(f"<sentinel:{i}>" for i in range(num_sentinels)),
        *(f"<lang:{code}>" for code in languages),
        *(f"<lang:reserved_{i}>" for i in range(RESERVED_LANGUAGES)),
    ]


def add_language(path: str | os.PathLike[str], code: str) -> int:
    """Gives a reserved language token the name of `code`, in the file; returns its id. The hash stays, so that
    checkpoints go on to fit. A language that is there already is left as it is. Raises ValueError when none is free."""
    doing = f"adding language '{code}' to the vocabulary '{path}'"
    _check_code(code, doing)
    words = Vocabulary.load(path)
    if code in words.languages:
        return words.language(code)
    proto = _ModelProto.FromString(pathlib.Path(path).read_bytes())
    slot = next((name for name in words._slots if name.startswith("<lang:reserved_")), None)
    if slot is None:
        raise ValueError(f"{doing}: its {RESERVED_LANGUAGES} reserved tokens are taken. Train a new vocabulary.")
    index = words.token(slot)
    name = f"<lang:{code}>"
    proto.pieces[index].piece = name
    symbols = proto.trainer_spec.control_symbols
    symbols[list(symbols).index(slot)] = name
    _write(path, proto.SerializeToString(deterministic=True))
    return index


def check_same(expected_hash: str, vocabulary: Vocabulary, where: str) -> None:
    """Raises ValueError unless `vocabulary` has this hash. where: what was made with the expected one."""
    if vocabulary.hash != expected_hash:
        raise ValueError(
            f"{where} was made with the vocabulary {expected_hash}, and '{vocabulary.path}' is {vocabulary.hash}: "
            "the same ids would mean other text. Set Data.vocabulary to the file it was made with."
        )


def _check_code(code: str, doing: str) -> None:
    if not _CODE.fullmatch(code):
        raise ValueError(f"{doing}: a language code is letters, digits and '-', such as 'pt-BR', found {code!r}.")


def _sample(lines: Iterable[str], number: int, seed: int) -> list[str]:
    """At most `number` of the lines, each as likely as any other (Vitter 1985, algorithm R)."""
    kept: list[str] = []
    draw = random.Random(seed)
    for i, line in enumerate(lines):
        if i < number:
            kept.append(line)
        elif (j := draw.randrange(i + 1)) < number:
            kept[j] = line
    return kept


def _apart(line: str, words: bool) -> str:
    """The line with its Chinese characters, or words, apart from all that stands beside them."""
    if not _HAN.search(line):
        return line
    parts = line
    if words:
        # Runs read vocabularies; only making one of whole words needs the dictionary.
        import rjieba

        parts = rjieba.cut(line)
    return "".join(f"{_APART}{part}{_APART}" if _HAN.search(part) else part for part in parts)


def _hash(proto: Any) -> str:
    """Over what decides which ids a text gets; field by field, because a protocol buffer's bytes may change."""
    digest = hashlib.sha256()
    pieces = list(proto.pieces)
    end = next(i for i, piece in enumerate(pieces) if piece.piece == "<0x00>")
    for i, piece in enumerate(pieces):
        name = f"reserved {i}" if end - RESERVED_LANGUAGES <= i < end else piece.piece
        digest.update(name.encode() + struct.pack("<xfi", piece.score, piece.type))
    rules, trainer = proto.normalizer_spec, proto.trainer_spec
    digest.update(rules.precompiled_charsmap)
    flags = (
        rules.add_dummy_prefix,
        rules.remove_extra_whitespaces,
        rules.escape_whitespaces,
        trainer.treat_whitespace_as_suffix,
        trainer.byte_fallback,
    )
    digest.update(struct.pack("<?????i", *flags, trainer.model_type))
    return digest.hexdigest()[:16]


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_files.whole(path) as part:
        part.write_bytes(content)
