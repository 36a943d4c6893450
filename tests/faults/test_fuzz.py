"""Whatever stands in a file that a stranger wrote, reading it gives what it says or one clear error, and runs nothing.

The error is a ValueError that this project raises on purpose: anything else is a fault of the program.
"""

import io
import json
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechlm_jax import (
    audio,
    checkpoint_report,
    checkpoint_steps,
    checkpoints,
    checksums,
    cli,
    endings,
    flags,
    train,
    vocabularies,
    vocabulary,
    whole_files,
)
from speechlm_jax.data import config, manifest, records, written_rows
from speechlm_jax.training import ledger

pytestmark = pytest.mark.faults
TOLD = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}
FIELDS = st.sampled_from(["id", "audio", "text", "lang", "clips", "gap_ms", "target_audio", "split", "label"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def judged(faults):
    """The function (reading) -> whether it gave something; what else it may do is to raise a clear error."""

    def judge(reading):
        faults.count("fuzz", inputs=1)
        refused = None
        try:
            reading()
        except ValueError as error:
            refused = error
        assert refused is None or (endings.raised_on_purpose(refused) and str(refused).strip()), refused
        return refused is None

    return judge


@st.composite
def altered(draw, content):
    """Bytes near these: some flipped, a part cut out, doubled, or put in another place."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        # Most of what a file says of itself stands at its beginning.
        reach = draw(st.sampled_from([64, 512, len(found)]))
        at = draw(st.integers(0, max(min(reach, len(found)) - 1, 0)))
        match draw(st.sampled_from(["flip", "cut", "double", "end", "fill"])):
            case "flip" if found:
                found[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del found[at : at + draw(st.integers(1, 64))]
            case "double":
                found[at:at] = found[at : at + draw(st.integers(1, 64))]
            case "end":
                del found[at:]
            case "fill" if found:
                found[at : at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]))
    return bytes(found)


@settings(max_examples=1000, **TOLD)
@given(rows=st.lists(st.dictionaries(FIELDS, VALUES, max_size=5), max_size=4))
def test_manifests_of_any_values(tmp_path_factory, judged, rows):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged(lambda: len(manifest.Manifest(path)))


GOOD = b'{"id": "a", "audio": "a.wav", "text": "red one", "lang": "en"}\n{"id": "b", "clips": ["a.wav"], "text": "x"}\n'


@settings(max_examples=1500, **TOLD)
@given(content=altered(GOOD))
def test_manifests_that_were_altered(tmp_path_factory, judged, content):
    path = tmp_path_factory.getbasetemp() / "altered.jsonl"
    path.write_bytes(content)
    judged(lambda: len(manifest.Manifest(path)))


def recording(kind):
    wave = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format=kind)
    return file.getvalue()


RECORDINGS = {kind: recording(kind) for kind in ("WAV", "FLAC", "OGG", "AIFF", "MP3")}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_recordings_that_were_altered(judged, kind):
    @settings(max_examples=600, **TOLD)
    @given(content=altered(RECORDINGS[kind]))
    def check(content):
        found = []
        if judged(lambda: found.append(audio.read(io.BytesIO(content), max_seconds=5.0))):
            assert found[0].dtype == np.int16 and found[0].ndim == 1 and 0 < len(found[0]) <= 5 * 16_000

    check()


RECIPE = pathlib.Path("gin_configs/recipes/quickstart.gin")
NAMES = st.sampled_from(
    ["Recipe.steps", "Model.width", "Model", "Row.segments", "Schedule.peak", "data.Data.rows", "train.run.recipe"]
)
WORDS = st.sampled_from(["@training.Recipe()", "@os.system", "%X", "None", "1e400", "{}", "()", "'", '"x', "[1,", "-1"])


@settings(max_examples=700, **TOLD)
@given(name=NAMES | st.text(max_size=12), value=WORDS | VALUES.map(repr) | st.text(max_size=12))
def test_bindings(judged, name, value):
    def read():
        _, bindings = flags.split([f"--gin.{name}={value}"])
        cli._read(train, [module for module, _ in cli.VERBS.values()][:1], [str(RECIPE)], bindings, [])

    judged(read)


@settings(max_examples=500, **TOLD)
@given(content=altered(RECIPE.read_bytes()))
def test_recipes_that_were_altered(tmp_path_factory, judged, content):
    path = tmp_path_factory.getbasetemp() / "altered.gin"
    path.write_bytes(content)
    judged(lambda: cli._read(train, ["speechlm_jax.train"], [str(path)], [], []))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "vocabulary.model"
    texts = ["red green blue", "one two three", "four five six seven"] * 20
    vocabulary.train(texts, path, size=420, languages=["en"])
    return path.read_bytes()


def test_vocabularies_that_were_altered(tmp_path, judged, pieces):
    @settings(max_examples=1000, **TOLD)
    @given(content=altered(pieces))
    def check(content):
        path = tmp_path / "altered.model"
        path.write_bytes(content)
        judged(lambda: vocabularies.load(path).encode("red two"))

    check()


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """A step's folder, small."""
    folder = tmp_path_factory.mktemp("saved")
    keeper = checkpoints.Folder(folder)
    meta = {"vocabulary": "abc", "recipe": "Recipe.steps = 10", "model": {"width": 16}}
    keeper.save(1, {"params": {"a": jnp.ones(4)}}, stream={"shards": {"0": {}}}, meta=meta)
    keeper.close()
    return folder / "checkpoints" / "1"


@pytest.mark.parametrize("name", [checksums.NAME, "meta/metadata", "stream/metadata", "state/_METADATA"])
def test_what_a_checkpoint_says_of_itself(tmp_path, judged, step, name):
    own = tmp_path / "checkpoints" / "1"
    shutil.copytree(step, own)
    content = (step / name).read_bytes()

    @settings(max_examples=200, **TOLD)
    @given(changed=altered(content))
    def check(changed):
        (own / name).write_bytes(changed)
        assert not judged(lambda: checkpoint_steps.find(own)) or changed == content
        # Somebody may have written the checksums of what was altered, too.
        if name != checksums.NAME:
            (own / checksums.NAME).unlink()
            checksums.write(own)
            judged(lambda: checkpoint_report.inspect(str(own)))
            judged(lambda: checkpoints.restore_params(checkpoint_steps.find(own)))
            (own / checksums.NAME).write_bytes((step / checksums.NAME).read_bytes())

    check()


@settings(max_examples=300, **TOLD)
@given(files=st.dictionaries(st.sampled_from(["state/a", "meta/metadata", "../x", ""]), VALUES, max_size=3))
def test_tables_of_checksums_that_are_as_they_were_written(tmp_path_factory, judged, files):
    folder = tmp_path_factory.getbasetemp() / "table"
    folder.mkdir(exist_ok=True)
    whole_files.write_json(folder / checksums.NAME, {"files": files, "sha256": checksums._of_table(files)})
    judged(lambda: checksums.differences(folder))


@settings(max_examples=500, **TOLD)
@given(lines=st.lists(st.dictionaries(st.sampled_from(["life", "from", "to", "step", "seconds"]), VALUES), max_size=3))
def test_ledgers(tmp_path_factory, judged, lines):
    folder = tmp_path_factory.getbasetemp()
    (folder / ledger.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    judged(lambda: ledger.read(folder))


@settings(max_examples=500, **TOLD)
@given(told=st.dictionaries(st.sampled_from([*written_rows.Info._fields, "x"]), VALUES) | VALUES)
def test_what_written_rows_say_of_themselves(tmp_path_factory, judged, told):
    folder = tmp_path_factory.getbasetemp()
    (folder / written_rows.INFO).write_text(json.dumps(told))
    judged(lambda: written_rows.read_info(folder))


LIKE_ROWS = {
    "mixture": "mix",
    "split": "train",
    "tasks_from": {"task_modules": [], "manifest": None},
    "fingerprint": {},
    "steps": 2,
    "files": {written_rows.file_name(0, 1, 0): 2},
}


@settings(max_examples=500, **TOLD)
@given(name=st.sampled_from([*LIKE_ROWS]), value=VALUES)
def test_written_rows_of_which_one_thing_is_altered(tmp_path_factory, judged, name, value):
    folder = tmp_path_factory.getbasetemp()
    (folder / written_rows.INFO).write_text(json.dumps({**LIKE_ROWS, name: value}))
    data = config.Data(rows=1, stream=config.Stream(mixture="mix", data_shards=1, written=str(folder)))

    def opened():
        info = written_rows.read_info(folder)
        written_rows.check(info, data, seed=0, vocabulary="", steps=1)

    judged(opened)
    judged(lambda: written_rows._File(folder, written_rows.read_info(folder), 0, 1).read(0))


FIELDS_OF_RECORDS = {"text": "text", "audio": "audio", "n": "int"}
EXAMPLE = {"text": "red", "audio": np.arange(50, dtype=np.int16), "n": 3}


def test_records_that_were_altered(judged):
    content = records.encode(EXAMPLE, FIELDS_OF_RECORDS)

    @settings(max_examples=1000, **TOLD)
    @given(changed=altered(content))
    def check(changed):
        judged(lambda: records.decode(changed, FIELDS_OF_RECORDS))

    check()
