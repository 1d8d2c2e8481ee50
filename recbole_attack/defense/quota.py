"""A quota for every item: the share of recommendations that the clients who raise it can account for.

A model that learned next items shows an item about as often as clients have it. An attacker needs an item to be shown
to all while a few clients ask for it, and no distance between updates tells that: the upload may be as short, and the
client as central, as any. What tells it is the model itself, asked by users who are made up, and a count of clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


class Pull(Protocol):
    """What the global model's parameters do to what it shows: :func:`~recbole_attack.federated.knowledge.pull`."""

    def __call__(
        self, items: torch.Tensor, lengths: torch.Tensor, objective: Callable[[torch.Tensor], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The gradient of ``objective``, a number made of the ``[S, V]`` scores of :class:`Asked`, by parameter."""


class Rows(Protocol):
    """Rows of item embeddings that clients sent: of :class:`~recbole_attack.federated.client_updates.ClientUpdates`."""

    @property
    def item(self) -> torch.Tensor:
        """``[M]`` which item's row it is, once for each client that sent it."""

    @property
    def rows(self) -> torch.Tensor:
        """``[M, H]`` gradients: the server steps against them."""


class Verdict(NamedTuple):
    """What a quota says in a round.

    Attributes:
        within: ``[M]``, False for rows that are left out.
        votes: ``[V]`` up to now, float64.
        histories: The users made up.
    """

    within: torch.Tensor
    votes: torch.Tensor
    histories: Profile


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

    What is left out are rows of the item itself. Other parameters show it to more users, too, by moving their states,
    which no row tells. With ``projection``, what the rule makes of the rest may not raise the excess ``sum_j max(q_j -
    kappa p_j, 0)``, to first order, whatever parameters do it: if it does, it becomes the nearest update that does not
    (the projection of A-GEM, Chaudhry et al., ICLR 2019, with the excess as the loss that must not rise).

    Attributes:
        factor: ``kappa``, above 0: how far an honest item may be from its share, by chance and by taste.
        histories: ``S``, at least :data:`PARTS`.
        projection: Whether the server's step as a whole is held, too.
    """

    factor: float
    histories: int
    projection: bool = False

    def within(self, sent: Rows, votes: torch.Tensor, asked: Asked, longest: int, key: tuple[int, ...]) -> Verdict:
        """Which rows are within the quota.

        Args:
            sent: Rows of clients that are not rejected.
            votes: ``[V]`` of the rounds before, float64; the padding item has none.
            asked: The model.
            longest: Items of the longest history it reads.
            key: Seed, epoch and round.
        """
        histories = self.drawn(votes, longest, key)
        states, scores = asked(*histories)
        chances = scores.double().softmax(dim=1)
        place = _parts(chances)
        shares, largest = _shown(chances, place)
        slopes = (chances * (1 - chances) * (largest == place[:, None])).T @ states.double()
        listed = sent.item < len(slopes)  # a model may have rows besides, such as that of a mask
        item = sent.item.where(listed, 0)
        raises = ((slopes[item] * sent.rows.double()).sum(dim=1) < 0) & listed
        votes = votes.index_add(0, item, raises.to(votes))
        over = shares > self.factor * _shares(votes)
        return Verdict(~(raises & over[item]), votes, histories)

    def held(self, update: Mapping[str, torch.Tensor], said: Verdict, pull: Pull | None) -> dict[str, torch.Tensor]:
        """The update nearest to ``update`` along which the excess does not rise; itself without ``projection``.

        Args:
            update: What the rule made of what is left, by parameter name; the server steps against it.
            said: Of this round.
            pull: The model as it was in this round; not needed without ``projection``.

        Raises:
            ValueError: It is needed.
        """
        if not self.projection:
            return dict(update)
        if pull is None:
            raise ValueError("a quota with a projection needs to know what the model's parameters do: expected a pull")
        limits = self.factor * _shares(said.votes)

        def excess(scores: torch.Tensor) -> torch.Tensor:
            chances = scores.double().softmax(dim=1)
            return (_shown(chances, _parts(chances))[0] - limits).clamp(min=0.0).sum()

        return _not_against(update, pull(*said.histories, excess))

    def drawn(self, votes: torch.Tensor, longest: int, key: tuple[int, ...]) -> Profile:
        """The users made up in a round, by the votes of those before; the shortest first."""
        seed, *keys = key
        lengths = spread_lengths(self.histories, longest)
        return weighted_histories(_shares(votes), lengths, stream(seed, "quota histories", *keys))


def _parts(chances: torch.Tensor) -> torch.Tensor:
    """``[S]`` the part each of ``S`` users is in."""
    return torch.arange(len(chances), device=chances.device) * PARTS // len(chances)


def _shown(chances: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``[V]`` every item's share of what is shown, and the part where that is; of ``[S, V]`` chances."""
    means = chances.new_zeros(PARTS, chances.shape[1]).index_add(0, place, chances)
    largest = (means / torch.bincount(place)[:, None]).max(dim=0)
    return largest.values, largest.indices


def _not_against(update: Mapping[str, torch.Tensor], gradient: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The nearest to ``update`` that has no component against ``gradient``."""
    along = sum((update[name].double() * gradient[name].double()).sum() for name in update)
    square = sum(gradient[name].double().square().sum() for name in update)
    factor = torch.as_tensor(-along / square).nan_to_num(0.0).clamp(min=0.0)
    return {name: value + factor.to(value) * gradient[name] for name, value in update.items()}


def _shares(votes: torch.Tensor) -> torch.Tensor:
    """``[V]`` of all votes, one more for each item; of the padding item 0."""
    counted = votes + 1
    counted[0] = 0
    return counted / counted.sum()
