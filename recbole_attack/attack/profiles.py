"""Fake profiles: which items somebody who does not exist interacts with, and where the targets stand among them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recbole_attack.data.sequences import Int

_EXACT = 1 - 1e-12
"""A float may be above the whole number it stands for, by a smaller share than this takes away: 0.07 of 100 is 7."""


@dataclass(frozen=True)
class Filler:
    """Items of a fake profile besides the targets: some preferred ones, the others at random.

    Attributes:
        catalogue: ``[C]`` ids of the items there are, ascending.
        preferred: ``[P]`` ids of some of them, the most preferred first.
        share: Share of the items drawn from the preferred ones, rounded up.
        most: They are drawn from the first so many; from more where that is not enough.
    """

    catalogue: Int
    preferred: Int
    share: float = 0.0
    most: int = 0

    def __call__(self, rng: np.random.Generator, length: int) -> Int:
        """``[length]`` items in random order, none twice unless the catalogue is too small."""
        count = min(math.ceil(self.share * length * _EXACT), len(self.preferred))
        if not count:
            return rng.choice(self.catalogue, length, replace=length > len(self.catalogue))
        preferred = rng.choice(self.preferred[: max(self.most, count)], count, replace=False)
        rest = np.setdiff1d(self.catalogue, preferred)
        missing = length - count
        others = rng.choice(rest if len(rest) else self.catalogue, missing, replace=missing > len(rest))
        return rng.permutation(np.concatenate([preferred, others]))


@dataclass(frozen=True)
class WeightedFiller:
    """Items of a fake profile besides the targets, drawn one after the other with unequal odds.

    Attributes:
        catalogue: ``[C]`` ids of the items there are.
        odds: ``[C]`` how often each is drawn, up to a factor; those with 0 are drawn after all others.
    """

    catalogue: Int
    odds: Int

    def __call__(self, rng: np.random.Generator, length: int) -> Int:
        """``[length]`` items in random order, none twice, ``length`` at most ``C``."""
        # The first of exponential times comes with a probability in proportion to its rate, and so does every next one.
        times = rng.exponential(size=len(self.odds)) / np.maximum(self.odds, np.finfo(np.float32).tiny)
        return rng.permutation(self.catalogue[np.argsort(times)[:length]])


def most_popular(popularity: Int, catalogue: Int) -> Int:
    """``catalogue``, the most popular first; of equally popular items the smaller id counts as more popular.

    Args:
        popularity: ``[n_items]`` interactions of every item.
        catalogue: Ids of items, ascending.
    """
    return catalogue[np.argsort(-popularity[catalogue], kind="stable")]


def promote(rng: np.random.Generator, items: Int, promoted: Int) -> None:
    """Write the targets into a profile, at random positions after the first, whose item no model predicts.

    Args:
        rng: Draws the positions and, where not all targets fit, which of them stand there.
        items: ``[L]`` the profile; changed.
        promoted: ``[T]`` ids of the targets.
    """
    targets = rng.permutation(promoted)[: len(items) - 1]
    items[1 + rng.permutation(len(items) - 1)[: len(targets)]] = targets
