"""Search for the text that scores best, following several hypotheses of every segment at once.

The score is log P of the decoder, with those of the CTC head and of a language model where they are asked for, over a
power of the length. The hypothesis that greedy search would follow is never dropped, so what is found scores no less.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.inference import config, ctc_prefixes, hypotheses, label_sets
from speechlm_jax.losses import ctc
from speechlm_jax.models import encoder, speech_text, stepping

POSSIBLE = -1e29
"""What scores less is no text."""


class Scorers(NamedTuple):
    """What counts beside the decoder."""

    ctc_logits: Float[Array, "B P V"] | None = None
    frame_ids: Int[Array, "B P"] | None = None
    """The segment of each encoder audio position."""
    aligned: Bool[Array, "B E"] | None = None
    """Of which segments the CTC head may say something."""
    language_model: speech_text.SpeechText | None = None
    """A decoder that has learned text behind the same prompts, and is given nothing else."""
    labels: label_sets.Labels | None = None
    """The texts to choose among; None: any."""
    forbidden: hypotheses.Forbidden = hypotheses.NOTHING
    """What is not to be written."""


class _Beside(NamedTuple):
    """What the other scorers keep of each hypothesis."""

    prefixes: ctc_prefixes.Prefixes | None
    language_model: stepping.Cache | None
    nodes: Int[Array, "B E N"] | None


class _State(NamedTuple):
    tokens: Int[Array, "B E N U"]
    """Of the hypotheses that may go on, behind their prompts."""
    sums: Float[Array, "B E N"]
    """What they score, without the CTC head."""
    is_greedy: Bool[Array, "B E"]
    """Whether the first one is what greedy search follows."""
    cache: stepping.Cache
    beside: _Beside
    found: hypotheses.Texts
    done: Bool[Array, "B E"]


class _Ranked(NamedTuple):
    """The hypotheses after a step, the one that greedy search follows first, and which of the former may end."""

    parents: Int[Array, "B E N"]
    tokens: Int[Array, "B E N"]
    scores: Float[Array, "B E N"]
    greedy_goes_on: Bool[Array, "B E"]
    ends: Bool[Array, "B E N"]


class Beam:
    """A search of one batch, under jit."""

    def __init__(
        self,
        model: speech_text.SpeechText,
        batch: batches.Batch,
        encoded: encoder.Encoded | None,
        prompts: Int[Array, "B E W"],
        prompt_lengths: Int[Array, "B E"],
        choices: config.Search,
        scorers: Scorers,
        *,
        max_steps: int,
        eos: int | Int[Array, ""] = vocabulary.EOS,
        early: bool = True,
    ):
        """max_steps: tokens of a text at most, the end token too. early: no step is done that can change nothing."""
        self._prompts, self._lengths = prompts, prompt_lengths
        self._choices, self._scorers = choices, scorers
        self._max_steps, self._eos, self._early = max_steps, eos, early
        self._rows, self._segments = batch.segments.weights.shape
        self._weights = batch.segments.weights
        self._num_steps = prompts.shape[2] + max_steps

        def steps(model: speech_text.SpeechText, encoded: encoder.Encoded | None) -> stepping.Steps:
            return model.steps(encoded, self._rows, self._segments, self._num_steps, choices.width)

        self._steps = steps(model, encoded)
        self._steps_beside = None if scorers.language_model is None else steps(scorers.language_model, None)
        self._frames, self._ctc_BE11 = None, None
        if choices.ctc and scorers.ctc_logits is not None and scorers.frame_ids is not None:
            aligned_BE = batch.segments.ctc > 0 if scorers.aligned is None else scorers.aligned
            self._frames = ctc_prefixes.frames(scorers.ctc_logits, scorers.frame_ids, self._segments)
            self._ctc_BE11 = jnp.where(aligned_BE, choices.ctc, 0.0)[:, :, None, None]

    def search(self) -> hypotheses.Texts:
        """The best texts behind each segment's prompt; those of segments that weigh nothing mean nothing."""

        def unfinished(state: _State) -> Bool[Array, ""]:
            return (state.cache.step < self._num_steps) & ~jnp.all(state.done)

        return jax.lax.while_loop(unfinished, self._advance, self._start()).found

    def _start(self) -> _State:
        shape, width = (self._rows, self._segments), self._choices.width
        is_first_N = jnp.arange(width) == 0
        pool = (*shape, self._choices.best)
        return _State(
            tokens=hypotheses.begun(self._prompts, self._lengths, self._max_steps, width),
            sums=jnp.broadcast_to(jnp.where(is_first_N, 0.0, ctc.IMPOSSIBLE)[None, None, :], (*shape, width)),
            is_greedy=jnp.ones(shape, bool),
            cache=self._steps.start(),
            beside=_Beside(
                prefixes=None if self._frames is None else ctc_prefixes.start(self._frames, width),
                language_model=None if self._steps_beside is None else self._steps_beside.start(),
                nodes=None if self._scorers.labels is None else jnp.zeros((*shape, width), jnp.int32),
            ),
            found=hypotheses.Texts(
                tokens=jnp.zeros((*pool, self._max_steps), jnp.int32),
                lengths=jnp.full(pool, -1, jnp.int32),
                scores=jnp.full(pool, ctc.IMPOSSIBLE),
                ended=jnp.zeros(pool, bool),
            ),
            done=self._weights <= 0,
        )

    def _advance(self, state: _State) -> _State:
        step, choices = state.cache.step, self._choices
        free_BE = step >= self._lengths
        scores_BENV, cache, language_model = self._scores(state, step == self._lengths)
        totals_BENV = scores_BENV + self._of_ctc(state.beside.prefixes)
        ranked = _ranked(totals_BENV, state.is_greedy, self._eos)
        # In its prompt every hypothesis goes on as itself.
        here_BEN = jax.lax.dynamic_index_in_dim(state.tokens, step, axis=3, keepdims=False)
        own_BEN = jnp.broadcast_to(jnp.arange(choices.width)[None, None, :], here_BEN.shape)
        free_BE1 = free_BE[:, :, None]
        parents_BEN = jnp.where(free_BE1, ranked.parents, own_BEN)
        tokens_BEN = jnp.where(free_BE1, ranked.tokens, here_BEN)
        tokens_BENU = hypotheses.taken(state.tokens, parents_BEN)
        going_on = _State(
            tokens=jax.lax.dynamic_update_index_in_dim(tokens_BENU, tokens_BEN, step, axis=3),
            sums=jnp.where(free_BE1, _at(scores_BENV, ranked), state.sums),
            is_greedy=jnp.where(free_BE, ranked.greedy_goes_on, state.is_greedy),
            cache=stepping.follow(cache, parents_BEN),
            beside=self._follow(state.beside, language_model, parents_BEN, tokens_BEN, free_BE),
            found=state.found,
            done=state.done,
        )
        return self._told(going_on, state, totals_BENV, ranked)

    def _scores(
        self, state: _State, is_first: Bool[Array, "B E"]
    ) -> tuple[Float[Array, "B E N V"], stepping.Cache, stepping.Cache | None]:
        """What every hypothesis with every next token scores, without the CTC head; and the caches after that step.
        is_first: whether that token is the first."""
        before_BEN = hypotheses.before(state.tokens, state.cache.step)
        before = before_BEN.reshape(self._rows, -1)
        logits, cache = self._steps.text(before, state.cache)
        added_BENV = jax.nn.log_softmax(logits).reshape(*before_BEN.shape, -1)
        if self._ctc_BE11 is not None:
            added_BENV *= 1 - self._ctc_BE11
        beside = state.beside.language_model
        if self._steps_beside is not None:
            assert beside is not None
            logits, beside = self._steps_beside.text(before, beside)
            added_BENV += self._choices.language_model * jax.nn.log_softmax(logits).reshape(added_BENV.shape)
        added_BENV = jnp.maximum(self._scorers.forbidden.left_out(added_BENV, is_first), ctc.IMPOSSIBLE)
        scores_BENV = state.sums[..., None] + added_BENV
        if self._scorers.labels is not None:
            assert state.beside.nodes is not None
            allowed_BENV = label_sets.allowed(self._scorers.labels, state.beside.nodes, scores_BENV.shape[-1])
            scores_BENV = jnp.where(allowed_BENV, scores_BENV, ctc.IMPOSSIBLE)
        return scores_BENV, cache, beside

    def _of_ctc(self, prefixes: ctc_prefixes.Prefixes | None) -> Float[Array, "B E N V"] | float:
        """What the CTC head adds to every hypothesis with every next token."""
        if self._frames is None or self._ctc_BE11 is None or prefixes is None:
            return 0.0
        found_BENV = ctc_prefixes.extended(self._frames, prefixes)
        return jnp.where((found_BENV < POSSIBLE) & (self._ctc_BE11 > 0), ctc.IMPOSSIBLE, self._ctc_BE11 * found_BENV)

    def _follow(
        self,
        beside: _Beside,
        language_model: stepping.Cache | None,
        parents: Int[Array, "B E N"],
        tokens: Int[Array, "B E N"],
        free: Bool[Array, "B E"],
    ) -> _Beside:
        """What the other scorers keep of hypotheses that go on from their parents with these tokens."""
        prefixes, nodes = beside.prefixes, beside.nodes
        if prefixes is not None and self._frames is not None:
            after = ctc_prefixes.follow(self._frames, prefixes, parents, tokens)
            prefixes = jax.tree.map(lambda new, old: _where(free, new, old), after, prefixes)
        if nodes is not None and self._scorers.labels is not None:
            after = label_sets.follow(self._scorers.labels, hypotheses.taken(nodes, parents), tokens)
            nodes = _where(free, after, nodes)
        if language_model is not None:
            language_model = stepping.follow(language_model, parents)
        return _Beside(prefixes, language_model, nodes)

    def _told(
        self,
        going_on: _State,
        before: _State,
        totals: Float[Array, "B E N V"],
        ranked: _Ranked,
    ) -> _State:
        """The state with the texts that ended at this step, or for which there is no more room."""
        written_BE = going_on.cache.step - self._lengths
        searched_BE1 = ((written_BE > 0) & ~before.done)[:, :, None]
        full_BE = written_BE >= self._max_steps
        ends_BEN = totals[..., self._eos]
        ended = self._texts(before.tokens, written_BE, ends_BEN, ended=True)
        cut = self._texts(going_on.tokens, written_BE, ranked.scores, ended=False)
        found = _best(
            before.found,
            (ended, searched_BE1 & ranked.ends & (ends_BEN > POSSIBLE)),
            (cut, searched_BE1 & full_BE[:, :, None] & (ranked.scores > POSSIBLE)),
        )
        most_BE = jnp.max(ranked.scores, axis=-1)
        over_BE = full_BE | (most_BE < POSSIBLE)
        if self._early:
            # Scores only fall, and no length makes more of them than the largest.
            over_BE |= found.scores[:, :, -1] >= most_BE / hypotheses.power(jnp.asarray(self._max_steps), self._choices)
        return going_on._replace(found=found, done=before.done | ((written_BE > 0) & over_BE))

    def _texts(
        self,
        tokens: Int[Array, "B E N U"],
        written: Int[Array, "B E"],
        scores: Float[Array, "B E N"],
        *,
        ended: bool,
    ) -> hypotheses.Texts:
        """Hypotheses as texts: what stands behind their prompts, of which the last may be the end token."""
        lengths_BEN = jnp.broadcast_to((written - int(ended))[:, :, None], scores.shape)
        return hypotheses.Texts(
            tokens=hypotheses.behind(tokens, self._lengths, lengths_BEN, self._max_steps),
            lengths=lengths_BEN,
            scores=scores / hypotheses.power(written, self._choices)[:, :, None],
            ended=jnp.full(scores.shape, ended),
        )


def _ranked(totals: Float[Array, "B E N V"], is_greedy: Bool[Array, "B E"], eos: int | Int[Array, ""]) -> _Ranked:
    """The best hypotheses that go on. One may end if that is among the best, or what greedy search does."""
    num_rows, num_segments, width, size = totals.shape
    # Among twice as many there are enough that do not end.
    most_BEX, places_BEX = hypotheses.highest(totals.reshape(num_rows, num_segments, -1), 2 * width)
    parents_BEX, tokens_BEX = places_BEX // size, places_BEX % size
    (greedy_score_BE1, greedy_BE1) = hypotheses.highest(totals[:, :, 0], 1)
    greedy_BE = greedy_BE1[:, :, 0]
    goes_on_BE = is_greedy & (greedy_BE != eos)
    is_it_BEX = (parents_BEX == 0) & (tokens_BEX == greedy_BE[:, :, None]) & goes_on_BE[:, :, None]
    keys_BEX = jnp.where((tokens_BEX == eos) | is_it_BEX, -jnp.inf, most_BEX)
    first_BE = jnp.where(goes_on_BE, jnp.inf, -jnp.inf)
    _, order_BEN = jax.lax.top_k(_in_front(first_BE, keys_BEX), width)

    def ordered(first_BE: Array, rest_BEX: Array) -> Array:
        return jnp.take_along_axis(_in_front(first_BE, rest_BEX), order_BEN, axis=2)

    greedy_ends_BE1 = (is_greedy & (greedy_BE == eos))[:, :, None]
    is_first_N = (jnp.arange(width) == 0)[None, None, :]
    return _Ranked(
        parents=ordered(jnp.zeros_like(greedy_BE), parents_BEX),
        tokens=ordered(greedy_BE, tokens_BEX),
        scores=ordered(greedy_score_BE1[:, :, 0], most_BEX),
        greedy_goes_on=goes_on_BE,
        ends=(totals[..., eos] >= most_BEX[:, :, width - 1 : width]) | (greedy_ends_BE1 & is_first_N),
    )


def _best(found: hypotheses.Texts, *more: tuple[hypotheses.Texts, Bool[Array, "B E N"]]) -> hypotheses.Texts:
    """As many texts as were found before, the best of those and of the ones that count among `more`."""
    all_of = [
        found,
        *(texts._replace(scores=jnp.where(counts, texts.scores, ctc.IMPOSSIBLE)) for texts, counts in more),
    ]
    whole = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=2), *all_of)
    _, order_BEN = jax.lax.top_k(whole.scores, found.scores.shape[2])
    best = jax.tree.map(lambda values: hypotheses.taken(values, order_BEN), whole)
    return best._replace(lengths=jnp.where(best.scores > POSSIBLE, best.lengths, -1))


def _in_front(first: Shaped[Array, "B E"], rest: Shaped[Array, "B E _"]) -> Shaped[Array, "B E _"]:
    return jnp.concatenate([first[:, :, None], rest], axis=2)


def _at(values: Float[Array, "B E N V"], ranked: _Ranked) -> Float[Array, "B E N"]:
    """Of each hypothesis the value of its parent and its token."""
    num_rows, num_segments, _, size = values.shape
    places_BEN = ranked.parents * size + ranked.tokens
    return jnp.take_along_axis(values.reshape(num_rows, num_segments, -1), places_BEN, axis=2)


def _where(free: Bool[Array, "B E"], new: Array, old: Array) -> Array:
    return jnp.where(free.reshape(*free.shape, *(1,) * (new.ndim - 2)), new, old)
