"""A file is what its name says, opens with a line that says so, and can be read in a sitting."""

import ast
import re

from house.rooms import ROOT, name, sources

FILES = [path for folder in ("speechlm_jax", "tasks", "launch", "benchmarks") for path in sources(folder)]
TESTS = sources("tests")
MAX_LINES = 400
MAX_FUNCTION_LINES = 80


def test_every_module_says_what_it_is():
    texts = {str(path): path.read_text() for path in FILES + TESTS}
    silent = [module for module, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert not silent, f"these open without a line that says what they are: {silent}"


def test_no_file_is_a_drawer_for_anything():
    drawers = {"utils", "util", "helpers", "helper", "misc", "common", "core", "manager"}
    assert not [str(path) for path in FILES + TESTS if {path.stem, path.parent.name} & drawers]


def test_every_file_is_read_in_a_sitting():
    """But for what an export copies, which is to stand by itself."""
    lines = {str(path): path.read_text().count("\n") for path in FILES + TESTS if path.parent.name != "pytorch"}
    long = {path: count for path, count in lines.items() if count > MAX_LINES}
    assert not long, f"which two things has each become? {long}"


def test_every_function_is_seen_whole():
    long = [
        f"{name(path)}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long, f"at most {MAX_FUNCTION_LINES} lines: {long}"


def test_nothing_is_left_for_later():
    mark = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
    found = [f"{path}: {line}" for path in FILES + TESTS for line in path.read_text().splitlines() if mark.search(line)]
    assert not found, "\n".join(found)


def test_nothing_names_the_machine_that_it_was_written_on():
    place = re.compile("/" + r"work/|/" + r"root/|bash_" + "jobs")
    patterns = ("*.md", "*.toml", "Makefile", ".ci/*", "docs/**/*.md", "gin_configs/**/*.gin")
    texts = [path for pattern in patterns for path in ROOT.glob(pattern)]
    found = [
        f"{path}: {line}"
        for path in FILES + TESTS + texts
        for line in path.read_text().splitlines()
        if place.search(line)
    ]
    assert not found, "\n".join(found)
