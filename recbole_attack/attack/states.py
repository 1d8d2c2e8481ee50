"""What the model an attacker received thinks of users it makes up (:mod:`recbole_attack.data.histories`).

Attacks that write item rows need vectors of users: the states after such histories. Nothing here is differentiated,
and nothing sees dropout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from recbole_attack.data.histories import Profile, frozen, without


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
        scores = without(model.item_scores(states), histories.item_seq)
    return Pool(histories, states, scores)


def row_scores(model: Any, states: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """``[S, H]`` states -> ``[S, T]`` the model's scores of ``items``, differentiable in these rows alone."""
    products = states.detach() @ model.item_embedding(items).T
    with torch.no_grad():
        rest = model.item_scores(states, items) - products
    return products + rest
