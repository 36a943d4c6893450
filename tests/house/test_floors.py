"""Imports run down the house, never up, never in a circle."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib

import pytest
from house.rooms import PACKAGE, ROOT, imports, name, sources

from speechlm_jax import cli, configurables

FLOORS = [
    {"cli", "__main__", "quickstart", "transfer", "in_order"},
    {
        "train",
        "experiment",
        "evaluate",
        "infer",
        "export",
        "import_verb",
        "plan",
        "data_verb",
        "checkpoint_verb",
        "goodput",
        "report",
        "status",
        "compare",
        "cache",
        "materialise",
    },
    {"planning", "reporting"},
    {"training", "inference", "exporters", "there"},
    {"losses"},
    {"models"},
    {"layers"},
    {"data"},
    {
        *{
            "axes",
            "batch",
            "layout",
            "limits",
            "memory",
            "chips",
            "audio",
            "vocabulary",
            "vocabularies",
            "weight_files",
            "whisper_vocabulary",
            "metrics",
            "answer_metrics",
            "label_metrics",
            "speech_metrics",
            "translation_metrics",
            "sharding",
            "checkpoints",
            "checkpoint_steps",
            "checkpoint_report",
            "checkpoint_retention",
            "checkpoint_meetings",
            "checkpoint_meta",
            "checksums",
            "low_rank",
            "parameters",
        },
        *{
            "runtime",
            "peers",
            "common_stop",
            "preemption",
            "provenance",
            "endings",
            "settings",
            "configurables",
            "recipe_text",
            "flags",
            "modules",
            "array_files",
        },
        *{"whole_files", "storage"},
    },
]
"""From the top of the house to the ground; a room is a folder or a file of the package."""

ARRAY_LIBRARIES = ("jax", "flax", "tensorflow", "seqio", "librosa", "torch")


def room(module: str) -> str:
    """The room that a module of the package stands in."""
    return module.split(".")[1]


def floor(of: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if of in rooms:
            return number
    raise AssertionError(f"speechlm_jax/{of} stands on no floor yet: give it one in FLOORS of {__file__}")


def doors() -> set[tuple[str, str]]:
    """(module, module it imports) within the package."""
    return {
        (name(path), target)
        for path in sources("speechlm_jax")
        for target in imports(path)
        # What the package is from outside stands on no floor.
        if target.startswith("speechlm_jax.") and name(path) != "speechlm_jax"
    }


def test_imports_run_down():
    climbs = [f"{module} imports {target}" for module, target in doors() if floor(room(target)) < floor(room(module))]
    assert not climbs, "imports run from the verbs down to the ground:\n" + "\n".join(sorted(climbs))


def test_modules_do_not_import_in_a_circle():
    edges: dict[str, set[str]] = {}
    for module, target in doors():
        edges.setdefault(module, set()).add(target)
    assert not circle(edges)


def test_rooms_do_not_import_in_a_circle():
    edges: dict[str, set[str]] = {}
    for module, target in doors():
        if room(module) != room(target):
            edges.setdefault(room(module), set()).add(room(target))
    assert not circle(edges)


def circle(edges: dict[str, set[str]]) -> list[str]:
    """One path that comes back to where it began, or nothing."""
    finished: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        for target in sorted(edges.get(node, ())):
            if found := walk(target, [*path, node]):
                return found
        finished.add(node)
        return []

    for start in sorted(edges):
        if found := walk(start, []):
            return found
    return []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_data_and_models_do_not_know_each_other():
    modelling = {"models", "layers", "losses"}
    meetings = [
        f"{module} imports {target}"
        for module, target in doors()
        if {room(module), room(target)} & modelling and "data" in {room(module), room(target)}
    ]
    assert not meetings, "data/ and models/ meet in batch.py:\n" + "\n".join(meetings)


def test_nothing_imports_tasks():
    # registration.py asks the package which files there are, to name the nearest to a misspelt one.
    guests = [
        name(path)
        for path in sources("speechlm_jax") + sources("launch")
        for target in imports(path)
        if target.split(".")[0] == "tasks" and name(path) != "speechlm_jax.data.registration"
    ]
    assert not guests, f"recipes name tasks, code does not: {guests}"


def test_tasks_know_data_and_what_lies_below_it():
    allowed = {
        "data",
        "vocabulary",
        "metrics",
        "answer_metrics",
        "label_metrics",
        "speech_metrics",
        "translation_metrics",
        "audio",
    }
    strays = [
        f"{name(path)} imports {target}"
        for path in sources("tasks")
        for target in imports(path)
        if target.split(".")[0] in ("jax", "flax", "launch")
        or (target.startswith("speechlm_jax.") and room(target) not in allowed)
    ]
    assert not strays, "\n".join(strays)


def test_only_the_front_door_knows_gin():
    files = sources("speechlm_jax") + sources("tasks") + sources("launch")
    knowing = {name(path) for path in files for target in imports(path) if target.split(".")[0] == "gin"}
    assert knowing == {"speechlm_jax.cli"}


def test_launchers_know_the_package_by_its_command_line_alone():
    knowing = [
        f"{name(path)} imports {target}"
        for path in sources("launch")
        for target in imports(path)
        if target.split(".")[0] in ("speechlm_jax", "tasks", *ARRAY_LIBRARIES)
    ]
    assert not knowing, "\n".join(knowing)


def test_package_files_are_empty():
    packages = [*PACKAGE.glob("*/**/__init__.py"), *(ROOT / "tasks").rglob("__init__.py")]
    assert packages and not [str(path) for path in packages if path.read_text().strip()]


def test_what_gin_names_imports_no_array_library():
    verbs = [module for module, _ in cli.VERBS.values() if importlib.util.find_spec(module)]
    light = ["speechlm_jax.cli", "speechlm_jax.__main__", *verbs, *configurables.config_modules()]
    program = (
        f"import importlib, json, sys\nfor name in {light!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(ARRAY_LIBRARIES) & set(json.loads(out.stdout))


PROVIDERS = {
    module: {distribution.lower().replace("_", "-") for distribution in found}
    for module, found in importlib.metadata.packages_distributions().items()
}
"""Which distributions a module may come from."""

OPTIONAL = {
    *(
        (f"speechlm_jax.exporters.pytorch.{module}", name)
        for module in ("modeling_speechlm", "processing_speechlm")
        for name in ("torch", "transformers", "huggingface_hub")
    ),
    ("speechlm_jax.exporters.pytorch.graphs", "torch"),
    ("speechlm_jax.exporters.stand_alone.programs.onnx", "onnxruntime"),
    ("speechlm_jax.exporters.stand_alone.transcribe", "program"),  # the file beside it
    ("speechlm_jax.data.spread", "apache_beam"),
    ("speechlm_jax.layers.products", "qwix"),
    ("speechlm_jax.whisper_vocabulary", "tokenizers"),
}
"""(module, what it imports where an extra is installed)."""


def declared() -> set[str]:
    """The distributions that pyproject.toml asks for whoever installs the package without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[\[>]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}


@pytest.mark.parametrize("folder", ["speechlm_jax", "tasks", "launch"])
def test_what_is_imported_is_declared(folder):
    own = sys.stdlib_module_names | {"speechlm_jax", "tasks", "launch"}
    missing = {
        f"{name(path)} imports {target}"
        for path in sources(folder)
        for target in {full.split(".")[0] for full in imports(path)} - own
        if not PROVIDERS.get(target, {target}) & declared() and (name(path), target) not in OPTIONAL
    }
    assert not missing, "declare it in pyproject.toml:\n" + "\n".join(sorted(missing))
