"""Items a user has not interacted with, drawn without rejection."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int, UserSequences


class NonInteracted:
    """The complement of every user's items, addressable by rank.

    The ``r``-th smallest item a user does not own is ``r + 1`` plus the number of owned items below it, which one
    binary search over all users' items finds. So a draw costs the same for a user who owns nearly everything, where
    rejection sampling never ends. A user who owns every item draws from all items.
    """

    def __init__(self, sequences: UserSequences) -> None:
        self.n_items = sequences.n_items
        self._owned = sequences.as_sets()

    @cached_property
    def counts(self) -> Int:
        """``[n_users]`` number of items each user does not own, the padding item left out."""
        return self.n_items - 1 - self._owned.lengths

    @cached_property
    def popularity(self) -> Int:
        """``[n_items]`` number of users who own each item."""
        return self._owned.popularity()

    @cached_property
    def _keys(self) -> Int:
        users = self._owned.owner_ids
        rank = np.arange(len(users)) - self._owned.offsets[users]
        return users * self.n_items + self._owned.items - 1 - rank

    def at_rank(self, users: Int, ranks: Int) -> Int:
        """The non-interacted items of ``users`` at ``ranks`` (both ``[...]``, ``0 <= rank < counts[user]``)."""
        users, ranks = np.broadcast_arrays(np.asarray(users, dtype=np.int64), ranks)
        owned_below = np.searchsorted(self._keys, users * self.n_items + ranks, side="right")
        items = ranks + 1 + owned_below - self._owned.offsets[users]
        return np.where(self.counts[users] > 0, items, ranks + 1)

    def sample(self, rng: np.random.Generator, users: Int) -> Int:
        """One uniform draw for each entry of ``users`` (any shape), with replacement."""
        counts = self.counts[users]
        return self.at_rank(users, rng.integers(0, np.where(counts > 0, counts, self.n_items - 1)))

    def at_share(self, users: Int, shares: NDArray[np.floating]) -> Int:
        """The non-interacted items of ``users`` at ``shares`` of their ranks (both ``[...]``, in [0, 1))."""
        counts = self.counts[users]
        return self.at_rank(users, (shares * np.where(counts > 0, counts, self.n_items - 1)).astype(np.int64))

    def in_order(self, order: Int, users: Int, places: Int) -> Int:
        """The item at ``places`` (``[...]``, from 0) of ``order`` once the items of ``users`` are struck from it.

        Args:
            order: ``[n_items - 1]``, every item once. A user who runs out of items starts again.
            users: ``[...]`` users.
            places: ``[...]`` places.
        """
        number = np.zeros(self.n_items, dtype=np.int64)
        number[order] = np.arange(1, self.n_items)
        owned = replace(self._owned, items=number[self._owned.items].astype(np.int32))
        free = np.maximum(np.where(self.counts > 0, self.counts, self.n_items - 1), 1)[users]
        return order[NonInteracted(owned).at_rank(users, places % free) - 1]

    def sample_distinct(self, rng: np.random.Generator, user: int, size: int) -> Int:
        """Up to ``size`` different items for one user, fewer only when the user has no more."""
        count = int(self.counts[user])
        return self.at_rank(np.array(user), rng.choice(count, size=min(size, count), replace=False))
