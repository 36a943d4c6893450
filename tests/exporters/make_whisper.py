"""Makes a Whisper of random weights with transformers, and what it says: what ours is held to.

python tests/exporters/make_whisper.py FOLDER [--shape=small|tiny|base]

It wants the extra [bench]. tests/exporters/whisper was made by it, of the shape `small`.
"""

import argparse
import json
import pathlib

import numpy as np

SHAPES = {"small": (16, 2, 2, 50, 60), "tiny": (384, 6, 4, 1500, 448), "base": (512, 8, 6, 1500, 448)}
"""Width, heads, layers, places of the encoder and of the decoder."""
SENTENCES = ["the small house by the sea", "you and me", "el gato come pan", "12 red apples, please!", "你好"] * 4
STEPS = 12


def tokenizer():
    """Byte pairs of a few sentences, and Whisper's special tokens."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(SENTENCES, trainer)
    names = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|es|>", "<|zh|>", "<|translate|>", "<|transcribe|>"]
    made.add_special_tokens([*names, "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"])
    return made


def waveform(seconds: float) -> np.ndarray:
    """int16, 16 kHz: a few tones and noise."""
    time, random = np.arange(int(16_000 * seconds)) / 16_000, np.random.default_rng(0)
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 450, 1300))
    return (2_000 * tones * np.sin(3 * time) + random.normal(0, 300, len(time))).astype(np.int16)


def features(samples: np.ndarray, seconds: float) -> np.ndarray:
    """As transformers extracts them, padded with silence."""
    import transformers

    extractor = transformers.WhisperFeatureExtractor(chunk_length=seconds)
    given = np.pad(samples, (0, int(16_000 * seconds) - len(samples))).astype(np.float32) / 32_768
    return extractor(given, sampling_rate=16_000, return_tensors="np").input_features


def make(folder: pathlib.Path, shape: str) -> None:
    """Writes the model, and what.npz of what it says of a recording."""
    import torch
    import transformers

    width, heads, layers, places, text_places = SHAPES[shape]
    words = tokenizer()
    token = words.token_to_id
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=words.get_vocab_size() + 3,  # As Whisper's, a few more than there are tokens.
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_source_positions=places,
        max_target_positions=text_places,
        pad_token_id=token("<|endoftext|>"),
        bos_token_id=token("<|endoftext|>"),
        eos_token_id=token("<|endoftext|>"),
        decoder_start_token_id=token("<|startoftranscript|>"),
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.3 if shape == "small" else 0.06,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith("bias") or "layer_norm.weight" in name:
                weights.add_(0.1 * torch.randn_like(weights))
    seconds = places * 0.02
    samples = waveform(0.8 * seconds)
    heard = torch.from_numpy(features(samples, seconds))
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    prompt = [token(name) for name in names]
    suppressed = [token("<|nospeech|>"), *range(words.get_vocab_size(), config.vocab_size)]
    text = prompt + words.encode("the small house").ids
    with torch.no_grad():
        hidden = model.model.encoder(heard).last_hidden_state
        logits = model(heard, decoder_input_ids=torch.tensor([text])).logits
        written = list(prompt)
        for number in range(STEPS):
            scores = model(heard, decoder_input_ids=torch.tensor([written])).logits[0, -1]
            scores[suppressed + ([] if number else [token("<|endoftext|>")])] = -torch.inf
            next_token = int(scores.argmax())
            if next_token == token("<|endoftext|>"):
                break
            written.append(next_token)
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={name: token(name) for name in ("<|en|>", "<|es|>", "<|zh|>")},
        task_to_id={"transcribe": token("<|transcribe|>"), "translate": token("<|translate|>")},
        no_timestamps_token_id=token("<|notimestamps|>"),
        max_length=text_places,
        suppress_tokens=suppressed,
        begin_suppress_tokens=[token("<|endoftext|>")],
        decoder_start_token_id=token("<|startoftranscript|>"),
        eos_token_id=token("<|endoftext|>"),
        pad_token_id=token("<|endoftext|>"),
    )
    model.save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    np.savez_compressed(
        folder / "said.npz",
        samples=samples,
        features=heard.numpy()[0].T,
        hidden=hidden.numpy()[0],
        text=np.array(text),
        logits=logits.numpy()[0],
        written=np.array(written[len(prompt) :]),
    )
    print(json.dumps({"written": written, "parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    given = parser.parse_args()
    make(given.folder, given.shape)
