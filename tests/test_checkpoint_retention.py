"""Which steps of a run stay."""

import dataclasses
import datetime

import jax.numpy as jnp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from speechlm_jax import checkpoint_retention, checkpoints

META = {"vocabulary": "abc123", "recipe": "Recipe.steps = 10", "model": {"width": 16}}


def save(keeper, *steps):
    for step in steps:
        keeper.save(step, {"step": jnp.zeros((), jnp.int32)}, stream={}, meta=META)


def steps_of(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def test_steps_at_whole_intervals_stay(tmp_path):
    keeper = checkpoints.Folder(tmp_path, keep=2, besides=checkpoint_retention.besides(every_steps=4))
    save(keeper, *range(1, 11))
    keeper.close()
    assert steps_of(tmp_path) == [4, 8, 9, 10]


def test_the_best_step_stays_and_makes_room_for_a_better_one(tmp_path):
    best = checkpoint_retention.Best(highest=False)
    keeper = checkpoints.Folder(tmp_path, keep=2, besides=checkpoint_retention.besides(best=best))
    for step, score in enumerate([0.9, 0.3, 0.5, None, 0.4, None, None], 1):
        save(keeper, step)
        keeper.wait()
        if score is not None:
            best.scores[step] = score
    assert steps_of(tmp_path) == [2, 6, 7]
    best.scores[7] = 0.1
    save(keeper, 8, 9, 10)
    keeper.close()
    assert steps_of(tmp_path) == [7, 9, 10]


def test_steps_stay_by_the_hour():
    (policy,) = checkpoint_retention.besides(every_hours=2)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    infos = [Saved(step, start + datetime.timedelta(minutes=45 * step)) for step in range(8)]
    kept = policy.should_preserve(infos, context=preservation.PreservationContext())
    assert [info.step for info, stays in zip(infos, kept, strict=True) if stays] == [0, 3, 6]


@dataclasses.dataclass
class Saved:
    """What a policy is told of a step."""

    step: int
    time: datetime.datetime
    is_locked: bool = False


def test_scores_of_steps_that_were_undone_are_forgotten():
    best = checkpoint_retention.Best(highest=True, scores={2: 0.5, 4: 0.9})
    best.forget(after=3)
    assert best.scores == {2: 0.5}
