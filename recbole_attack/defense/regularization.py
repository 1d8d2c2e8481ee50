"""What makes popular items say less of others, and of users: PIECK's defence of clients against PIECK's attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from recbole_attack.data.batches import TrainBatch
from recbole_attack.data.movement import moved_most
from recbole_attack.utils.rng import without_dropout


@dataclass(frozen=True)
class PopularityRegularization:
    """Two terms about popular items on top of each client's loss.

    Zhang, Li, Rong, Zhao, Chen and Shou, "Preventing the Popular Item Embedding Based Attack in Federated
    Recommendations", ICDE 2024. The ``N`` items whose rows moved farthest between two models stand for the popular
    ones, the r-th with weight ``kappa_r = (N + 1 - r)^2 / (1 + ... + N^2)`` and embedding ``e_r``, a constant. ``U``
    are the client's other items, those of its history and its negatives, as often as they are there, ``u`` is the user
    and ``H`` the size of embeddings; distributions over ``1..H`` are softmaxes.

        ``L_items = - sum_r kappa_r mean_{j in U} cos(e_r, e_j)``
        ``L_users = - sum_r kappa_r KL(softmax(u) || softmax(e_r)) / H``

    The first takes away what sets popular items apart, which PIECK-IPE gives to its targets; the second keeps users
    from looking like popular items, which PIECK-UEA takes for users.

    Attributes:
        items: ``N``.
        item_weight: Factor on ``L_items``; 0 leaves it out.
        user_weight: Factor on ``L_users``; 0 leaves it out.
    """

    items: int
    item_weight: float
    user_weight: float

    def comparing(self, before: torch.Tensor | None) -> Callable[[Any, TrainBatch, torch.Tensor], torch.Tensor]:
        """See :class:`~recbole_attack.defense.client_defenses.Remembering`."""
        return partial(self._losses, before)

    def _losses(self, before: torch.Tensor | None, model: Any, batch: TrainBatch, draws: torch.Tensor) -> torch.Tensor:
        losses: torch.Tensor = model.client_losses(batch)
        if before is None:
            return losses
        table = model.item_embedding.weight.detach()[: model.n_items]
        popular = moved_most(table, before[: model.n_items])[: self.items]
        weights = rank_weights(len(popular), table.device).to(table.dtype)
        if self.item_weight:
            direction = weights @ F.normalize(table[popular])
            losses = losses + self.item_weight * _alikeness(model, batch, popular, direction)
        if self.user_weight:
            losses = losses + self.user_weight * _closeness(model, batch, weights @ table[popular].log_softmax(dim=1))
        return losses


def rank_weights(count: int, device: torch.device | None = None) -> torch.Tensor:
    """``[count]`` float64 weights of popular items by rank, of sum 1.

    >>> rank_weights(3) * 14
    tensor([9., 4., 1.], dtype=torch.float64)
    """
    squares = torch.arange(count, 0, -1, dtype=torch.float64, device=device).square()
    return squares / squares.sum()


def _alikeness(model: Any, batch: TrainBatch, popular: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """``[B]`` ``L_items``, 0 for a user without other items.

    ``direction`` is ``[H]``, the weighted mean of the popular items, each of unit length.
    """
    items = torch.cat([batch.item_seq[:, :1], batch.pos_items, batch.neg_items], dim=1)
    others = (items != 0) & ~torch.isin(items, popular)
    cosines = F.normalize(model.embed(items), dim=-1) @ direction
    return -torch.where(others, cosines, 0.0).sum(dim=1) / others.sum(dim=1).clamp(min=1)


def _closeness(model: Any, batch: TrainBatch, logarithms: torch.Tensor) -> torch.Tensor:
    """``[B]`` ``L_users``; ``logarithms`` is ``[H]``, the weighted mean of the popular items' log-softmaxes."""
    with without_dropout(model):
        users = model.forward(batch.item_seq, batch.widths).log_softmax(dim=1)
    return -(users.exp() * (users - logarithms)).mean(dim=1)
