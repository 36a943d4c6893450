"""The numbers that describe how a run trains. Making one touches no device."""

import dataclasses
from typing import Literal

from speechlm_jax import layout as layout_config
from speechlm_jax import limits
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as model_config


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Learning rate over steps: linear warm-up to `peak`, then a decay."""

    peak: float = 1e-3
    warmup_steps: int = 1000
    decay: Literal["cosine", "rsqrt", "constant"] = "cosine"
    """cosine: to `final_share` of the peak at the last step; rsqrt: peak * sqrt(warmup_steps / step)."""
    final_share: float = 0.05

    def __post_init__(self):
        limits.at_least(self, 0, "peak", "warmup_steps", "final_share")


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How gradients become updates."""

    name: Literal["adamw", "adafactor"] = "adamw"
    schedule: Schedule = Schedule()
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    weight_decay: float = 0.01
    """On matrices only; scales, biases and embeddings are not decayed."""
    clip_norm: float | None = 1.0
    """The global gradient norm is clipped to this."""
    skip_above: float | None = None
    """A step whose gradient norm is above so many times the median of the last 64 changes nothing; None: none is."""
    accumulate: int = 1
    """Microbatches that one step is cut into; the result is that of the whole batch."""
    ema_decay: float | None = None
    """Keep an exponential moving average of the parameters, and evaluate and export it."""
    layer_decay: float = 1.0
    """The learning rate of layer l of n is multiplied by layer_decay ** (n - l): the deeper, the more."""

    def __post_init__(self):
        limits.at_least(self, 0, "eps", "weight_decay", "clip_norm", "layer_decay")
        limits.at_least(self, 1, "accumulate", "skip_above")
        for name in ("b1", "b2", "ema_decay"):
            found = getattr(self, name)
            if found is not None and not 0 <= found < 1:
                raise ValueError(f"reading the recipe: wanted Optimizer.{name} from 0 to below 1, found {found}.")


@dataclasses.dataclass(frozen=True)
class Lora:
    """Train low-rank updates of the attention and feed-forward matrices (arXiv 2106.09685); the rest stands still."""

    rank: int = 8
    alpha: float = 16.0
    pattern: str = r"(attention|mlp|feed_forward)"
    """Matrices whose parameter path matches this get an update."""

    def __post_init__(self):
        limits.at_least(self, 1, "rank")


@dataclasses.dataclass(frozen=True)
class Finetune:
    """What a run takes from a checkpoint. Rules are regular expressions on parameter paths, such as
    'encoder/stack/attention/query'."""

    checkpoint: str = ""
    """A run's folder, its checkpoints folder, or one step."""
    fresh: tuple[str, ...] = ()
    """These parameters start anew. One that the checkpoint lacks or has in another shape must be named here."""
    frozen: tuple[str, ...] = ()
    """These parameters are not trained."""
    use_ema: bool = True
    """Take the moving average where the checkpoint has one."""
    lora: Lora | None = None

    def __post_init__(self):
        if not self.checkpoint:
            raise ValueError(
                "finetuning: wanted a checkpoint that the weights come from, found none. Set Finetune.checkpoint, or "
                "Recipe.finetune = None to train from scratch."
            )


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """When the state is saved, and how many are kept."""

    every: int = 1000
    keep: int = 3
    """The last so many; two or more, so that two stand while the next is written."""
    keep_every_steps: int | None = None
    """Those of multiples of this stay, too."""
    keep_every_hours: float | None = None
    """The first one stays, too, and each so long after the one that stayed before."""
    keep_best: str = ""
    """The best one by this score of an evaluation, such as 'my_task/wer', stays, too."""
    best_is: Literal["lowest", "highest"] = "lowest"
    verified: float = 1.0
    """Of the bytes of a checkpoint, the share that is compared with their checksums before a run goes on from it. Sizes
    and names are compared in any case."""
    max_failed: int = 3
    """A save that fails is told, and the run goes on without; so many in a row end it, as does the last of all."""
    limit_seconds: int = 1200
    """A save that takes longer has failed: so long processes wait for one whose part of it went wrong."""

    def __post_init__(self):
        limits.at_least(self, 1, "every", "max_failed", "keep_every_steps", "limit_seconds")
        limits.at_least(self, 2, "keep")
        limits.at_least(self, 0, "verified")
        limits.at_least(self, 0.001, "keep_every_hours")
        limits.at_most(self, 1, "verified")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is measured while training."""

    every: int = 1000
    tasks: tuple[str, ...] = ()
    """SeqIO tasks or mixtures; empty: those of the training mixture."""
    split: str = "validation"
    max_examples: int = 200
    """Of each task."""
    decode_steps: int | None = None
    """Tokens that greedy decoding may write; None: as many as Row.targets has room for."""
    shown: int = 2
    """Examples of each task that are looked into, for the report and TensorBoard: the least likely, the likeliest, and
    others. They are kept with their audio in the run's folder."""

    def __post_init__(self):
        limits.at_least(self, 1, "every", "max_examples")
        limits.at_least(self, 0, "decode_steps", "shown")


@dataclasses.dataclass(frozen=True)
class Watchdog:
    """When a run that stands still is ended, with the stacks of its threads."""

    multiple: float = 20.0
    """A step, or the wait for a batch, may take so many times the usual time of a step."""
    least_seconds: float = 300.0
    """But no less than this is waited."""
    other_seconds: float = 7200.0
    """What anything else may take: the start, compiling, a save, an evaluation."""

    def __post_init__(self):
        limits.at_least(self, 1, "multiple", "least_seconds", "other_seconds")
        limits.at_most(self, 7 * 24 * 3600, "least_seconds", "other_seconds")


@dataclasses.dataclass(frozen=True)
class Losses:
    """How much each loss head weighs. A head is a file of speechlm_jax/losses/."""

    coefficients: tuple[tuple[str, float], ...] = (("targets", 1.0), ("ctc", 0.3), ("masked_tokens", 1.0))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that a training run is told."""

    run_dir: str = ""
    """A local or mounted folder, where checkpoints, metrics.jsonl, TensorBoard events and the recipe go. A run that is
    there goes on."""
    steps: int = 10_000
    seed: int = 0
    """Of the initial weights, the order of the data, dropout and masks."""
    data: data_config.Data = data_config.Data()
    model: model_config.Model = model_config.Model()
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer()
    layout: layout_config.Layout = layout_config.Layout()
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation | None = Evaluation()
    """None: the run is not evaluated while it trains."""
    finetune: Finetune | None = None
    """Where the weights come from; None: they start anew."""
    log_every: int = 20
    """Steps between two lines of metrics."""
    log_batches: bool = False
    """Whether each process writes the hash of every batch of its data shards, chained to those before it, to
    batches.jsonl (batches-PROCESS.jsonl but for the first). Those at a checkpoint stand in it always."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """What is told of the run besides its own files: TensorBoard's events in its folder, Weights & Biases (the extra
    [wandb])."""
    profile_after: tuple[int, ...] = ()
    """Steps behind which the next `profile_steps` are traced for xprof, into TensorBoard's folder. The signal USR1 has
    a process that trains trace its next ones."""
    profile_steps: int = 3
    gradient_norms_every: int = 0
    """Steps between two measurements of each loss head's own gradient norm, at a line of metrics; 0: never. One takes
    as long as a step for each head."""
    task_slots: int = 64
    """Lines in the tables of metrics by task: room for the tasks of the mixture."""
    max_skipped_steps: int = 20
    """A step whose loss or gradients are not finite, or above Optimizer.skip_above, is skipped; after so many in a row,
    or once the weights are not finite, the run goes back to its last checkpoint before, and on with other batches."""
    max_rollbacks: int = 2
    """So often; then it stops."""
    watchdog: Watchdog | None = Watchdog()
    """None: a run that stands still does so for ever."""

    def __post_init__(self):
        limits.at_least(self, 1, "steps", "log_every", "task_slots", "max_skipped_steps", "profile_steps")
        limits.at_least(self, 0, "max_rollbacks")
        if self.gradient_norms_every % self.log_every:
            raise ValueError(
                "reading the recipe: gradient norms are measured at lines of metrics, found "
                f"Recipe.gradient_norms_every = {self.gradient_norms_every} and Recipe.log_every = {self.log_every}. "
                "Make the first a multiple of the second."
            )
        if any(step < 1 for step in self.profile_after):
            raise ValueError(
                "reading the recipe: steps are traced behind step 1 or a later one, found Recipe.profile_after = "
                f"{self.profile_after}. The first step compiles."
            )
        if "://" in self.run_dir:
            raise ValueError(
                f"reading the recipe: wanted a local folder for the run, found Recipe.run_dir = '{self.run_dir}'. "
                "Mount the bucket, and name the folder that it is mounted on."
            )
        scored = None if self.evaluation is None else self.evaluation.every
        if self.checkpoints.keep_best and (scored is None or scored % self.checkpoints.every):
            raise ValueError(
                "keeping the best checkpoint: wanted one at every evaluation, found Evaluation.every = "
                f"{scored} and Checkpoints.every = {self.checkpoints.every}. Make the first a multiple of the second, "
                "or set Checkpoints.keep_best = ''."
            )
        if self.data.row.audio_seconds and self.model.subsampling != self.data.row.subsampling:
            raise ValueError(
                f"matching rows to the model: Row.subsampling = {self.data.row.subsampling} and Model.subsampling = "
                f"{self.model.subsampling}, wanted the same frames in one encoder position. Set both."
            )
        speech = self.model.speech_out
        if self.data.row.target_audio_seconds and speech is not None and speech.reduction != self.data.row.reduction:
            raise ValueError(
                f"matching rows to the model: Row.reduction = {self.data.row.reduction} and SpeechOut.reduction = "
                f"{speech.reduction}, wanted the same frames in one decoder step. Set both."
            )
