"""Functions that several victims share."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from recbole_attack.model.kernels import use_fast_kernels


def with_host_loss(config: Any) -> Mapping[str, Any]:
    """The configuration with a ``loss_type`` RecBole's constructors accept, for models with a loss of their own."""
    return ChainMap({"loss_type": "CE"}, config.final_config_dict)


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
    hidden: torch.Tensor,
    item_embedding: nn.Embedding,
    pos_items: torch.Tensor,
    neg_items: torch.Tensor,
    loss_type: str = "BCE",
) -> torch.Tensor:
    """``[B]`` loss of each user, averaged over its positions.

    Args:
        hidden: ``[B, L, H]`` states at every position.
        item_embedding: Items -> embeddings.
        pos_items: ``[B, L]`` the item that follows, 0 where there is none.
        neg_items: ``[B, L]`` an item that does not.
        loss_type: A name in :data:`NEXT_ITEM_LOSSES`.
    """
    losses = NEXT_ITEM_LOSSES[loss_type](hidden, item_embedding, pos_items, neg_items)
    return losses.sum(1) / (pos_items != 0).sum(1).clamp(min=1)


def _bce(
    hidden: torch.Tensor, item_embedding: nn.Embedding, pos_items: torch.Tensor, neg_items: torch.Tensor
) -> torch.Tensor:
    """Binary cross-entropy, averaged over positive and negative (DV-FSR, eq. 2)."""
    positive = (hidden * item_embedding(pos_items)).sum(-1)
    negative = (hidden * item_embedding(neg_items)).sum(-1)
    return (F.softplus(-positive) + F.softplus(negative)) * (pos_items != 0) / 2


def _bpr(
    hidden: torch.Tensor, item_embedding: nn.Embedding, pos_items: torch.Tensor, neg_items: torch.Tensor
) -> torch.Tensor:
    """Bayesian personalised ranking: the positive above the negative (Rendle et al. 2009)."""
    margin = (hidden * (item_embedding(pos_items) - item_embedding(neg_items))).sum(-1)
    return F.softplus(-margin) * (pos_items != 0)


def _ce(
    hidden: torch.Tensor, item_embedding: nn.Embedding, pos_items: torch.Tensor, neg_items: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy over all items; negatives are not used."""
    logits = hidden @ item_embedding.weight.T
    losses = F.cross_entropy(logits.flatten(0, 1), pos_items.flatten(), ignore_index=0, reduction="none")
    return losses.view_as(pos_items)


NEXT_ITEM_LOSSES = {"BCE": _bce, "BPR": _bpr, "CE": _ce}
"""``(hidden, item_embedding, pos_items, neg_items) -> [B, L]`` losses by ``loss_type``; 0 where no item follows."""


def finish_transformer(model: nn.Module, config: Any) -> None:
    """Fast kernels and the configured initial weights, for a transformer RecBole has just built."""
    use_fast_kernels(model)
    if config["initializer"] == "xavier_normal":
        model.apply(_xavier_normal)


def _xavier_normal(module: nn.Module) -> None:
    """Draw the weights of a linear layer or an embedding anew."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.xavier_normal_(module.weight)
