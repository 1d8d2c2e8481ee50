"""Users' item sequences as one ragged array: 4 bytes per interaction and no augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.integer]


@dataclass(frozen=True)
class UserSequences:
    """All users' sequences, oldest item first.

    Attributes:
        items: ``[n_interactions]`` int32 item ids in ``1..n_items-1``, user after user.
        offsets: ``[n_users + 1]`` int64; user ``u`` owns ``items[offsets[u]:offsets[u + 1]]``. User 0 is the padding
            user and owns nothing.
        n_items: Number of item ids, the padding item 0 included.
    """

    items: Int
    offsets: Int
    n_items: int

    @property
    def n_users(self) -> int:
        """Number of user ids, the padding user 0 included."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Int:
        """``[n_users]`` number of interactions of every user."""
        return np.diff(self.offsets)

    @property
    def owner_ids(self) -> Int:
        """``[n_interactions]`` int64 user of every interaction."""
        return np.repeat(np.arange(self.n_users), self.lengths)

    def __getitem__(self, user: int) -> Int:
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def head(self, drop: Int) -> UserSequences:
        """The same users without the last ``drop[u]`` items of each (``0 <= drop[u] <= lengths[u]``)."""
        lengths = self.lengths - drop
        keep = np.arange(len(self.items)) < np.repeat(self.offsets[:-1] + lengths, self.lengths)
        return UserSequences(self.items[keep], np.concatenate([[0], np.cumsum(lengths)]), self.n_items)

    def tail(self, keep: Int) -> UserSequences:
        """The same users with only the last ``keep[u]`` items of each (``0 <= keep[u] <= lengths[u]``)."""
        kept = np.arange(len(self.items)) >= np.repeat(self.offsets[1:] - keep, self.lengths)
        return UserSequences(self.items[kept], np.concatenate([[0], np.cumsum(keep)]), self.n_items)

    def only(self, users: NDArray[np.bool_]) -> UserSequences:
        """Sequences of the users where ``users`` (``[n_users]``) holds; the others keep their ids and own nothing."""
        return self.tail(np.where(users, self.lengths, 0))

    def among(self, items: NDArray[np.bool_]) -> UserSequences:
        """Sequences of the items where ``items`` (``[n_items]``) holds, in their order; the others keep their ids."""
        keep = items[self.items]
        return from_pairs(self.owner_ids[keep], self.items[keep], self.n_users, self.n_items)

    def with_all(self, items: Int) -> UserSequences:
        """Everybody's items and, behind them, these ``[T]``; who owns nothing still does."""
        owners = np.flatnonzero(self.lengths)
        users = np.concatenate([self.owner_ids, np.repeat(owners, len(items))])
        order = np.argsort(users, kind="stable")
        both = np.concatenate([self.items, np.tile(items, len(owners))])
        return from_pairs(users[order], both[order], self.n_users, self.n_items)

    def positions(self, users: Int, size: int) -> tuple[Int, NDArray[np.bool_]]:
        """Where the last ``size`` items of each user stand in ``items``.

        Returns:
            ``[B, W]`` indices into ``items`` and the ``[B, W]`` mask of those that are real, left-aligned; ``W``
            is the longest length found, at most ``size``. Indices that are not real point at item 0 of the array.
        """
        lengths = np.minimum(self.lengths[users], size)
        steps = np.arange(max(int(lengths.max(initial=0)), 1))
        real = steps < lengths[:, None]
        return np.where(real, (self.offsets[np.asarray(users) + 1] - lengths)[:, None] + steps, 0), real

    def last(self, users: Int, size: int) -> tuple[Int, Int]:
        """The last ``size`` items of each user, padded with 0 on the right.

        Returns:
            ``[B, W]`` int64 items and ``[B]`` lengths.
        """
        index, real = self.positions(users, size)
        items = self.items[index] if len(self.items) else np.zeros_like(index)
        return np.where(real, items, 0).astype(np.int64), real.sum(axis=1)

    def popularity(self) -> Int:
        """``[n_items]`` number of interactions of every item."""
        return np.bincount(self.items, minlength=self.n_items)

    def owners(self, items: Int) -> NDArray[np.bool_]:
        """``[n_users, T]``: whether a user ever interacted with each of the ``T`` items."""
        column = np.full(self.n_items, -1)
        column[items] = np.arange(len(items))
        users = self.owner_ids
        hit = column[self.items] >= 0
        owned = np.zeros((self.n_users, len(items)), dtype=bool)
        owned[users[hit], column[self.items[hit]]] = True
        return owned

    def followed_by(self, more: UserSequences) -> UserSequences:
        """These users and after them those of ``more``, whose user 1 gets the id ``n_users``."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + more.offsets[2:]])
        return UserSequences(np.concatenate([self.items, more.items]), offsets, self.n_items)

    def as_sets(self) -> UserSequences:
        """The same users with every item once, in ascending order."""
        keys = np.unique(self.owner_ids * self.n_items + self.items)
        counts = np.bincount(keys // self.n_items, minlength=self.n_users)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return UserSequences((keys % self.n_items).astype(np.int32), offsets, self.n_items)


def from_pairs(users: Int, items: Int, n_users: int, n_items: int) -> UserSequences:
    """Sequences from interactions that are already sorted by user, then time.

    Args:
        users: ``[n_interactions]`` user ids, ascending.
        items: ``[n_interactions]`` item ids.
    """
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))]).astype(np.int64)
    return UserSequences(np.asarray(items, dtype=np.int32), offsets, n_items)
