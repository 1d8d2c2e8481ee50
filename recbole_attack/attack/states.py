"""Users an attacker makes up, and what the model it received thinks of them.

Attacks that write item rows need vectors of users. A sequential model has none; it has states after histories, and an
attacker who holds the model can make histories up. Nothing here is differentiated, and nothing sees dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_attack.attack.attack import Profile
from recbole_attack.utils.rng import without_dropout


class Pool(NamedTuple):
    """``S`` made-up users of one client.

    Attributes:
        histories: What they had, ``S`` rows.
        states: ``[S, H]`` the model's states after it.
        scores: ``[S, n_items]`` of all items; ``-inf`` for padding and for what a user had.
    """

    histories: Profile
    states: torch.Tensor
    scores: torch.Tensor

    def kth_best(self, rank: int) -> torch.Tensor:
        """``[S]`` each user's score at ``rank`` (from 1) among the items it did not have; the last if there are less.

        With ``rank`` items recommended, that is what another item has to beat.
        """
        return self.best(rank).values[:, -1]

    def best(self, count: int) -> torch.return_types.topk:
        """Scores and items (``[S, count]`` each) of each user's best ``count``, or of all it did not have if less.

        Histories are taken to be as long as they are wide.
        """
        left = self.scores.shape[1] - 1 - self.histories.item_seq.shape[1]
        return self.scores.topk(min(count, left), dim=1)


def pool_of(model: Any, histories: Profile) -> Pool:
    """What the model thinks of users with ``histories``."""
    with frozen(model):
        states = model.forward(*histories)
        scores = _without(model.item_scores(states), histories.item_seq)
    return Pool(histories, states, scores)


def sampled_histories(model: Any, count: int, length: int, barred: torch.Tensor, rng: np.random.Generator) -> Profile:
    """Users drawn from the model itself: histories sampled item by item from its own next-item distribution.

    The first item is uniform, as a model without a history says nothing; every other one is drawn with probability
    ``softmax(scores)`` among the items that are not in the history yet. Where the model is trained with uniform
    negatives, a score is the log-odds of an item against a random one, so this is the distribution it has learned.

    Args:
        model: The model as received.
        count: Histories S.
        length: Items of each, cut to what the model reads and the catalogue has.
        barred: ``[T]`` items nobody has: what is promoted is promoted to those who do not have it.
        rng: Draws a number for each item, whatever the model is.
    """

    def next_scores(items: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((count,), items.shape[1], device=items.device)
        return model.score_items(items, lengths) if items.shape[1] else items.new_zeros(count, model.n_items)

    return _drawn(model, count, length, barred, rng, next_scores)


def random_histories(model: Any, count: int, length: int, barred: torch.Tensor, rng: np.random.Generator) -> Profile:
    """The same of items drawn without asking the model, all of them alike."""
    return _drawn(model, count, length, barred, rng, lambda items: items.new_zeros(count, model.n_items))


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Run a block without dropout and without gradients."""
    with without_dropout(model), torch.no_grad():
        yield


def row_scores(model: Any, states: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """``[S, H]`` states -> ``[S, T]`` the model's scores of ``items``, differentiable in these rows alone."""
    products = states.detach() @ model.item_embedding(items).T
    with torch.no_grad():
        rest = model.item_scores(states, items) - products
    return products + rest


def _drawn(
    model: Any,
    count: int,
    length: int,
    barred: torch.Tensor,
    rng: np.random.Generator,
    next_scores: Callable[[torch.Tensor], torch.Tensor],
) -> Profile:
    """Histories without an item twice; ``next_scores`` maps ``[S, N]`` items to ``[S, n_items]`` log-odds."""
    barred = barred if len(barred) < model.n_items - 1 else barred[:0]
    width = max(min(length, model.max_seq_length, model.n_items - 2 - len(barred)), 1)
    shares = torch.from_numpy(rng.random((count, width))).to(barred.device)
    items = barred.new_zeros(count, 0)
    with frozen(model):
        for share in shares.T:
            open_ones = _without(_without(next_scores(items).double(), items), barred.expand(count, -1))
            chances = open_ones.softmax(dim=1).cumsum(dim=1)
            chosen = torch.searchsorted(chances, share[:, None] * chances[:, -1:], right=True)
            items = torch.cat([items, chosen.clamp(max=model.n_items - 1)], dim=1)
    return Profile(items, torch.full((count,), width, device=items.device))


def _without(scores: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Scores ``[S, n_items]`` with ``-inf`` at padding and at each row's ``items`` (``[S, N]``)."""
    scores = scores.scatter(1, items, -torch.inf)
    scores[:, 0] = -torch.inf
    return scores
