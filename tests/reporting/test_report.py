"""The page of a run: what stands in it, and what a real browser shows of it."""

import itertools
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import run_folder

from speechlm_jax import cli
from speechlm_jax.inference import shown
from speechlm_jax.reporting import charts, examples, run_files
from speechlm_jax.training import kept_rows

STRANGE = "<b id=strange>"


@pytest.fixture
def folder(tmp_path):
    """Of a run that has much to tell, twice evaluated, with bad records, and a task of a strange name."""
    run_folder.write(tmp_path, step=400, ended=True)
    lines = []
    for step in range(5, 401, 5):
        line = {**run_folder.TRAIN, "step": step, "loss": 9 / step, "loss/targets": 5 / step, "gradient_norm": 3.0}
        line |= {f"loss/targets/{STRANGE}": 4 / step, "loss/targets/other": 6 / step, "learning_rate": 1e-3}
        line |= {f"share/{STRANGE}": 0.25, "share/other": 0.75, "seconds/other": 9.0, "tokens/other": 20.0}
        codes = {"code_perplexity": 7.5, "code_perplexity/0": 7.5, "code_perplexity/1": 60.0}
        lines.append(line | codes | {"parameter_norm": None})
    for step in (200, 400):
        scores = {"wer": 20 / step, "wer_low": 15 / step, "wer_high": 30 / step, "loss/ctc": 0.5, "wer_words": 40}
        lines.append({"step": step, "kind": "evaluation", **{f"other/{name}": value for name, value in scores.items()}})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    bad = [{"id": str(number), "reason": f"</script>{STRANGE} of {number % 2}"} for number in range(5)]
    told = "".join(json.dumps(line) + "\n" for line in bad)
    (tmp_path / "bad_records.jsonl").write_bytes(told.encode() + b"\xff\n{")
    noise = np.random.default_rng(0).normal(0, 3000, 16_000).astype(np.int16)
    look = shown.Look(np.eye(4, 25, dtype=np.float32), ["a", STRANGE, "c", "</s>"], [], 0.04, 0, 1)
    read = shown.Look(np.eye(9, 3, dtype=np.float32), [], ["x", "y", "z"], 0.04, 2, 0)
    heard = shown.Shown("other", "clip", "likeliest", STRANGE, "a", "b", -0.5, noise, [(STRANGE, 0.1, 0.5)], look)
    spoken = heard._replace(why="one of the first", heard=None, words=[], look=read, wanted_speech=noise, spoken=noise)
    shown.write(tmp_path / shown.FILE, 400, [heard, spoken])
    ids = np.repeat([[1, 2, 0], [1, 1, 3]], 4, axis=1)
    kept_rows.write(tmp_path / kept_rows.FILE, {"audio": ids, "targets": ids[:, 3:]})
    return tmp_path


def names(found):
    return [chart.name for chart in found]


def test_what_a_run_has_left_is_drawn(folder):
    run = run_files.read(str(folder))
    assert names(charts.training(run)) == [
        *("Loss", "Loss by head", "Loss of targets by task", "Norms", "Learning rate", "Codes in use")
    ]
    assert names(charts.data(run)) == [
        *("Share of each task", "Speech of each task", "Tokens of each task", "Records that could not be used"),
        *("Rows of audio", "Rows of targets"),
    ]
    assert names(charts.speed(run)) == [
        *("Useful audio s/s", "Useful tokens/s", "Model FLOPs utilisation", "Waiting for data"),
        *("Where the time went", "Lives"),
    ]
    del run.trained["mfu"]
    assert names(charts.speed(run))[2] == "Operations of the model"
    assert names(charts.evaluation(run)) == ["wer", "loss/ctc"]
    assert charts.scores(run) == [("other/wer", 0.05, 0.0375, 0.075)]
    assert run.bad_records == {f"</script>{STRANGE} of 0": 3, f"</script>{STRANGE} of 1": 2}
    # A name is a name: plotly would make a mark of it.
    drawn = [*charts.training(run), *charts.data(run)]
    assert STRANGE not in "".join(str(chart.figure.to_json()) for chart in drawn)
    assert "&lt;b id=strange&gt;" in [trace.name for trace in charts.training(run)[2].figure.data]
    # Many points are drawn smoothed, over what they are; what was never finite is not drawn.
    loss = charts.training(run)[0].figure.data
    assert len(loss) == 2 and len(loss[0].y) == 80 and loss[1].y[0] == pytest.approx(loss[0].y[0])
    assert [trace.name for trace in charts.training(run)[3].figure.data if trace.name] == ["gradient_norm"]
    assert {trace.name for trace in charts.training(run)[5].figure.data if trace.name} == {
        *("least used", "codebook 0", "codebook 1")
    }
    wer = charts.evaluation(run)[0].figure.data[0]
    assert list(wer.y) == [0.1, 0.05] and wer.error_y.array[1] == pytest.approx(0.025)


def test_examples_are_shown_with_what_was_heard_when_and_where_the_decoder_looked(folder):
    step, found = run_files.read(str(folder)).shown
    heard, spoken = examples.of(found)
    assert step == 400 and heard.title == "other: likeliest"
    assert dict(heard.texts)["wanted"] == STRANGE and dict(heard.texts)["log P of a token"] == "-0.500"
    assert [sound.name for sound in heard.sounds] == ["heard"]
    assert [sound.name for sound in spoken.sounds] == ["wanted", "spoken"]
    assert names(heard.pictures) == ["Speech", "Where the decoder looks"]
    assert names(spoken.pictures) == ["Speech that is wanted", "Speech of the model", "Where the decoder looks"]
    mel, words = heard.pictures[0].figure.data
    assert mel.z.shape == (80, 101) and list(words.x) == [0.3] and words.text[0] == "&lt;b id=strange&gt;"
    look = heard.pictures[1].figure
    assert look.data[0].z.tolist() == (255 * np.eye(4, 25)).tolist() and look.data[0].dx == pytest.approx(0.04)
    assert look.layout.yaxis.ticktext[1] == "&lt;b id=strange&gt;" and "layer 1, head 2" in heard.pictures[1].caption
    assert spoken.pictures[2].figure.layout.xaxis.ticktext == ("x", "y", "z")


def test_words_are_written_where_none_covers_another():
    words = [(f"word{number}", number / 4, number / 4 + 0.2) for number in range(16)]
    (spoken,) = examples.of([shown.Shown("t", "i", "w", "", "", "", None, np.ones(64_000, np.int16), words, None)])
    (labels,) = (trace for trace in spoken.pictures[0].figure.data if trace.type == "scatter")
    letter = 4 / 50
    for line in set(labels.y):
        middles = [x for x, y in zip(labels.x, labels.y, strict=True) if y == line]
        assert all(b - a >= 6 * letter for a, b in itertools.pairwise(middles))
    assert 2 <= len(set(labels.y)) <= 4


def test_rows_are_drawn_with_an_example_in_a_colour(folder):
    audio, targets = charts.packing(run_files.read(str(folder)).rows)
    assert "83.3% of these places" in audio.caption and targets.figure.data[0].z.shape == (2, 9)
    places = audio.figure.data[0].z
    assert np.isnan(places[0, 8:]).all() and places[0, 0] != places[0, 4] and places[1, 0] == places[1, 7]


def test_a_file_of_the_run_that_is_damaged_is_named_and_left_out(folder, capsys):
    (folder / shown.FILE).write_bytes(b"PK")
    assert cli.main(["report", str(folder)]) == 0
    assert "examples.npz is damaged" in capsys.readouterr().err
    page = (folder / "report.html").read_text()
    assert "left out: reading the examples of a run" in page and "Rows of audio" in page


def test_a_page_asks_the_network_for_nothing_and_runs_no_name(folder):
    out = folder / "page.html"
    assert cli.main(["report", str(folder), f"--out={out}"]) == 0
    page = out.read_text()
    assert f"</script>{STRANGE}" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:)\w", page.split("<script>")[0])


def test_the_page_of_a_run_that_has_just_begun_says_that_there_is_nothing(tmp_path, capsys):
    (tmp_path / "recipe.gin").write_text(run_folder.RECIPE)
    assert cli.main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert capsys.readouterr().out.strip() == f"{tmp_path}/report.html"
    assert "nothing yet" in page and "no checkpoint yet" in page and "begins" in page


def test_where_there_is_no_run_nothing_is_written(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "none"), f"--out={tmp_path}/page.html"]) == 2
    assert "Name a run's folder" in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def browser():
    """Chromium, with what it logs."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="wants selenium")
    from selenium.webdriver.chrome.service import Service

    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("wants chromium and chromedriver (chromium-driver of Debian)")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(paths[1]))
    yield driver
    driver.quit()


def seen(driver, script):
    return driver.execute_script(f"return {script}")


# Of each plot that is shown: how many marks it has, and whether they have an extent.
PLOTS = """[...document.querySelectorAll('[role=tabpanel]:not([hidden]) .plot')].map(plot => {
    const kinds = '.trace path, .trace .point path, .points path, .js-line, .point, .hm image';
    const marks = [...plot.querySelectorAll(kinds)];
    const box = plot.getBoundingClientRect();
    return [marks.filter(mark => mark.getBoundingClientRect().width > 0).length, box.width, box.height];
})"""


PANELS = "[...document.querySelectorAll('[role=tabpanel]:not([hidden])')].map(panel => panel.id)"
# How long each recording is that can be listened to, in seconds.
PLAYERS = "[...document.querySelectorAll('[role=tabpanel]:not([hidden]) audio')].map(sound => sound.duration)"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("runs", [1, 2])
def test_a_browser_shows_every_chart_and_nothing_stands_out(browser, folder, width, runs):
    out = folder / "page.html"
    assert cli.main(["report", *[str(folder)] * runs, f"--out={out}"]) == 0
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("performance")
    browser.get(out.as_uri())
    tabs = seen(browser, "[...document.querySelectorAll('[role=tab]')].map(tab => tab.textContent)")
    assert tabs == ["Overview", "Training", "Evaluation", "Examples", "Data", "Time", "Recipe"]
    for number, tab in enumerate(tabs):
        browser.execute_script(f"document.querySelectorAll('[role=tab]')[{number}].click()")
        assert seen(browser, PANELS) == [tab.lower()]
        plots = seen(browser, PLOTS)
        wanted = {"Overview": 1, "Training": 6, "Evaluation": 2, "Examples": 5, "Data": 6, "Time": 6, "Recipe": 0}[tab]
        assert len(plots) == wanted * runs
        assert all(marks > 0 and 200 < wide <= width and tall > 100 for marks, wide, tall in plots), (tab, plots)
        assert seen(browser, "document.documentElement.scrollWidth") <= width, tab
        sounds = seen(browser, PLAYERS)
        assert sounds == ([1.0] * 3 * runs if tab == "Examples" else [])
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [told["params"]["request"]["url"] for told in asked if told["method"] == "Network.requestWillBeSent"]
    # Data in the page itself is no request.
    assert [url for url in urls if not url.startswith("data:")] == [out.as_uri()]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert seen(browser, "document.getElementById('strange')") is None
    browser.get(f"{out.as_uri()}#examples")
    assert seen(browser, PANELS) == ["examples"]


def test_what_the_page_is_made_of_goes_into_the_package():
    import tomllib

    root = pathlib.Path(__file__).parents[2]
    told = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {path.name for path in (root / "speechlm_jax" / "reporting").iterdir() if path.suffix not in (".py", "")}
    assert files == set(told["speechlm_jax.reporting"])


def test_a_curve_of_any_length_has_few_points_and_its_ends():
    long = [float(number) for number in range(123_456)]
    found = charts._thinned(long)
    assert len(found) == 1_000 and (found[0], found[-1]) == (0.0, 123_455.0)
    assert charts._thinned(long[:1_000]) == long[:1_000]
    gaps = np.diff(found)
    assert gaps.max() - gaps.min() <= 1
