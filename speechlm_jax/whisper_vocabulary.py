"""The tokens of a Whisper, byte pairs and special ones, under ids of ours."""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import vocabulary

_OURS = {
    "</s>": "<|endoftext|>",
    "<s>": "<|startoftranscript|>",
    "<task:transcribe>": "<|transcribe|>",
    "<task:translate>": "<|translate|>",
}
"""Special tokens that both have."""
_PLAIN = "<|notimestamps|>"
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


TOKENS, GENERATION = "tokenizer.json", "generation_config.json"
"""Files of a Whisper's folder: its tokens, and which of them it is not to write."""


def content(files: Mapping[str, Mapping[str, Any]], rows: int) -> bytes:
    """The file of such a vocabulary, from the small files of a Whisper's folder, by name; `rows` has its embedding.

    Raises ValueError where a token is missing that a Whisper cannot do without.
    """
    added = files.get(TOKENS, {}).get("added_tokens", ())
    names = {entry.get("content") for entry in added if isinstance(entry, dict)}
    lacking = [name for name in (*_OURS.values(), _PLAIN) if name not in names]
    if lacking:
        raise ValueError(f"reading the tokens of a Whisper: {TOKENS} lacks {', '.join(lacking)}.")
    return json.dumps({"kind": "whisper", "rows": rows, "files": files}, ensure_ascii=False, sort_keys=True).encode()


class WhisperVocabulary(vocabulary.Vocabulary):
    """Ours are: the special tokens of every vocabulary of this project, languages, then Whisper's tokens of text in
    their order, then what else it has. Those that Whisper lacks have ids too, and are never written."""

    def __init__(self, model: bytes, path: str = ""):
        """model: what `content` made. Raises ValueError for anything else, or where the library is not installed."""
        self.path = path
        try:
            import tokenizers

            told = json.loads(model)
            self.files: dict[str, Any] = told["files"]
            """The small files of its folder, by name."""
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(self.files[TOKENS]))
            # Else a text that spells a special token would become one.
            self._tokenizer.encode_special_tokens = True
            theirs = {entry["content"]: int(entry["id"]) for entry in self.files[TOKENS]["added_tokens"]}
            generation = self.files.get(GENERATION, {})
            rows, self._multilingual = int(told["rows"]), bool(generation.get("is_multilingual", True))
            suppressed = generation.get("suppress_tokens") or ()
            suppressed_first = generation.get("begin_suppress_tokens") or ()
            text = min(theirs.values())
            if max(theirs.values()) >= rows or self._tokenizer.get_vocab_size() > rows:
                raise ValueError(f"it has more tokens than the {rows} rows of the embedding")
        except ImportError:
            raise ValueError(
                f"loading the vocabulary '{path}': it is a Whisper's, and wants tokenizers, which is not installed. "
                "Install the extra [whisper]: pip install -c constraints.txt -e '.[whisper]'."
            ) from None
        except Exception as error:  # The library raises Exception itself.
            raise ValueError(f"loading the vocabulary '{path}': it is no Whisper's ({error}).") from None
        codes = {found[1]: name for name in theirs if (found := _LANGUAGE.fullmatch(name))}
        shared = {**_OURS, **{f"<lang:{code}>": name for code, name in codes.items()}}
        first = [
            *vocabulary.SPECIALS,
            *(f"<task:{task}>" for task in vocabulary.TASKS),
            *(f"<lang:{code}>" for code in codes),
        ]
        rest = [name for name in sorted(theirs, key=theirs.__getitem__) if name not in shared.values()]
        self._controls = {name: number for number, name in enumerate(first)}
        self.learned = range(len(first), len(first) + text)
        self.bytes = range(0)  # Those of its byte pairs are learned, too.
        self._controls |= {name: self.learned.stop + number for number, name in enumerate(rest)}
        self.num_sentinels = 0
        decides = [self.files[TOKENS], rows, self._multilingual, sorted(suppressed), sorted(suppressed_first)]
        self.hash = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        named = {shared.get(name, name): number for name, number in self._controls.items()}
        self.theirs = np.full(rows, -1, np.int64)
        """Of each of their rows the id that it has here."""
        self.theirs[:text] = self.learned
        for name, number in theirs.items():
            self.theirs[number] = named[name]
        # Rows that no token has: at the end, so that none is lost on the way back.
        spare = np.flatnonzero(self.theirs < 0)
        after = self.learned.stop + len(rest)
        self.theirs[spare] = after + np.arange(len(spare))
        self.size = after + len(spare)
        strange = sorted({*range(self.size)} - {*self.theirs.tolist()})
        unused = [*strange, *self.theirs[spare].tolist(), *range(self.size, self.padded_size)]
        self.forbidden = tuple(sorted({*unused, *self._of(suppressed)}))
        self.forbidden_first = tuple(self._of(suppressed_first))

    @classmethod
    def reads(cls, model: bytes) -> bool:
        """Whether a file is of this kind."""
        return model[:1] == b"{"

    @functools.cached_property
    def begins_word(self) -> list[bool]:
        """See Vocabulary.begins_word."""
        pieces = [self._tokenizer.id_to_token(number) or "" for number in range(len(self.learned))]
        begins = [False] * self.size
        begins[self.learned.start : self.learned.stop] = [piece.startswith("\u0120") for piece in pieces]
        return begins

    @property
    def languages(self) -> tuple[str, ...]:
        """See Vocabulary.languages."""
        return tuple(name[6:-1] for name in self._controls if name.startswith("<lang:"))

    def encode(self, text: str | bytes) -> list[int]:
        """Ids of a text, without an end token; no text encodes to special tokens."""
        plain = text.decode() if isinstance(text, bytes) else text
        return [self.learned.start + number for number in self._tokenizer.encode(plain, add_special_tokens=False).ids]

    def spell(self, text: str | bytes) -> list[int]:
        """Ids of a text letter by letter."""
        plain = text.decode() if isinstance(text, bytes) else text
        return [token for letter in plain for token in self.encode(letter)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end token; the space with which Whisper begins texts is left out."""
        kept = []
        for token in ids:
            if token == vocabulary.EOS:
                break
            if token in self.learned:
                kept.append(int(token) - self.learned.start)
        return self._tokenizer.decode(kept, skip_special_tokens=True).removeprefix(" ")

    def show(self, ids: Iterable[int]) -> str:
        """The whole of `ids` for the eye."""
        names = {number: name for name, number in self._controls.items()}
        words: list[str] = []
        text: list[int] = []
        for token in [*map(int, ids), vocabulary.PAD]:
            if token in self.learned:
                text.append(token)
                continue
            words += [self.decode(text)] if text else []
            words.append(names.get(token, f"<{token}?>"))
            text = []
        return " ".join(words[:-1])

    def arranged(self, task: Any, languages: Sequence[Any]) -> list[Any]:
        """The language of the speech, the task, and that no times are wanted; a Whisper that knows one language is told
        the last alone. Raises ValueError for what such a prompt cannot say."""
        plain: Any = self._controls[_PLAIN]
        if len(languages) > 1 and isinstance(languages[1], int) and languages[1] != self._controls.get("<lang:en>"):
            raise ValueError(
                "prompting a Whisper: it translates to English alone. Set --to, or target_language, to en."
            )
        if self._multilingual:
            return [*languages[:1], task, plain]
        if task != self._controls["<task:transcribe>"]:
            raise ValueError("prompting a Whisper of one language: it transcribes, and no prompt says anything else.")
        return [plain]

    def _of(self, theirs: Sequence[int]) -> list[int]:
        return self.theirs[[number for number in theirs if 0 <= number < len(self.theirs)]].tolist()
