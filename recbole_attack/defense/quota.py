"""A quota for every item: the share of recommendations that the clients who raise it can account for.

A model that learned next items shows an item about as often as clients have it. An attacker needs an item to be shown
to all while a few clients ask for it, and no distance between updates tells that: the upload may be as short, and the
client as central, as any. What tells it is the model itself, asked by users who are made up, and a count of clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from recbole_attack.data.histories import Profile, spread_lengths, weighted_histories
from recbole_attack.utils.rng import stream

PARTS = 4
"""In so many parts made-up histories are judged, and an item by the one that is shown it most. In the last all are as
long as the model reads; in the others up to a third, two thirds, and all of that."""


class Asked(Protocol):
    """The global model, asked without dropout: :func:`~recbole_attack.federated.knowledge.answers`."""

    def __call__(self, items: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``[S, L]`` items and ``[S]`` lengths to ``[S, H]`` states and ``[S, V]`` scores, minus infinity of items
        that cannot be shown."""


class Rows(Protocol):
    """Rows of item embeddings that clients sent: of :class:`~recbole_attack.federated.client_updates.ClientUpdates`."""

    @property
    def item(self) -> torch.Tensor:
        """``[M]`` which item's row it is, once for each client that sent it."""

    @property
    def rows(self) -> torch.Tensor:
        """``[M, H]`` gradients: the server steps against them."""


@dataclass(frozen=True)
class Quota:
    """Our own. What raises an item beyond a multiple of its share of votes is left out.

    ``S`` histories are made up in each round, of items drawn without replacement in proportion to their votes, in
    random order. The lengths of three quarters of them are spread evenly from 1 to the longest the model reads, and the
    rest are that long, as active users' are: some attacks write positions. ``q_j`` is the mean softmax share of item
    ``j`` among what the global model would show them next, in the part in which it is largest (:data:`PARTS`). A client
    votes for an item if the server's step along the row it sent raises ``q_j``; the item's share of all votes given,
    each item having one to begin with, is ``p_j``, with those of this round among them. Where ``q_j > kappa p_j``, rows
    that raise ``q_j`` further are left out, of all clients alike, and the others bring it down.

    Why it bounds exposure: with ``pi`` the smallest softmax share of an item in somebody's top K, at most ``q_j / pi``
    of the users have item ``j`` there (Markov's inequality), and ``q_j`` stays near ``kappa p_j``. A malicious client
    has one vote an item and round, whatever it uploads, so that poisoning a model is to be worth what poisoning data
    is. That holds for users like those made up: an attacker may look for states that only real ones have.

    Attributes:
        factor: ``kappa``, above 0: how far an honest item may be from its share, by chance and by taste.
        histories: ``S``, at least :data:`PARTS`.
    """

    factor: float
    histories: int

    def within(
        self, sent: Rows, votes: torch.Tensor, asked: Asked, longest: int, key: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Which rows are within the quota, ``[M]``, and all votes up to now, ``[V]``.

        Args:
            sent: Rows of clients that are not rejected.
            votes: ``[V]`` of the rounds before, float64; the padding item has none.
            asked: The model.
            longest: Items of the longest history it reads.
            key: Seed, epoch and round.
        """
        states, scores = asked(*self.drawn(votes, longest, key))
        chances = scores.double().softmax(dim=1)
        place = torch.arange(len(chances), device=chances.device) * PARTS // len(chances)
        means = chances.new_zeros(PARTS, chances.shape[1]).index_add(0, place, chances)
        shares, largest = (means / torch.bincount(place)[:, None]).max(dim=0)
        slopes = (chances * (1 - chances) * (largest == place[:, None])).T @ states.double()
        listed = sent.item < len(slopes)  # a model may have rows besides, such as that of a mask
        item = sent.item.where(listed, 0)
        raises = ((slopes[item] * sent.rows.double()).sum(dim=1) < 0) & listed
        votes = votes.index_add(0, item, raises.to(votes))
        over = shares > self.factor * _shares(votes)
        return ~(raises & over[item]), votes

    def drawn(self, votes: torch.Tensor, longest: int, key: tuple[int, ...]) -> Profile:
        """The users made up in a round, by the votes of those before; the shortest first."""
        seed, *keys = key
        lengths = spread_lengths(self.histories, longest)
        return weighted_histories(_shares(votes), lengths, stream(seed, "quota histories", *keys))


def _shares(votes: torch.Tensor) -> torch.Tensor:
    """``[V]`` of all votes, one more for each item; of the padding item 0."""
    counted = votes + 1
    counted[0] = 0
    return counted / counted.sum()
