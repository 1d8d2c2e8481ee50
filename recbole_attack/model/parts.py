"""Functions that several victims share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def position_ids(item_seq: torch.Tensor, n_positions: int, right_aligned: bool) -> torch.Tensor:
    """``[B, L]`` position of every item.

    Args:
        item_seq: ``[B, L]`` items padded with 0 on the right.
        n_positions: Size of the position table.
        right_aligned: Whether the last item stands at the last position, instead of the first at position 0.
    """
    # One row a user, although all may be equal: what a layer is called on belongs to the user whose row it is.
    positions = torch.arange(item_seq.shape[1], device=item_seq.device).expand_as(item_seq)
    if right_aligned:
        lengths = (item_seq != 0).sum(dim=1, keepdim=True)
        positions = (n_positions - lengths + positions).clamp(max=n_positions - 1)
    return positions


def next_item_losses(
    hidden: torch.Tensor, item_embedding: nn.Module, pos_items: torch.Tensor, neg_items: torch.Tensor
) -> torch.Tensor:
    """``[B]`` binary cross-entropy of each user, averaged over positives and negatives (DV-FSR, eq. 2).

    Args:
        hidden: ``[B, L, H]`` states at every position.
        item_embedding: Items -> embeddings.
        pos_items: ``[B, L]`` the item that follows, 0 where there is none.
        neg_items: ``[B, L]`` an item that does not.
    """
    positive = (hidden * item_embedding(pos_items)).sum(-1)
    negative = (hidden * item_embedding(neg_items)).sum(-1)
    real = pos_items != 0
    losses = (F.softplus(-positive) + F.softplus(negative)) * real
    return losses.sum(1) / (2 * real.sum(1)).clamp(min=1)


def xavier_normal(module: nn.Module) -> None:
    """Draw the weights of a linear layer or an embedding anew; for ``module.apply``."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.xavier_normal_(module.weight)
