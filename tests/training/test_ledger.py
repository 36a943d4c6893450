"""Every second of a run belongs to one phase, over its lives, and steps that were done in vain are told."""

import json
import random

import pytest

from speechlm_jax import cli
from speechlm_jax.training import ledger


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def life(clock, folder, *, first, last, seconds=2.0, saves=0.5):
    """Steps one by one, each with a line, a save and a wait for data."""
    book = ledger.Ledger(clock, began=clock.now)
    clock.now += 10
    book.keep(folder)
    book.stands = first
    book.write()
    with book.within("compile"):
        clock.now += 5
    for step in range(first + 1, last + 1):
        book.enter("data_wait")
        clock.now += 0.25
        book.enter("step")
        clock.now += seconds
        with book.within("save"):
            clock.now += saves
        book.stands = step
        book.write()
    return book


def test_phases_sum_to_the_time_that_passed(clock, tmp_path):
    life(clock, tmp_path, first=0, last=4)
    report = ledger.read(tmp_path)
    assert report.wall == pytest.approx(clock.now - 100)
    told = {phase: seconds for phase, seconds in report.seconds.items() if seconds}
    assert told == pytest.approx({"start": 10, "compile": 5, "data_wait": 1, "step": 8, "save": 2})
    assert (report.lives, report.step, report.goodput) == (1, 4, pytest.approx(8 / 26))


def test_what_may_be_long_is_told_when_it_begins_and_when_it_is_over(clock, tmp_path):
    book = life(clock, tmp_path, first=0, last=1)
    with book.within("evaluation"):
        clock.now += 3
        assert ledger.read(tmp_path).phase == "evaluation"
    assert ledger.read(tmp_path).phase == "step"
    book.write()
    assert ledger.read(tmp_path).seconds["evaluation"] == pytest.approx(3)


def test_work_behind_the_step_that_a_life_goes_on_from_is_lost(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.time, "time", lambda: clock.now)
    life(clock, tmp_path, first=0, last=10)
    clock.now += 60
    life(clock, tmp_path, first=7, last=9)
    report = ledger.read(tmp_path)
    assert report.seconds["lost"] == pytest.approx(6) and report.seconds["step"] == pytest.approx(18)
    assert report.seconds["restart"] == pytest.approx(60)
    assert (report.lives, report.step) == (2, 9) and report.wall == pytest.approx(clock.now - 100)


def test_a_line_of_several_steps_is_lost_in_part(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.time, "time", lambda: clock.now)
    book = life(clock, tmp_path, first=0, last=0)
    book.enter("step")
    clock.now += 20
    book.stands = 20
    book.write()
    life(clock, tmp_path, first=15, last=15)
    assert ledger.read(tmp_path).seconds["lost"] == pytest.approx(5)


def test_a_life_that_ends_before_it_knows_where_it_stands_loses_nothing(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.time, "time", lambda: clock.now)
    life(clock, tmp_path, first=0, last=10)
    refused = ledger.Ledger(clock, began=clock.now)
    clock.now += 7
    refused.keep(tmp_path)
    refused.write()
    report = ledger.read(tmp_path)
    assert (report.step, report.lives, report.seconds["lost"]) == (10, 2, 0)
    assert report.seconds["start"] == pytest.approx(17)


def test_steps_that_a_life_goes_back_behind_are_lost(clock, tmp_path):
    book = life(clock, tmp_path, first=0, last=10)
    book.enter("step")
    clock.now += 6
    book.stands = 13
    book.write()
    with book.within("rollback"):
        clock.now += 1
    book.stands = 8
    book.write()
    seconds = ledger.read(tmp_path).seconds
    assert (seconds["lost"], seconds["step"], seconds["rollback"]) == pytest.approx((10, 16, 1))


def test_a_line_that_cannot_be_written_is_told_and_ends_nothing(clock, tmp_path, caplog):
    book = life(clock, tmp_path, first=0, last=2)
    path = tmp_path / ledger.FILE
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    book.write()
    assert "ledger.jsonl: Is a directory. A line is missing there" in caplog.text
    path.rmdir()
    path.write_bytes(kept + b'{"life": 1')
    book.stands = 3
    book.write()
    assert ledger.read(tmp_path).step == 3


def test_a_line_that_a_killed_process_left_unfinished_is_passed_over(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.time, "time", lambda: clock.now)
    life(clock, tmp_path, first=0, last=3)
    path = tmp_path / ledger.FILE
    path.write_text(path.read_text()[:-20])
    life(clock, tmp_path, first=2, last=4)
    report = ledger.read(tmp_path)
    assert report.step == 4 and report.wall == pytest.approx(clock.now - 100)


@pytest.mark.parametrize("line", ["[]", "3", '{"life": 1}', json.dumps({"life": 1, "from": 1, "to": 2, "step": 1})])
def test_lines_of_something_else_are_refused(tmp_path, line):
    (tmp_path / ledger.FILE).write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"ledger\.jsonl: wanted lines of a ledger, found another in line 1"):
        ledger.read(tmp_path)


def test_the_usual_step_is_not_moved_by_an_evaluation(clock):
    book = ledger.Ledger(clock, began=clock.now)
    assert book.usual_step() is None
    chance = random.Random(0)
    for number in range(20):
        book.lap()
        clock.now += 100 if number % 5 == 0 else chance.uniform(0.9, 1.1)
    assert 0.9 <= book.usual_step() <= 1.1


def test_the_verb_tells_and_writes_it(clock, tmp_path, capsys):
    life(clock, tmp_path, first=0, last=4)
    assert cli.main(["goodput", str(tmp_path), f"--json={tmp_path}/told.json"]) == 0
    assert "step 4, 1 life, 26.0 s, goodput 30.8%" in capsys.readouterr().out
    told = json.loads((tmp_path / "told.json").read_text())
    assert sum(told["seconds"].values()) == pytest.approx(told["wall_seconds"])
    assert cli.main(["goodput", str(tmp_path / "other")]) == 2
    assert "there is no" in capsys.readouterr().err
