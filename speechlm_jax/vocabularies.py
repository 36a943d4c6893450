"""Every kind of vocabulary, by its file."""

import os

from speechlm_jax import vocabulary, whisper_vocabulary, whole_files


def load(path: str | os.PathLike[str]) -> vocabulary.Vocabulary:
    """Reads a vocabulary file, trained here or of a Whisper. Raises ValueError where there is none."""
    if str(path) and os.path.isfile(path):
        whole_files.check_size(os.path.getsize(path))
        with open(path, "rb") as file:
            content = file.read()
        if whisper_vocabulary.WhisperVocabulary.reads(content):
            return whisper_vocabulary.WhisperVocabulary(content, str(path))
    return vocabulary.Vocabulary.load(path)
