"""Rows hold what was laid into them, and best fit wastes little."""

import numpy as np
import pytest

from speechlm_jax import batch
from speechlm_jax.data import capacities, packing

ROW = batch.Row(audio_seconds=2.0, inputs=24, targets=24, target_audio_seconds=1.0, segments=4)


def example(random: np.random.Generator, *, audio=0, inputs=0, prompt=0, targets=0, target_audio=0, masked=False):
    tokens = random.integers(5, 99, inputs)
    return {
        "id": "x",
        "task": int(random.integers(3)),
        "origin": tuple(random.integers(100, size=3)),
        "audio": random.integers(-3000, 3000, audio).astype(np.int16),
        "inputs": tokens.astype(np.int32),
        "prompt": random.integers(5, 99, prompt).astype(np.int32),
        "targets": random.integers(5, 99, targets).astype(np.int32),
        "target_audio": random.integers(-3000, 3000, target_audio).astype(np.int16),
        "masked_tokens": (tokens + 1).astype(np.int32) if masked else np.zeros(0, np.int32),
        "masked_weights": np.ones(inputs, np.float32) if masked else np.zeros(0, np.float32),
        "ctc": np.array([1], np.int32),
        "claim": np.array([-1], np.float32),
        "mask_share": np.array([0.25], np.float32),
        "weight": np.array([0.5], np.float32),
    }


def test_a_row_gives_back_every_lane_of_its_examples_under_one_segment_id():
    random = np.random.default_rng(0)
    members = [
        example(random, audio=8000, prompt=2, targets=5),
        example(random, inputs=9, masked=True),
        example(random, inputs=7, targets=6, target_audio=6400),
        example(random, audio=3210, inputs=4, prompt=1, targets=3),
    ]
    out = batch.empty(ROW, 2)
    packing.write_row(out, 1, members, ROW)
    for line, member in enumerate(members):
        of_inputs = out.inputs.segment_ids[1] == line + 1
        assert out.inputs.tokens[1, of_inputs].tolist() == member["inputs"].tolist()
        assert out.inputs.positions[1, of_inputs].tolist() == list(range(len(member["inputs"])))
        assert out.inputs.masked_tokens[1, of_inputs].any() == bool(len(member["masked_tokens"]))
        of_targets = out.targets.segment_ids[1] == line + 1
        written = [*member["prompt"], *member["targets"]]
        assert out.targets.tokens[1, of_targets].tolist() == written
        assert out.targets.positions[1, of_targets].tolist() == list(range(len(written)))
        weights = [0.0] * len(member["prompt"]) + [1.0] * len(member["targets"])
        assert out.targets.weights[1, of_targets].tolist() == weights
        for lane, name in ((out.audio, "audio"), (out.target_audio, "target_audio")):
            frames = np.flatnonzero(lane.segment_ids[1] == line + 1)
            assert len(frames) == len(member[name]) // batch.HOP
            assert lane.positions[1, frames].tolist() == list(range(len(frames)))
            if len(frames):
                # The slot opens with half a window of reflected samples, then the waveform itself.
                start = frames[0] * batch.HOP + batch.WINDOW // 2
                kept = (len(frames) - 1) * batch.HOP
                assert lane.samples[1, start : start + kept].tolist() == member[name][:kept].tolist()
        assert out.segments.task_ids[1, line] == member["task"]
        assert out.segments.origins[1, line].tolist() == list(member["origin"])
        assert (out.segments.weights[1, line], out.segments.mask_shares[1, line]) == (0.5, 0.25)
        assert out.segments.claims[1, line] == -1
    assert not any(array[0].any() for array in (out.audio.samples, out.inputs.tokens, out.segments.weights))


def test_ctc_is_off_where_a_transcript_is_longer_than_its_speech():
    random = np.random.default_rng(7)
    fits = example(random, audio=160 * 4 * 5, targets=6)
    fits["targets"] = np.array([7, 7, 8, 9, 1], np.int32)  # Four labels, a blank between the first two, and the end.
    short = {**fits, "audio": fits["audio"][: 160 * 4 * 4]}
    out = batch.empty(ROW, 1)
    packing.write_row(out, 0, [fits, short], ROW)
    assert out.segments.ctc[0, :2].tolist() == [1.0, 0.0]


def test_between_slots_frames_are_dead_at_every_rate_of_the_stem():
    random = np.random.default_rng(1)
    for subsampling in (2, 4, 8):
        row = batch.Row(audio_seconds=4.0, subsampling=subsampling)
        members = [example(random, audio=int(n)) for n in random.integers(1000, 9000, 6)]
        out = batch.empty(row, 1)
        packing.write_row(out, 0, members, row)
        rate = 1
        while rate < subsampling:
            ids = out.audio.segment_ids[0, ::rate]
            meets = (ids[1:] != ids[:-1]) & (ids[1:] > 0) & (ids[:-1] > 0)
            assert not meets.any(), (subsampling, rate)
            rate *= 2


def test_no_row_overflows_any_lane_and_no_example_is_lost():
    random = np.random.default_rng(2)
    room = packing.capacity(ROW)
    packer = packing.Packer(room, 4)
    rows, seen = [], 0
    for index in range(500):
        needed = np.array([*random.integers(0, room[:-1] // 2), 1])
        seen += 1
        closed = packer.add((index, needed), needed)
        rows += [closed] if closed else []
    rows += packer.flush()
    assert sorted(index for row in rows for index, _ in row) == list(range(seen))
    assert all((np.sum([needed for _, needed in row], axis=0) <= room).all() for row in rows)


def test_a_resumed_row_has_the_room_it_had():
    room = np.array([10, 10, 10, 0, 4])
    first, second = np.array([4, 2, 1, 0, 1]), np.array([5, 8, 1, 0, 1])
    through, resumed = packing.Packer(room, 1), packing.Packer(room, 1)
    through.add("a", first)
    resumed.resume(["a"], [first], 0)
    assert resumed.add("b", second) is through.add("b", second) is None
    assert resumed.add("c", second) == through.add("c", second) == ["a", "b"]


def test_no_row_stays_open_for_ever():
    random = np.random.default_rng(6)
    room = np.array([75, 0, 0, 0, 6])
    packer = packing.Packer(room, 3)
    closed_at: dict[int, int] = {}
    for index in range(2000):
        closed = packer.add(index, np.array([random.integers(6, 28), 0, 0, 0, 1]))
        closed_at.update(dict.fromkeys(closed or [], index))
    assert set(range(1800)) <= set(closed_at)
    assert max(at - index for index, at in closed_at.items()) < 250


def test_an_example_larger_than_a_lane_is_told_with_its_binding():
    random = np.random.default_rng(3)
    needed = packing.demand(example(random, audio=40_000, targets=3), ROW)
    assert "lane audio: needs 2.52 s, a row holds 2.00 s (Row.audio_seconds)" in packing.misfit(needed, ROW)
    assert packing.misfit(packing.demand(example(random, audio=20_000, targets=3), ROW), ROW) is None


def test_proposed_rows_are_well_filled_in_the_lane_that_binds():
    random = np.random.default_rng(4)
    members = [
        example(random, audio=int(n), prompt=2, targets=int(n) // 4000)
        if n % 2
        else example(random, inputs=int(n) // 2000, targets=int(n) // 4000)
        for n in random.integers(16_000, 64_000, 1500)
    ]
    row = batch.Row(audio_seconds=20, inputs=100, targets=100)
    demands = np.stack([packing.demand(member, row) for member in members])
    contents = np.stack([capacities.content(member, row) for member in members])
    proposal = capacities.propose(contents, demands, row, 16)
    assert max(proposal.shares.values()) >= 0.85
    assert (packing.capacity(proposal.row) >= demands.max(axis=0)).all()
    again = capacities.useful_shares(contents, demands, proposal.row, 16)
    assert again == pytest.approx(proposal.shares)


def test_examples_too_few_to_close_a_row_are_measured_in_those_that_are_open():
    random = np.random.default_rng(5)
    members = [example(random, inputs=20, targets=10) for _ in range(3)]
    row = batch.Row(inputs=100, targets=100)
    demands = np.stack([packing.demand(member, row) for member in members])
    contents = np.stack([capacities.content(member, row) for member in members])
    assert capacities.useful_shares(contents, demands, row, 16) == pytest.approx({"inputs": 0.6, "targets": 0.3})
