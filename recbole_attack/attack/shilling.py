"""Profiles of fake users who are written into the log: the classical threat, known as shilling.

A recipe reads its own parameters from the configuration (``properties/profile/<name>.yaml`` holds the defaults) and
what the attacker knows of the log, and returns :class:`FakeUsers`. A profile consists of the targets, of selected items
if the attack has some, and of filler items, all different (Lam and Riedl, WWW 2004; Burke et al. 2005; Mobasher, Burke,
Bhaumik and Williams, ACM TOIT 2007; surveyed by Gunes et al. 2014). Papers are cited from memory; sections may be off.

There profiles hold ratings. Here feedback is implicit, as all models of the scenario read it, and a profile is what its
user interacted with: ratings of targets and selected items are the highest there are, so they become interactions;
what each recipe makes of the ratings of fillers its docstring says. In the papers profiles have no order; here targets
stand at random positions after the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recbole_attack.attack.attack import LEVELS, lowest_level
from recbole_attack.attack.profiles import Filler, WeightedFiller, most_popular, promote
from recbole_attack.data.categories import similar_targets
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.rng import stream
from recbole_attack.utils.shares import part_of

CATEGORIES = "categories of the items"


@dataclass(frozen=True)
class Log:
    """What attackers may know of the log.

    Attributes:
        sequences: Training interactions of the real users.
        targets: ``[T]`` ids of the promoted items, ascending.
        categories: ``[n_items]`` or ``[n_items, W]`` categories of every item, see
            ``item_categories``; ``None`` where none are configured.
    """

    sequences: UserSequences
    targets: Int
    categories: Int | None = None

    @property
    def others(self) -> Int:
        """Ids of all items but the targets, ascending."""
        return np.setdiff1d(np.arange(1, self.sequences.n_items), self.targets)


@dataclass(frozen=True)
class FakeUsers:
    """How fake users come by their profiles.

    Attributes:
        fill: ``(rng, length) -> [length]`` items besides the targets.
        knowledge: What the attacker must know besides the catalogue; of :data:`~recbole_attack.attack.LEVELS`, where
            they have it.
    """

    fill: Callable[[np.random.Generator, int], Int]
    knowledge: tuple[str, ...] = ()

    @property
    def level(self) -> str | None:
        """See :func:`~recbole_attack.attack.attack.lowest_level`; nobody needs the model that K0 comes with."""
        return lowest_level(self.knowledge)

    def sequences(self, lengths: Int, log: Log, seed: int) -> UserSequences:
        """One profile for each fake user, each with random draws of its own.

        Args:
            lengths: ``[M]`` number of items of each profile, from 2 to the size of the catalogue. A profile shorter
                than the list of targets holds as many as fit after its first item.
            log: The real log.
            seed: The run's seed.

        Returns:
            Sequences of ``M`` users with ids from 1; no item is there twice in one.
        """
        profiles = [self._profile(number, int(length), log, seed) for number, length in enumerate(lengths)]
        offsets = np.concatenate([[0, 0], np.cumsum(lengths, dtype=np.int64)])
        items = np.concatenate([np.zeros(0, dtype=np.int32), *profiles]).astype(np.int32)
        return UserSequences(items, offsets, log.sequences.n_items)

    def _profile(self, number: int, length: int, log: Log, seed: int) -> Int:
        rng, items = stream(seed, "fake user", number), np.zeros(length, dtype=np.int64)
        promote(rng, items, log.targets)
        free = items == 0
        items[free] = self.fill(rng, int(free.sum()))
        return items


def ra(config: Mapping[str, Any], log: Log) -> FakeUsers:
    """Random attack: fake users have the targets and random items.

    RandomBot of Lam and Riedl 2004; Mobasher et al. 2007, section 3.2. There fillers are rated around the mean of all
    ratings; here they are interactions like any others.
    """
    return FakeUsers(Filler(log.others, log.others[:0]))


def bandwagon(config: Mapping[str, Any], log: Log) -> FakeUsers:
    """Bandwagon attack: fake users have the targets, some popular items and random ones.

    Burke et al. 2005; Mobasher et al. 2007, section 3.2: the popular items are rated as high as the targets, the others
    at random. We choose the shares of ``bandwagon`` among the attacks of clients.
    """
    preferred = most_popular(log.sequences.popularity(), log.others)
    most = part_of(len(log.others), config["popular_items"])
    return FakeUsers(Filler(log.others, preferred, config["popular_share"], most), (LEVELS["K1"],))


def popular(config: Mapping[str, Any], log: Log) -> FakeUsers:
    """Popular attack: fake users have the targets and the most popular items.

    Gunes et al. 2014. There popular items get ratings near their means so that fake users correlate with real ones;
    here they are interactions, and profiles of one length differ in their order alone.
    """
    preferred = most_popular(log.sequences.popularity(), log.others)
    return FakeUsers(Filler(log.others, preferred, 1.0), (LEVELS["K1"],))


def average(config: Mapping[str, Any], log: Log) -> FakeUsers:
    """Average attack: fake users have the targets, and each other item as often as real users do.

    AverageBot of Lam and Riedl 2004; Mobasher et al. 2007, section 3.2: fillers are chosen at random and each is rated
    with its own mean. With implicit feedback that differs from the random attack in ratings only, which no model here
    reads, so by the letter the two would be one and the same log. We choose what a mean is without ratings, the share
    of users who have the item (our reading, not the papers'): fillers are drawn one after the other with odds in
    proportion to it.
    """
    users = log.sequences.as_sets().popularity()[log.others]
    return FakeUsers(WeightedFiller(log.others, users), (LEVELS["K1"],))


def segment(config: Mapping[str, Any], log: Log) -> FakeUsers:
    """Segment attack: fake users have the targets and items that are liked by those the targets are meant for.

    Mobasher et al. 2007, section 3.3: the items of a segment are rated as high as the targets, and random fillers as
    low as can be. A lowest rating says that its item is not liked, for which implicit feedback has no word, so we leave
    those out. There an attacker picks the segment by hand; we choose items that share a ``category_field`` with a
    target or, without one, those that most often have the same users: the ``segment_items`` (a share of the catalogue)
    with the highest cosine to the sum of the targets' columns of the matrix of users and items, one at least. What a
    profile has room for besides is random.

    Raises:
        DataError: Nothing is like a target.
    """
    if log.categories is not None:
        similar = similar_targets(log.categories, log.targets)
        near, knows = log.others[similar.counts[log.others] > 0], CATEGORIES
        reason = f"with a '{config['category_field']}' of a target"
    else:
        near, knows, reason = _of_the_same_users(log), LEVELS["K2"], "whose users have a target"
        near = near[: max(part_of(len(log.others), config["segment_items"]), 1)]
    if not len(near):
        raise DataError(f"attack 'segment' needs items like the targets: expected other items {reason}, found none")
    return FakeUsers(Filler(log.others, near, 1.0, len(near)), (knows,))


def _of_the_same_users(log: Log) -> Int:
    """Ids of items besides the targets that some user has with one, the highest cosine first; the smaller id of two."""
    had = log.sequences.as_sets()
    shape = (had.n_users, had.n_items)
    matrix = csr_matrix((np.ones(len(had.items)), had.items, had.offsets), shape=shape)
    together = matrix.T @ np.asarray(matrix[:, log.targets].sum(axis=1)).ravel()
    cosine = together[log.others] / np.sqrt(np.maximum(had.popularity()[log.others], 1))
    order = np.argsort(-cosine, kind="stable")
    return log.others[order[cosine[order] > 0]]


PROFILES: dict[str, Callable[[Mapping[str, Any], Log], FakeUsers]] = {
    "ra": ra,
    "bandwagon": bandwagon,
    "popular": popular,
    "average": average,
    "segment": segment,
}
"""Profiles of fake users by the name ``--attack`` takes in the scenario ``recbole``."""
