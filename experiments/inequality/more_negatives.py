"""SASRec with several negatives for every position, for the rows of this table that ask what more negatives change."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from recbole_attack.data.batches import TrainBatch
from recbole_attack.model import SASRec
from recbole_attack.register import register_model

_SPREAD = 7919.0
"""Turns one uniform number of a position into another: the fraction of its product with a large prime."""


class SASRecMoreNegatives(SASRec):
    """SASRec whose loss is the mean of a positive's and ``n_negatives`` negatives' binary cross-entropy.

    The first negative is the one every victim is given. The others are uniform over the catalogue, made of the one
    number a position has of its own, so they are the same in every backend; they may be items of the user.
    """

    needs_draws = True

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.n_negatives = config["n_negatives"]

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """Inputs, positives and each of the negatives, ``[B, L]`` each."""
        draws, others = batch.draws[:, 1:], []
        for _ in range(self.n_negatives - 1):
            draws = draws * _SPREAD % 1
            others.append(torch.where(batch.pos_items != 0, 1 + (draws * (self.n_items - 1)).long(), 0))
        return *batch[:3], *others

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` losses of the users, averaged over positions."""
        item_seq, pos_items, *negatives = inputs
        hidden = self.encode(item_seq, self.embed(item_seq) if item_emb is None else item_emb)
        terms = F.softplus(-(hidden * self.item_embedding(pos_items)).sum(-1))
        for items in negatives:
            terms = terms + F.softplus((hidden * self.item_embedding(items)).sum(-1))
        real = pos_items != 0
        return (terms * real).sum(1) / (1 + len(negatives)) / real.sum(1).clamp(min=1)


register_model(
    SASRecMoreNegatives,
    {
        "n_negatives": 4,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_size": 64,
        "inner_size": 256,
        "hidden_dropout_prob": 0.2,
        "attn_dropout_prob": 0.2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "loss_type": "BCE",
    },
)
