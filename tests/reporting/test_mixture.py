"""The page of a mixture: what it counts, and what stands in it."""

import json
import re

import numpy as np
import pytest
import small_run

from speechlm_jax import cli, vocabulary
from speechlm_jax.reporting import mixture


def example(**lanes):
    return {lane: np.array(lanes.get(lane, []), np.int32) for lane in ("inputs", "prompt", "targets")}


def test_pieces_are_counted_in_every_lane(words_path):
    words = vocabulary.Vocabulary.load(words_path)
    first = words.learned.start
    drawn = [example(inputs=[first, first], targets=[first + 1]), example(prompt=[first])]
    counts = mixture.pieces(drawn, words.size)
    assert counts[first] == 3 and counts[first + 1] == 1 and counts.sum() == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a small mixture of noise, one of whose recordings is lost."""
    made = tmp_path_factory.mktemp("mixture")
    small_run.write(made)
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    return made


@pytest.fixture(scope="module")
def page(folder):
    """(the page, the report)."""
    recipe = f"--gin_file={folder}/recipe.gin"
    words = ["--examples=120", "--show=0", f"--json={folder}/report.json", f"--html={folder}/page.html"]
    assert cli.main(["data", recipe, *words]) == 0
    return (folder / "page.html").read_text(), json.loads((folder / "report.json").read_text())


def figures(text, key):
    found = re.findall(rf'data-for="{key}-(?:\d+-)?\d+">(.*?)</script>', text, re.DOTALL)
    return [json.loads(figure.replace("<\\/", "</")) for figure in found]


@pytest.mark.slow
def test_the_page_tells_what_the_report_does(page):
    text, report = page
    for name, task in report["tasks"].items():
        row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', text)[1]
        assert f"<td>{task['realised']:.1%}</td>" in row and f"<td>{task['records']:,}</td>" in row
    (rates,) = figures(text, "rates")
    assert [trace["name"] for trace in rates["data"]] == ["asked", "realised"]
    assert len(figures(text, "lengths")) == 3 and len(figures(text, "packing")) == 3
    (languages,) = figures(text, "languages")
    # Text alone names no language.
    assert languages["data"][0]["y"] == ["en", "(none named)"] or languages["data"][0]["y"] == ["(none named)", "en"]
    assert "lost.wav: there is no such file" in text
    assert text.count("<audio controls") == 3 == text.count("data:audio/flac")
    assert "default-src 'none'" in text and vocabulary.FILE not in text


@pytest.mark.slow
def test_a_page_that_cannot_be_written_is_told_before_anything_is_read(folder, capsys):
    assert cli.main(["data", f"--gin_file={folder}/recipe.gin", f"--html={folder}"]) == 2
    assert "--html" in capsys.readouterr().err
