"""Synthetic users, items and sequences of any size.

Each item has one category and a Zipf weight. Within a category, items form a ring in order of weight. Each user has a
gender, an age and an occupation, and three favourite categories: one each of those that go with the three attributes,
or of all, as ``attribute_share`` says. The next interaction is, with probability :data:`CHAIN`, the item that follows
the last one on its ring; otherwise, with probability :data:`TASTE`, a draw by weight from a favourite category;
otherwise a draw by weight from all items. So a sequential model beats popularity, and user attributes carry as much
information as wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream

CHAIN = 0.6
"""How likely the next interaction is the item that follows the last one on its ring."""
TASTE = 0.8
"""How likely it is drawn from a favourite category, if it is not that."""
ZIPF = 1.0
LIGHT = 10
"""Users with fewer interactions than this are light, which makes them platform users by the rule of "Attacking
Pre-trained Recommendation" (Wu et al., 2023, section 4.1)."""
GENDERS = ("F", "M")
OCCUPATIONS = ("clerk", "doctor", "driver", "engineer", "farmer", "nurse", "student", "teacher")
AGES = range(18, 68)


@dataclass(frozen=True)
class Synthetic:
    """The size of a synthetic dataset.

    Attributes:
        users: Users with at least :data:`LIGHT` interactions.
        items: Items.
        categories: Categories, at most one per item.
        mean_length: Mean number of interactions of those users, at least :data:`LIGHT`.
        light_users: Further users with 2 to 9 interactions, 5 on average.
        attribute_share: Probability in [0, 1] that a favourite category is one that goes with an attribute; at 0,
            attributes say nothing about tastes.
        seed: Random seed.

    Raises:
        ConfigError: A size is out of its range, or there are more categories than items.
    """

    users: int = 1000
    items: int = 1000
    categories: int = 20
    mean_length: float = 30.0
    light_users: int = 0
    attribute_share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"users": 1, "items": 2, "categories": 1, "mean_length": LIGHT, "light_users": 0, "seed": 0}
        for name, low in lowest.items():
            if not low <= getattr(self, name) < inf:  # neither holds of NaN
                raise ConfigError(f"synthetic {name} must be at least {low}: found {getattr(self, name)}")
        if not 0 <= self.attribute_share <= 1:
            raise ConfigError(f"synthetic attribute_share must be from 0 to 1: found {self.attribute_share}")
        if self.categories > self.items:
            raise ConfigError(f"synthetic categories must be at most items ({self.items}): found {self.categories}")


PRESETS = {
    "small": Synthetic(),
    "aliec": Synthetic(users=98_000, items=109_000, categories=5000, mean_length=8_900_000 / 98_000, light_users=6000),
}
"""Named sizes; ``aliec`` has the counts of Wu et al. (2023), section 4.1, which leaves out the number of categories."""


@dataclass(frozen=True)
class SyntheticData:
    """What a dataset holds; user and item 0 are padding.

    Attributes:
        sequences: Every user's items in order.
        attributes: ``[n_users, 3]`` numbers of gender, age and occupation.
        categories: ``[n_items]`` category of every item, from 0.
    """

    sequences: UserSequences
    attributes: Int
    categories: Int


@dataclass(frozen=True)
class _Catalogue:
    """Items on the rings of their categories, category after category, heaviest item first.

    Attributes:
        starts: ``[categories + 1]`` where each category begins.
        following: ``[items]`` the next place on the ring.
        weight_before: ``[items + 1]`` total weight of all places before each.
    """

    starts: Int
    following: Int
    weight_before: NDArray[np.float64]

    def draw(self, low: Int, high: Int, uniform: NDArray[np.float64]) -> Int:
        """Places drawn by weight between ``low`` and ``high`` (not included), one for each uniform number."""
        weight = self.weight_before[low] + uniform * (self.weight_before[high] - self.weight_before[low])
        return np.clip(np.searchsorted(self.weight_before, weight, side="right") - 1, low, high - 1)


def generate(size: Synthetic) -> SyntheticData:
    """Draw a dataset; the same size and seed give the same one.

    Holds 8 bytes per interaction at its peak.
    """
    rng = stream(size.seed, "synthetic items")
    catalogue, category = _catalogue(size, rng)
    ids = rng.permutation(size.items) + 1
    categories = np.zeros(size.items + 1, dtype=np.int64)
    categories[ids] = category
    lengths = _lengths(size)
    attributes, favourites = _users(size, len(lengths))
    offsets = np.concatenate([[0, 0], np.cumsum(lengths)])
    places = _walk(catalogue, lengths, favourites, offsets[1:-1], stream(size.seed, "synthetic sequences"))
    sequences = UserSequences(ids.astype(np.int32)[places], offsets, size.items + 1)
    return SyntheticData(sequences, np.concatenate([[[0, 0, 0]], attributes]), categories)


def _catalogue(size: Synthetic, rng: np.random.Generator) -> tuple[_Catalogue, Int]:
    """The catalogue, and the ``[items]`` category of each place in it; Zipf ranks are dealt to categories at random."""
    category = rng.permutation(np.resize(np.arange(size.categories), size.items))
    ranks = np.argsort(category, kind="stable")
    ends = np.cumsum(np.bincount(category))
    starts = np.concatenate([[0], ends])
    following = np.arange(1, size.items + 1)
    following[ends - 1] = starts[:-1]
    weights = (ranks + 1.0) ** -ZIPF
    return _Catalogue(starts, following, np.concatenate([[0.0], np.cumsum(weights)])), category[ranks]


def _lengths(size: Synthetic) -> Int:
    """``[users + light_users]`` sequence lengths in random order; long-tailed, with an exact total for the others."""
    rng = stream(size.seed, "synthetic lengths")
    weights = rng.lognormal(size=size.users)
    spare = round(size.users * size.mean_length) - LIGHT * size.users
    lengths = LIGHT + rng.multinomial(spare, weights / weights.sum())
    light = 2 + rng.binomial(LIGHT - 3, 3 / (LIGHT - 3), size=size.light_users)
    return rng.permutation(np.concatenate([lengths, light]))


def _users(size: Synthetic, count: int) -> tuple[Int, Int]:
    """``[count, 3]`` attributes and ``[count, 3]`` favourite categories."""
    rng = stream(size.seed, "synthetic users")
    kinds = (len(GENDERS), len(AGES), len(OCCUPATIONS))
    attributes = np.stack([rng.integers(0, n, count) for n in kinds], axis=1)
    groups = attributes // [1, 10, 1]  # ages count by tens of years
    favourites = []
    for group in groups.T:
        n_groups = int(group.max()) + 1
        each = -(-size.categories // n_groups)
        shares = np.resize(rng.permutation(size.categories), (n_groups, each))
        favourites.append(shares[group, rng.integers(0, each, count)])
    rng = stream(size.seed, "synthetic tastes")
    bound = rng.random((count, len(kinds))) < size.attribute_share
    return attributes, np.where(bound, np.stack(favourites, axis=1), rng.integers(0, size.categories, bound.shape))


def _walk(catalogue: _Catalogue, lengths: Int, favourites: Int, offsets: Int, rng: np.random.Generator) -> Int:
    """All users' interactions as places in the catalogue; one step of all users at a time, longest users first."""
    order = np.argsort(-lengths, kind="stable")
    active = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
    places = np.empty(int(lengths.sum()), dtype=np.int32)
    n_items = len(catalogue.following)
    now = np.zeros(len(lengths), dtype=np.int64)
    for step, count in enumerate(active):
        users = order[:count]
        kind, uniform = rng.random((2, count))
        chained = kind < CHAIN if step else np.zeros(count, dtype=bool)
        liked = rng.random(count) < TASTE
        category = favourites[users, rng.integers(0, favourites.shape[1], count)]
        low = np.where(liked, catalogue.starts[category], 0)
        high = np.where(liked, catalogue.starts[category + 1], n_items)
        now = np.where(chained, catalogue.following[now[:count]], catalogue.draw(low, high, uniform))
        places[offsets[users] + step] = now
    return places
