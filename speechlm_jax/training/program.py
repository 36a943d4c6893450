"""What a recipe compiles to: model, optimizer, mesh and step. It follows from the recipe alone: no data is opened."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from speechlm_jax import batch, chips, memory, parameters, sharding
from speechlm_jax.losses import heads
from speechlm_jax.models import flops, speech_text
from speechlm_jax.training import config, finetune, lora, optimizers, state, step


class Program:
    """The program of a recipe on a mesh (of all devices there are, if None).

    Raises ValueError where the recipe does not fit the devices, or contradicts itself.
    """

    def __init__(self, recipe: config.Recipe, mesh: Mesh | None = None):
        self.recipe = recipe
        self.mesh = sharding.make_mesh(recipe.layout) if mesh is None else mesh
        sharding.check_rows(self.mesh, recipe.data.rows, recipe.optimizer.accumulate)
        self.graphdef, _ = state.describe_model(self._make_model)
        there = heads.load(name for name, _ in recipe.losses.coefficients)
        self.coefficients = {name: value for name, value in recipe.losses.coefficients if value}
        self.heads = {name: there[name] for name in self.coefficients}
        params = jax.eval_shape(self.first_params)
        frozen = frozenset() if recipe.finetune is None else finetune.frozen(params, recipe.finetune)
        self.optimizer = optimizers.make(recipe.optimizer, steps=recipe.steps, frozen=frozen)
        sharding.check_cut(self.mesh, params)
        self.plan = state.abstract(params, self.optimizer, self.mesh)
        """The state as shapes, each with where it lies."""
        self.flops = flops.step(recipe.model, self.plan.params, recipe.data.row, recipe.data.rows, self.heads)
        """Operations of a step, by `models.flops.step`: of all the room of its rows, whatever lies in it."""

    @property
    def num_parameters(self) -> int:
        """Of the model, with those of low-rank updates."""
        return sum(parameters.array(leaf).size for leaf in parameters.by_path(self.plan.params).values())

    def utilisation(self, steps_per_second: float) -> dict[str, float]:
        """'model_flops_per_second' of a device at that pace; and 'mfu', its share of the device's published peak in
        bfloat16, where that is known (PaLM, arXiv 2204.02311, appendix B)."""
        devices = self.mesh.devices
        done = self.flops * steps_per_second / devices.size
        peak = chips.peak_flops(devices.flat[0].device_kind)
        return {"model_flops_per_second": done} | ({} if peak is None else {"mfu": done / peak})

    def first_params(self) -> nnx.State:
        """The parameters that a run starts with where it takes none; run it inside jit."""
        params = nnx.split(self._make_model())[1]
        tuning = self.recipe.finetune
        if tuning is not None and tuning.lora is not None:
            params = lora.attach(params, tuning.lora, jax.random.key(self.recipe.seed))
        return params

    @property
    def held(self) -> dict[str, int]:
        """Bytes that a device holds before and after a step: params, optimizer (with moving averages) and batch."""
        return {
            "params": memory.held(self.plan.params),
            "optimizer": memory.held((self.plan.opt_state, self.plan.ema)),
            "batch": memory.held(self.rows()),
        }

    def origin(self, vocabulary: str) -> finetune.Origin | None:
        """What the recipe finetunes from, compared with the model; None where it begins anew. vocabulary: hash of the
        run's. Raises ValueError where it does not fit."""
        tuning = self.recipe.finetune
        if tuning is None or not tuning.checkpoint:
            return None
        return finetune.find(self.plan.params, tuning, vocabulary=vocabulary)

    def first_state(self, origin: finetune.Origin | None) -> state.TrainState:
        """The state before the first step, on the mesh, with the parameters of `origin`, where there is one."""
        arrays = None if origin is None else finetune.take(origin, mesh=self.mesh)
        return state.build(self.first_params, self.optimizer, self.mesh, arrays)

    def rows(self) -> batch.Batch:
        """The global batch as shapes, each with where it lies."""
        place = sharding.batch_sharding(self.mesh)
        return jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=place),
            batch.empty(self.recipe.data.row, self.recipe.data.rows),
        )

    def compile(self, check: Callable[[], None] = lambda: None) -> Any:
        """The compiled step: (state, batch) -> (state, Metrics). `check` is called when it is traced: what it raises is
        known before the compiler's minutes.

        Raises ValueError where the devices have no room for what it needs.
        """
        doing, kept = f"training with {self.recipe.data.rows} rows", sum(self.held.values())
        there = memory.of_device((self.mesh.local_devices or self.mesh.devices.flat)[0])
        # Beside the batch of a step lie that of the next one, those that are made ahead, and one that has no place yet.
        ahead = (max(self.recipe.data.stream.prefetch, 1) + 2) * self.held["batch"]
        memory.check(kept + ahead, there, f"{doing}, without what is computed on the way,")
        lowered = self.lower()
        check()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if (refused := memory.refused(error, kept)) is None:
                raise
            memory.check(*refused, doing)
            raise
        memory.check(memory.peak(compiled) + ahead, there, doing)
        return compiled

    def lower(self) -> Any:
        """The step as lowered by JAX, before it is compiled."""
        train_step = step.make_train_step(
            self.graphdef,
            self.optimizer,
            self.heads,
            self.coefficients,
            plan=self.plan,
            mesh=self.mesh,
            seed=self.recipe.seed,
            accumulate=self.recipe.optimizer.accumulate,
            task_slots=self.recipe.task_slots,
        )
        return train_step.lower(self.plan, self.rows())

    @functools.cached_property
    def gradient_norms(self) -> Any:
        """The function (state, batch) -> norm of each head's own gradient; it is compiled when it is first called."""
        return step.make_gradient_norms(
            self.graphdef, self.optimizer, self.heads, self.coefficients, plan=self.plan, mesh=self.mesh
        )

    def meta(self, vocabulary: str, text: str) -> dict[str, Any]:
        """What a checkpoint says of the recipe, so that it can be used without it."""
        return {
            "vocabulary": vocabulary,
            "recipe": text,
            "model": dataclasses.asdict(self.recipe.model),
            "data": dataclasses.asdict(self.recipe.data),
            "losses": self.coefficients,
        }

    def _make_model(self) -> speech_text.SpeechText:
        return speech_text.SpeechText(self.recipe.model, rngs=nnx.Rngs(self.recipe.seed))
