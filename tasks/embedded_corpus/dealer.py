"""Random choices that are dealt like cards."""

import random
from collections.abc import Sequence
from typing import Any


class Dealer(random.Random):
    """`choice` and `sample` give every member of a table once before any comes again, in an order of their own each
    round. So all words of a table are about equally frequent, however few sentences there are."""

    def __init__(self, seed: str):
        super().__init__(seed)
        self._decks: dict[Any, list[int]] = {}

    def copy(self) -> "Dealer":
        """A dealer that deals from here on what this one does."""
        same = Dealer("")
        same.setstate(self.getstate())
        same._decks = {members: list(deck) for members, deck in self._decks.items()}
        return same

    def choice(self, seq: Sequence) -> Any:
        """The next member; `seq` is a tuple or a range, known by what it holds."""
        deck = self._decks.setdefault(seq, [])
        if not deck:
            deck.extend(range(len(seq)))
            self.shuffle(deck)
        return seq[deck.pop()]

    def sample(self, population: Sequence, k: int) -> list:
        """The next `k` members, all different."""
        chosen: list = []
        while len(chosen) < k:
            one = self.choice(population)
            if one not in chosen:
                chosen.append(one)
        return chosen
