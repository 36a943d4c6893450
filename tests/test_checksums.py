"""A folder that was altered in any way is told so, and one that was not is not."""

import random
import threading

import pytest

from speechlm_jax import checksums, storage


@pytest.fixture
def folder(tmp_path):
    for name, content in (("a", b"abc" * 100), ("deep/b", bytes(range(256)) * 8), ("deep/er/c", b"")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    checksums.write(tmp_path)
    return tmp_path


def test_what_was_not_altered_is_as_it_was(folder):
    assert checksums.differences(folder) == []
    checksums.write(folder)
    assert checksums.differences(folder) == []


def test_any_bit_that_is_turned_is_told_be_it_of_the_table(folder):
    rng = random.Random(0)
    for name in ("a", "deep/b", checksums.NAME):
        good = (folder / name).read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            (folder / name).write_bytes(bad)
            (found,) = checksums.differences(folder)
            assert found.startswith(f"{name}: ")
        (folder / name).write_bytes(good)
    assert checksums.differences(folder) == []


def test_files_that_are_missing_new_cut_or_swapped_are_told_by_name(folder):
    (folder / "deep/er/c").unlink()
    (folder / "new").write_bytes(b"x")
    (folder / "deep/b").write_bytes(bytes(range(256)) * 7)
    assert checksums.differences(folder) == [
        "deep/er/c: missing",
        "new: not there when the others were written",
        "deep/b: wanted 2,048 bytes, found 1,792",
    ]
    (folder / checksums.NAME).unlink()
    (found,) = checksums.differences(folder)
    assert "CHECKSUMS.json: " in found and "No such file" in found


@pytest.fixture
def out_of_reach(folder, monkeypatch):
    """A file that the system gives an input/output error for."""
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 1.0)
    (folder / "deep/er/c").unlink()
    (folder / "deep/er/c").symlink_to("/proc/self/mem")
    return folder / "deep/er/c"


def test_a_file_that_storage_does_not_give_for_a_moment_is_as_it_was(
    folder, out_of_reach, monkeypatch, tmp_path_factory
):
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 60.0)
    given = tmp_path_factory.mktemp("given") / "c"
    given.touch()
    timer = threading.Timer(0.3, given.replace, [out_of_reach])
    timer.start()
    assert checksums.differences(folder) == []
    timer.join()
    assert not given.exists()


def test_a_file_that_storage_does_not_give_is_a_difference_after_a_while(folder, out_of_reach):
    assert checksums.differences(folder) == ["deep/er/c: Input/output error"]


def test_where_nothing_of_a_folder_can_be_read_no_file_is_said_to_be_damaged(folder, monkeypatch):
    for name in ("PATIENCE_SECONDS", "MOST_PATIENCE_SECONDS"):
        monkeypatch.setattr(storage, name, 0.3)
    (folder / checksums.NAME).unlink()
    (folder / checksums.NAME).symlink_to("/proc/self/mem")
    monkeypatch.setattr(storage, "_does_answer", lambda call: False)
    with pytest.raises(storage.NoAnswer, match=f"reading {folder}/CHECKSUMS.json: storage has not answered"):
        checksums.differences(folder)


def test_a_share_looks_at_some_content_and_at_all_sizes(tmp_path):
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 1000)
    checksums.write(tmp_path)
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes(1000) if number else bytes([1]) * 1000)
    assert len(checksums.differences(tmp_path)) == 20
    half = checksums.differences(tmp_path, share=0.5)
    assert len(half) == 10 and half != checksums.differences(tmp_path, share=0.5, seed=1)
    assert len(checksums.differences(tmp_path, share=0.0)) == 1
    (tmp_path / "3").write_bytes(b"")
    assert "3: wanted 1,000 bytes, found 0" in checksums.differences(tmp_path, share=0.0)


def test_files_may_be_added_later_and_are_not_missed_until_then(tmp_path):
    for name in ("a", "late"):
        (tmp_path / name).write_text(name)
    checksums.write(tmp_path, without=["late"])
    assert checksums.differences(tmp_path, without=["late"]) == []
    assert checksums.differences(tmp_path) == ["late: not there when the others were written"]
    checksums.add(tmp_path, ["late"])
    assert checksums.differences(tmp_path, without=["late"]) == []
    (tmp_path / "late").write_text("ate")
    assert checksums.differences(tmp_path, without=["late"]) == ["late: wanted 4 bytes, found 3"]


def test_a_table_whose_writer_was_killed_leaves_the_one_before_good(folder):
    (folder / f".{checksums.NAME}.{'0f' * 16}.part").write_text("{")
    assert checksums.differences(folder) == []
    checksums.add(folder, [])
    (folder / f".a.{'0f' * 16}.part").write_text("{")
    assert len(checksums.differences(folder)) == 1
