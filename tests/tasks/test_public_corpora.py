"""Public corpora: every task of them reads its builder's real features, and fills the lanes of its objective."""

import ast
import importlib
import itertools
import pathlib
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest
import seqio
import tfds_corpora

import tasks
from speechlm_jax.data import features, others, seeds, tfds_source

MODULES = [f"tasks.{found.name}" for found in pkgutil.iter_modules(tasks.__path__) if not found.ispkg]

LANES = {
    "recognition": {"audio", "prompt", "targets"},
    "masked_speech": {"audio"},
    "matching": {"audio", "prompt", "targets"},
    "text_to_speech": {"inputs", "target_audio"},
    "span_corruption": {"inputs", "targets"},
    "prefix_language_model": {"inputs", "prompt", "targets"},
    "masked_language_model": {"inputs", "masked_tokens", "masked_weights"},
    "shuffled_spans": {"inputs", "prompt", "targets"},
    "translation": {"inputs", "prompt", "targets"},
    "question_answering": {"inputs", "prompt", "targets"},
    "language_identification": {"audio", "inputs", "prompt", "targets"},
    "commands": {"audio", "inputs", "prompt", "targets"},
    "emotion": {"audio", "inputs", "prompt", "targets"},
    "sentiment": {"inputs", "prompt", "targets"},
    "glue": {"inputs", "prompt", "targets"},
}
"""What the examples of a task fill, by a word of its name."""


def source_of(task):
    """The TFDS source of a task, also one that brings others along; None where it has none."""
    source = task.source
    if isinstance(source, others.WithOthers):
        source = source.source
    return source if isinstance(source, tfds_source.TfdsSource) else None


for module in MODULES:
    importlib.import_module(module)
SOURCES = {
    name: source for name in sorted(seqio.TaskRegistry.names()) if (source := source_of(seqio.TaskRegistry.get(name)))
}
TASKS = list(SOURCES)


def quick(names):
    """Of tasks that differ in their languages alone, all but the first are marked slow."""
    seen = set()
    for name in names:
        kind = re.sub(r"_[a-z]{2}(?=_|$)", "", name)
        yield pytest.param(name, marks=[pytest.mark.slow] if kind in seen else [])
        seen.add(kind)


pytestmark = pytest.mark.usefixtures("words")


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory):
    """Every builder that a task names, prepared with all its splits."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    wanted = {}
    for name in TASKS:
        for there in SOURCES[name].splits_there.values():
            for part in there.split("+"):
                # A hundredth of a split is to have an example, too.
                count = 100 if "[" in part else 2
                wanted.setdefault(SOURCES[name].name, {})[re.sub(r"\[.*", "", part)] = count
    for name, splits in wanted.items():
        tfds_corpora.write(name, folder, splits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        yield folder


def test_there_are_tasks_of_public_corpora():
    assert len(TASKS) > 100
    assert {SOURCES[name].name.split("/")[0] for name in TASKS} >= {"librispeech", "xtreme_s", "c4", "squad"}


@pytest.mark.parametrize("name", list(quick(TASKS)))
def test_an_example_fills_the_lanes_of_its_objective(name):
    task = seqio.TaskRegistry.get(name)
    split = next(iter(task.source.splits))
    with seeds.position_seeds(0, name):
        dataset = task.get_dataset(None, split, shuffle=False)
    found = list(itertools.islice(dataset.as_numpy_iterator(), 2))
    assert len(found) == 2
    (lanes,) = (lanes for word, lanes in LANES.items() if word in name)
    always = {"ctc", "claim", "mask_share", "weight"}
    for example in found:
        filled = {lane for lane in features.OUTPUT_FEATURES if lane not in always and len(example[lane])}
        assert filled == lanes
        for lane in filled & {"audio", "target_audio"}:
            assert example[lane].dtype == np.int16
            assert len(example[lane]) == pytest.approx(0.6 * 16_000, abs=2)
            assert 11_000 < np.abs(example[lane].astype(int)).max() < 13_500


def test_every_split_of_a_task_opens_and_has_its_fields():
    for source in {repr(SOURCES[name]): SOURCES[name] for name in TASKS}.values():
        for split in source.splits:
            assert source.num_input_examples(split) > 0, (source, split)


def test_a_sentence_of_ted_without_one_of_the_languages_is_left_out(words):
    task = seqio.TaskRegistry.get("ted_translation_zh_en")
    (example, *_) = task.get_dataset(None, "train", shuffle=False).as_numpy_iterator()
    assert example["targets_pretokenized"].decode().endswith(" en")
    assert words.decode(example["inputs"].tolist()).endswith(" zh-cn")


def test_emotions_of_both_corpora_are_the_same_words():
    task = seqio.TaskRegistry.get("crema_d_emotion")
    found = [one["targets_pretokenized"] for one in task.get_dataset(None, "train", shuffle=False).as_numpy_iterator()]
    assert found == [b"neutral", b"happiness"]


@pytest.mark.slow
def test_registering_tasks_opens_no_corpus():
    # SeqIO itself imports TensorFlow Datasets; what a corpus needs of it comes with its builder.
    program = (
        "import importlib, sys, seqio\n"
        "def parts(): return {name for name in sys.modules if name.startswith('tensorflow_datasets')}\n"
        f"before = parts()\nfor name in {MODULES!r}: importlib.import_module(name)\n"
        "print(sorted(parts() - before))"
    )
    root = pathlib.Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_the_source_imports_tensorflow_datasets_only_where_a_corpus_is_opened():
    tree = ast.parse(pathlib.Path(tfds_source.__file__).read_text())
    at_the_top = [ast.unparse(line) for line in tree.body if isinstance(line, ast.Import | ast.ImportFrom)]
    assert at_the_top and not [line for line in at_the_top if "tensorflow_datasets" in line]
