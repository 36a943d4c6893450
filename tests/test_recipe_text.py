"""A recipe's text: complete, the same every time, and of everything that recipes are made of."""

import dataclasses
from typing import Any

from speechlm_jax import recipe_text


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A leaf."""

    size: float = 1e-3
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Tree:
    """A tree."""

    leaf: Leaf = Leaf()
    others: tuple[Leaf, ...] = ()
    table: Any = None


def grow(*, tree: Tree, times: int = 1) -> None: ...


def written(**keywords):
    """The text, with this module under a short name."""
    return recipe_text.write(grow, keywords).replace(__name__, "here")


def test_every_field_is_written():
    assert written(tree=Tree(), times=2) == (
        "from __gin__ import dynamic_registration\n"
        "import here\n\n"
        "here.grow:\n  times = 2\n  tree = @here.Tree()\n\n"
        "here.Tree:\n  leaf = @here.Leaf()\n  others = ()\n  table = None\n\n"
        "here.Leaf:\n  size = 0.001\n  name = None\n"
    )


def test_equal_instances_share_a_block_and_different_ones_have_their_own():
    tree = Tree(Leaf(1), (Leaf(1), Leaf(2)), {"a": [Leaf(3)]})
    text = written(tree=tree)
    assert "others = (@here.Leaf(), @tree_others_1/here.Leaf())" in text
    assert "table = {'a': [@tree_table_a_0/here.Leaf()]}" in text
    assert text.count("Leaf:\n") == 3
    assert "tree_others_1/here.Leaf:\n  size = 2\n" in text


def test_a_tuple_of_one_stays_a_tuple():
    assert "others = (@here.Leaf(),)" in written(tree=Tree(others=(Leaf(),)))
