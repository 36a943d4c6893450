"""Augmentation in the stream: by where an example stands alone, in training alone; and as a task's preprocessor."""

import dataclasses

import hold_recipe
import numpy as np
import pytest
import seqio
import tensorflow as tf

from speechlm_jax import batch, vocabulary
from speechlm_jax.data import (
    config,
    features,
    noisy,
    objectives,
    one_pass,
    pipeline,
    preprocessors,
    quarantine,
    sources,
    stream,
    stream_position,
)

ALL = config.Augmentation(
    speed=(0.9, 1.1), room_seconds=(0.1, 0.8), noise_db=(5, 30), gain_db=(-12, 6), band_limit_share=1.0
)
NOISE = config.Augmentation(noise_db=(5, 30))
GAIN = config.Augmentation(gain_db=(-12, 6))

ROW = batch.Row(audio_seconds=3.0, inputs=40, targets=48, target_audio_seconds=2.0, segments=6)
SETTINGS = config.Stream(mixture="noisy_test", data_shards=4, open_rows=3)
WORDS = ["red", "green", "blue", "one", "two", "three", "four", "five", "six", "seven", "left", "right"]


def sentence(index: int, length: int = 4) -> str:
    return " ".join(WORDS[(index * 7 + 3 * place) % len(WORDS)] for place in range(length))


def twice(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Two examples of each record, of the same speech."""
    return dataset.flat_map(lambda example: tf.data.Dataset.from_tensors(example).repeat(2))


@pytest.fixture(scope="module", autouse=True)
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "vocabulary.model"
    vocabulary.train([sentence(i, 9) for i in range(300)], path, 450)
    random = np.random.default_rng(0)
    records = [
        {"id": f"speech-{i}", "audio": noise(int(random.integers(3000, 12_000)), seed=i), "text": sentence(i)}
        for i in range(23)
    ]
    speech = {"train": records, "test": records[:5]}
    texts = {"train": [{"id": f"text-{i}", "text": sentence(i, 8)} for i in range(11)]}
    denoising = [
        preprocessors.rename(target_audio="audio"),
        noisy.augmented("target_audio", "audio", choices=config.Augmentation(noise_db=(0, 10))),
        preprocessors.lanes(),
    ]
    made = {
        "noisy_speech": (sources.SequenceSource(speech), objectives.recognition()),
        "noisy_twice": (sources.SequenceSource(speech), [twice, *objectives.recognition()]),
        "noisy_text": (sources.SequenceSource(texts), objectives.masked_language_model()),
        "noisy_denoising": (sources.SequenceSource(speech), denoising),
    }
    for name, (source, steps) in made.items():
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, steps)
    mixed = ["noisy_speech", "noisy_twice", "noisy_text"]
    seqio.MixtureRegistry.add("noisy_test", mixed, default_rate=1.0)
    with features.bound(path):
        yield
    seqio.MixtureRegistry.remove("noisy_test")
    for name in made:
        seqio.TaskRegistry.remove(name)


def opened(choices: config.Augmentation | None = ALL, settings: config.Stream = SETTINGS, **others) -> stream.Stream:
    return stream.Stream(settings, ROW, rows=8, seed=others.pop("seed", 1), augmentation=choices, **others)


def noise(length: int, seed: int) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(0, 1000, length)).astype(np.int16)


def energy(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).sum())


def take(source: stream.Stream, number: int) -> list[stream_position.Step]:
    steps = [next(source) for _ in range(number)]
    source.close()
    return steps


def drawn(task: str, choices: config.Augmentation | None, number: int, **others) -> list[dict]:
    source = opened(choices, dataclasses.replace(SETTINGS, mixture=task, data_shards=1), **others)
    examples = source.draw(number)[:number]
    source.close()
    return examples


def lanes_of(made: batch.Batch) -> dict[str, np.ndarray]:
    return {
        f"{lane}.{name}": value
        for lane, fields in zip(made._fields, made, strict=True)
        if fields is not None
        for name, value in fields._asdict().items()
    }


def assert_same(left: batch.Batch, right: batch.Batch) -> None:
    one, other = lanes_of(left), lanes_of(right)
    assert one.keys() == other.keys()
    assert not [name for name in one if not np.array_equal(one[name], other[name])]


@pytest.mark.slow
def test_an_augmented_stream_goes_on_bit_for_bit_wherever_it_is_cut():
    through = take(opened(), 6)
    for cut in (1, 4):
        resumed = take(opened(state=through[cut - 1].state), 6 - cut)
        for want, got in zip(through[cut:], resumed, strict=True):
            assert_same(want.batch, got.batch)
            assert want.state == got.state
    plain = take(opened(None), 1)[0].batch
    assert not np.array_equal(plain.audio.samples, through[0].batch.audio.samples)


@pytest.mark.slow
def test_any_number_of_hosts_and_threads_augments_alike():
    whole = take(opened(), 4)
    threads = dataclasses.replace(SETTINGS, read_threads=5)
    parts = [take(opened(settings=threads, shards=range(2 * host, 2 * host + 2)), 4) for host in range(2)]
    for step, want in enumerate(whole):
        halves = [lanes_of(part[step].batch) for part in parts]
        for name, value in lanes_of(want.batch).items():
            assert np.array_equal(np.concatenate([half[name] for half in halves]), value), name


def gains_db(task: str, number: int, seed: int = 1) -> np.ndarray:
    pairs = zip(drawn(task, None, number, seed=seed), drawn(task, GAIN, number, seed=seed), strict=True)
    return np.array([10 * np.log10(energy(changed["audio"]) / energy(plain["audio"])) for plain, changed in pairs])


@pytest.mark.slow
def test_the_stream_augments_by_run_task_position_and_piece():
    # Two pieces of each record, in two epochs: 92 numbers, few of which come near each other.
    gains = gains_db("noisy_twice", 92)
    assert -12 <= gains.min() < -10 and 4 < gains.max() <= 6
    assert len(np.unique(np.round(gains, 2))) > 80
    assert not np.isclose(gains, gains_db("noisy_twice", 92, seed=2), atol=0.01).mean() > 0.1
    assert not np.isclose(gains[::2], gains_db("noisy_speech", 46), atol=0.01).mean() > 0.1


def test_examples_without_speech_are_left_alone():
    for one, other in zip(drawn("noisy_text", None, 12), drawn("noisy_text", ALL, 12), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_share_of_the_stream_is_changed():
    some = dataclasses.replace(NOISE, noise_share=0.5)
    pairs = zip(drawn("noisy_speech", None, 200), drawn("noisy_speech", some, 200), strict=True)
    same = [np.array_equal(one["audio"], other["audio"]) for one, other in pairs]
    assert np.mean(same) == pytest.approx(0.5, abs=0.12)


def test_speed_is_counted_in_the_room_that_an_example_takes():
    slow = config.Augmentation(speed=(0.5, 0.5))
    pairs = zip(drawn("noisy_speech", None, 5), drawn("noisy_speech", slow, 5), strict=True)
    assert all(len(other["audio"]) == 2 * len(one["audio"]) for one, other in pairs)
    told: list[quarantine.BadRecord] = []
    small = dataclasses.replace(ROW, audio_seconds=1.0)
    settings = dataclasses.replace(SETTINGS, mixture="noisy_speech", bad_records=config.BadRecords(max_share=1.0))
    source = stream.Stream(settings, small, rows=8, seed=1, augmentation=slow, on_bad=told.append)
    next(source)
    source.close()
    assert told and all("lane audio: needs" in record.reason for record in told)


def test_evaluation_reads_speech_as_it_is():
    task = seqio.TaskRegistry.get("noisy_speech")
    found = list(one_pass.examples(task, "test", quarantine=quarantine.Quarantine(config.BadRecords())))
    for example in found:
        number = int(example["id"].decode().split("-")[1])
        assert len(example["audio"]) >= 3000
        assert np.array_equal(example["audio"], noise(len(example["audio"]), seed=number))


def test_a_changed_augmentation_is_refused_by_its_name():
    def made(choices):
        return stream.fingerprint(
            config.Data(row=ROW, rows=8, stream=SETTINGS, augmentation=choices), seed=1, vocabulary="abc"
        )

    stream_position.check(made(ALL), made(dataclasses.replace(ALL)))
    stream_position.check(made(None), made(config.Augmentation()))
    stream_position.check({name: value for name, value in made(None).items() if name != "augmentation"}, made(None))
    with pytest.raises(ValueError, match=r"augmentation.speed: \[0.9, 1.1\] -> \[0.8, 1.1\]"):
        stream_position.check(made(ALL), made(dataclasses.replace(ALL, speed=(0.8, 1.1))))
    with pytest.raises(ValueError, match="augmentation: None -> "):
        stream_position.check(made(None), made(NOISE))


def test_a_denoising_task_hears_noise_and_speaks_clean():
    first = drawn("noisy_denoising", None, 40)
    for one, other in zip(first, drawn("noisy_denoising", None, 40), strict=True):
        assert np.array_equal(one["audio"], other["audio"])
        number = int(one["id"].decode().split("-")[1])
        assert np.array_equal(one["target_audio"], noise(len(one["target_audio"]), seed=number))
        added = one["audio"].astype(np.float64) - one["target_audio"]
        assert 0 <= 10 * np.log10(energy(one["target_audio"]) / energy(added)) <= 10
    assert len({one["audio"].tobytes() for one in first}) == 40


def test_the_preprocessor_works_with_seqio_alone():
    task = seqio.TaskRegistry.get("noisy_denoising")
    examples = list(task.get_dataset(None, "test", shuffle=False, seed=3, try_in_mem_cache=False).as_numpy_iterator())
    assert len(examples) == 5
    assert all(not np.array_equal(one["audio"], one["target_audio"]) for one in examples)


def test_a_field_that_is_not_there_is_told():
    dataset = tf.data.Dataset.from_tensors({"text": "one"})
    with pytest.raises(ValueError, match="augmenting speech: an example has no field 'audio'"):
        noisy.augmented(choices=ALL)(dataset)


def test_the_reader_changes_nothing_unless_asked():
    task = seqio.TaskRegistry.get("noisy_speech")
    for choices in (None, config.Augmentation()):
        reader = pipeline.Reader(
            task,
            "test",
            lambda: iter(range(5)),
            seed=0,
            quarantine=quarantine.Quarantine(config.BadRecords()),
            shuffle=False,
            augmentation=choices,
        )
        for number in range(5):
            (example,) = reader.take(number)
            assert np.array_equal(example["audio"], noise(len(example["audio"]), seed=number))


def test_a_recipe_binds_what_it_wants(tmp_path):
    recipe = tmp_path / "recipe.gin"
    recipe.write_text(
        """from __gin__ import dynamic_registration
from speechlm_jax.data import config as data

include 'gin_configs/recipes/quickstart.gin'
data.Data.augmentation = @data.Augmentation()
data.Augmentation.speed = (0.9, 1.1)
data.Augmentation.band_limit_share = 0.2
"""
    )
    made, text = hold_recipe.read(str(recipe))
    assert made.data.augmentation == config.Augmentation(speed=(0.9, 1.1), band_limit_share=0.2)
    assert "augmentation = @speechlm_jax.data.config.Augmentation()" in text
