"""Texts among which an answer is chosen, as a tree of tokens: which may follow which."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from speechlm_jax import vocabulary

_NONE = -1


class Labels(NamedTuple):
    """A tree; node 0 is the root, at which every text begins."""

    tokens: Int[Array, "J C"]
    """What may follow each node; -1 where there is no more."""
    nodes: Int[Array, "J C"]
    """The node that each leads to."""


def build(texts: Sequence[Sequence[int]]) -> Labels:
    """The tree of texts, each of which is ended. Raises ValueError where there is none, or an empty one."""
    if not texts or not all(texts):
        raise ValueError(f"choosing among labels: wanted one or more, each of a token or more, found {list(texts)}.")
    children: list[dict[int, int]] = [{}]
    for text in texts:
        node = 0
        for token in (*text, vocabulary.EOS):
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
            node = children[node][token]
    room = max(map(len, children))
    tokens = np.full((len(children), room), _NONE, np.int32)
    nodes = np.zeros((len(children), room), np.int32)
    for number, own in enumerate(children):
        tokens[number, : len(own)], nodes[number, : len(own)] = list(own), list(own.values())
    return Labels(jnp.asarray(tokens), jnp.asarray(nodes))


def allowed(labels: Labels, nodes: Int[Array, "B E N"], vocabulary_size: int) -> Bool[Array, "B E N V"]:
    """What may follow."""
    tokens_BENC = labels.tokens[nodes]
    # What is -1 falls into a column too many.
    columns = jnp.where(tokens_BENC < 0, vocabulary_size, tokens_BENC)
    rows = jnp.ix_(*map(jnp.arange, nodes.shape), jnp.zeros(1, jnp.int32))[:3]
    room = jnp.zeros((*nodes.shape, vocabulary_size + 1), bool)
    return room.at[*rows, columns].set(True)[..., :-1]


def follow(labels: Labels, nodes: Int[Array, "B E N"], tokens: Int[Array, "B E N"]) -> Int[Array, "B E N"]:
    """The nodes after one more token, which may follow."""
    here_BENC = labels.tokens[nodes] == tokens[..., None]
    return jnp.sum(jnp.where(here_BENC, labels.nodes[nodes], 0), axis=-1)
