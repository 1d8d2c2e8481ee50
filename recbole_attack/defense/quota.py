"""A quota for every item: the share of recommendations that the clients who raise it can account for.

A model that learned next items shows an item about as often as clients have it. An attacker needs an item to be shown
to all while a few clients ask for it, and no distance between updates tells that: the upload may be as short, and the
client as central, as any. What tells it is the model itself, asked by users who are made up, and a count of clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import nn

from recbole_attack.data.histories import LENGTHS, Profile, weighted_histories
from recbole_attack.utils.rng import stream

PARTS = 4
"""In so many parts made-up histories are judged, and an item by the one that is shown it most. In the last all are as
long as the model reads; the others go up to a third, two thirds, and all of that, or of its logarithm."""

SHARPNESS = 4.0
"""Slope of the step from outside to inside a list; where scores differ by 1, the softmax has a factor ``e``."""

KEPT = 0.9
"""What remains of the average of places in a round."""

JUDGED = {"log": (PARTS, 1.0), "even": (1, 0.0)}
"""In how many parts lists are judged, and how many standard deviations of the average of places pass as chance."""


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


class Verdict(NamedTuple):
    """What a quota says in a round.

    Attributes:
        within: ``[M]``, False for rows that are left out.
        memory: ``[1 + G, V]`` float64, what is remembered: of every item, its votes up to now, and its share of the
            places in the lists of each of ``G`` parts (:data:`JUDGED`), averaged over rounds.
        pushes: ``[V, H]`` float64: unit vectors along which a row is shown to more, times how far its item is over its
            limit, as a multiple of that; ``None`` if the server does not push back.
    """

    within: torch.Tensor
    memory: torch.Tensor
    pushes: torch.Tensor | None

    def pushed_back(self, table: torch.Tensor) -> torch.Tensor:
        """``[V, H]`` or more rows of an update, which the server steps against, with what it adds itself.

        Args:
            table: What a rule made of the rows within the quota.
        """
        if self.pushes is None:
            return table
        norms = table.norm(dim=1)
        usual = norms.where(norms > 0, torch.nan).nanmedian().nan_to_num(0.0)
        pushes = self.pushes.to(table) * usual
        return table + nn.functional.pad(pushes, (0, 0, 0, len(table) - len(pushes)))


@dataclass(frozen=True)
class Quota:
    """Our own. What raises an item beyond a multiple of its share of votes is left out, and the server pushes back.

    ``S`` histories are made up in each round, of items drawn without replacement in proportion to their votes, in
    random order. The lengths of three quarters of them are spread evenly, on a log scale, from 1 to the longest the
    model reads: many users have few items, and an attack may reach them alone. The rest are that long, as active users'
    are: some attacks write positions. ``q_j`` is the mean softmax share of item
    ``j`` among what the global model would show them next, in the part in which it is largest (:data:`PARTS`). A client
    votes for an item if a plain step against the row it sent raises ``q_j``; the item's share of all votes given, each
    item having one to begin with, is ``p_j``, with those of this round among them. Where ``q_j > kappa p_j``, rows that
    raise ``q_j`` further are left out, of all clients alike, and the others bring it down. A server whose optimiser
    scales every coordinate by itself, as Adam does, makes another step, along which a row may raise ``q_j`` that has no
    vote; ``attack: uncounted`` is made of that.

    Why it bounds exposure: with ``pi`` the smallest softmax share of an item in somebody's top K, at most ``q_j / pi``
    of the users have item ``j`` there (Markov's inequality), and ``q_j`` stays near ``kappa p_j``. A malicious client
    has one vote an item and round, whatever it uploads, so that poisoning a model is to be worth what poisoning data
    is. That holds for users like those made up: an attacker may look for states that only real ones have.

    Two ways past it are left: the bound is loose, for who is barely in many lists has a small share of what is shown;
    and what is left out are rows of the item itself, while other parameters show it to more users, too, by moving their
    states. So the server counts places in lists, and pushes back itself. An item's place in a user's list of ``K`` is
    ``w = sigmoid(sharpness (score - tau))``, with ``tau`` between the K-th and the next score; its share of all places
    in a part of a round, averaged over rounds (:data:`KEPT`, from 0 on), is ``r_j``. Items that people have often are
    shown more often still, and others less, so the limit is ``l_j = max(p_j, mean r of other items with half to twice
    the votes)``. It needs no factor: what is over it still learns, and is only pushed. What is over it by chance is
    not: of ``N`` places that are averaged, ``sqrt(l_j / N)`` is let pass. Where ``r_j`` is more than their sum, the
    median norm of the update's rows that are not 0, times ``(r_j - sqrt(l_j / N)) / l_j - 1``, is added to the item's
    row of the update in the direction of ``sum_s w state_s``, which the server's step goes against, in the part where
    that is most.

    With lengths spread evenly (``even``), as this rule had them first, few of those who are made up have few items, and
    lists are judged in one part, without regard to chance.

    Attributes:
        factor: ``kappa``, above 0: how far what is shown of an honest item may be from its share, by chance and by
            taste.
        histories: ``S``, at least :data:`PARTS`.
        topk: ``K``; the server does not push back if it is ``None``.
        lengths: How lengths are spread; a key of :data:`JUDGED`.
    """

    factor: float
    histories: int
    topk: int | None = None
    lengths: str = "log"

    @property
    def remembered(self) -> int:
        """Rows of its memory."""
        return 1 + JUDGED[self.lengths][0]

    def within(self, sent: Rows, memory: torch.Tensor, asked: Asked, longest: int, key: tuple[int, ...]) -> Verdict:
        """Which rows are within the quota.

        Args:
            sent: Rows of clients that are not rejected.
            memory: ``[1 + G, V]`` of the rounds before, as of :class:`Verdict`; 0 before the first.
            asked: The model.
            longest: Items of the longest history it reads.
            key: Seed, epoch and round.
        """
        votes, places = memory[0], memory[1:]
        states, scores = (answer.double() for answer in asked(*self.drawn(votes, longest, key)))
        chances = scores.softmax(dim=1)
        place = _parts(chances)
        shares, largest = _shown(chances, place)
        slopes = (chances * (1 - chances) * (largest == place[:, None])).T @ states
        listed = sent.item < len(slopes)  # a model may have rows besides, such as that of a mask
        item = sent.item.where(listed, 0)
        raises = ((slopes[item] * sent.rows.double()).sum(dim=1) < 0) & listed
        votes = votes.index_add(0, item, raises.to(votes))
        over = shares > self.factor * _shares(votes)
        places, pushes = self._listed(states, scores, votes, places)
        return Verdict(~(raises & over[item]), torch.cat([votes[None], places]), pushes)

    def _listed(
        self, states: torch.Tensor, scores: torch.Tensor, votes: torch.Tensor, before: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The shares of places, averaged over this round and those ``before``, and the pushes: of :class:`Verdict`."""
        if self.topk is None:
            return before, None
        count, noise = JUDGED[self.lengths]
        w, bounds = _in_lists(scores, self.topk), [-(-part * len(scores) // count) for part in range(count + 1)]
        judged = [
            _judged(w[first:last], states[first:last], votes, old, noise)
            for (first, last), old in zip(pairwise(bounds), before, strict=True)
        ]
        places, over, directions = (torch.stack(each) for each in zip(*judged, strict=True))
        most = over.max(dim=0)
        direction = directions[most.indices, torch.arange(len(votes), device=votes.device)]
        return places, direction * most.values[:, None]

    def drawn(self, votes: torch.Tensor, longest: int, key: tuple[int, ...]) -> Profile:
        """The users made up in a round, by the votes of those before; the shortest first."""
        seed, *keys = key
        lengths = LENGTHS[self.lengths](self.histories, longest)
        return weighted_histories(_shares(votes), lengths, stream(seed, "quota histories", *keys))


def _parts(chances: torch.Tensor) -> torch.Tensor:
    """``[S]`` the part each of ``S`` users is in."""
    return torch.arange(len(chances), device=chances.device) * PARTS // len(chances)


def _shown(chances: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``[V]`` every item's share of what is shown, and the part where that is; of ``[S, V]`` chances."""
    means = chances.new_zeros(PARTS, chances.shape[1]).index_add(0, place, chances)
    largest = (means / torch.bincount(place)[:, None]).max(dim=0)
    return largest.values, largest.indices


def _judged(
    w: torch.Tensor, states: torch.Tensor, votes: torch.Tensor, before: torch.Tensor, noise: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """In one part: ``[V]`` shares of places, ``[V]`` how far those are over the limit, and ``[V, H]`` directions.

    An item that everybody in the part has is not over its limit there, whatever is remembered: nobody is shown it.
    """
    places = KEPT * before + (1 - KEPT) * w.sum(dim=0) / w.sum()
    limits = torch.maximum(_shares(votes), _of_like_votes(places, votes))
    averaged = w.sum() * (1 + KEPT) / (1 - KEPT)
    over = (places - noise * (limits / averaged).sqrt()) / limits - 1
    over = over.nan_to_num(0.0).clamp(min=0.0).where(w.any(dim=0), 0.0)
    return places, over, nn.functional.normalize(w.T @ states, dim=1)


def _in_lists(scores: torch.Tensor, topk: int) -> torch.Tensor:
    """``[S, V]`` from 0 to 1, whether items are in the lists of ``topk`` or fewer items; of ``[S, V]`` scores."""
    few = min(topk, scores.shape[1] - 1)
    best = scores.topk(few + 1, dim=1).values
    return torch.sigmoid((scores - best[:, few - 1 :].mean(dim=1, keepdim=True)) * SHARPNESS).nan_to_num(0.0)


def _of_like_votes(places: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
    """``[V]`` mean places of other items with half to twice an item's votes, one more counted for each; 0 of none."""
    counted, order = (votes[1:] + 1).sort(stable=True)
    own = places[1:][order]
    sums = nn.functional.pad(own.cumsum(0), (1, 0))
    least, most = (
        torch.searchsorted(counted, bound, right=right) for bound, right in ((counted / 2, False), (2 * counted, True))
    )
    means = (sums[most] - sums[least] - own) / (most - least - 1).clamp(min=1)
    return torch.zeros_like(places).index_copy(0, order + 1, means)


def _shares(votes: torch.Tensor) -> torch.Tensor:
    """``[V]`` of all votes, one more for each item; of the padding item 0."""
    counted = votes + 1
    counted[0] = 0
    return counted / counted.sum()
