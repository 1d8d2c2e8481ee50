"""SASRec trained at all positions, on RecBole's modules and parameter names.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv:1808.09781).
"""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import torch
from recbole.utils import InputType
from torch import nn
from torch.nn import functional as F

from recbole_attack.data.batches import TrainBatch
from recbole_attack.model.host import SASRec as RecBoleSASRec
from recbole_attack.model.kernels import use_fast_kernels


class SASRec(RecBoleSASRec):
    """RecBole's SASRec with a next-item loss at every position instead of the last one.

    Parameters carry RecBole's names and shapes, so a RecBole SASRec checkpoint's weights load into this model and
    score the same, positions counting from the first item (``position_alignment: left``). Aligned to the right, the
    last item always stands at the last position, as left padding has it in DV-FSR's released code.

    RecBole trains one augmented row per position; here one pass over a user's sequence trains all its positions,
    since a causal encoder's output at a position only sees what stands before it.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        # RecBole's constructor accepts last-position CE and BPR only; the loss here is this class's own.
        super().__init__(ChainMap({"loss_type": "CE"}, config.final_config_dict), dataset)
        self.loss_type = config["loss_type"]
        self.right_aligned = config["position_alignment"] == "right"
        use_fast_kernels(self)
        if config["initializer"] == "xavier_normal":
            self.apply(_xavier_normal)

    def embed(self, item_seq: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items -> ``[B, L, H]`` item embeddings, positions not yet added."""
        return self.item_embedding(item_seq)

    def encode(self, item_seq: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """Hidden state at every position.

        Args:
            item_seq: ``[B, L]`` items padded with 0 on the right; only tells which positions are real.
            item_emb: ``[B, L, H]`` embeddings to encode, usually ``embed(item_seq)``.

        Returns:
            ``[B, L, H]``; undefined at padded positions.
        """
        # One row a user, although all may be equal: what a layer is called on belongs to the user whose row it is.
        positions = torch.arange(item_seq.shape[1], device=item_seq.device).expand_as(item_seq)
        if self.right_aligned:
            lengths = (item_seq != 0).sum(dim=1, keepdim=True)
            positions = (self.max_seq_length - lengths + positions).clamp(max=self.max_seq_length - 1)
        hidden = self.dropout(self.LayerNorm(item_emb + self.position_embedding(positions)))
        return self.trm_encoder(hidden, self.get_attention_mask(item_seq))[-1]

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, from embeddings ``[B, L, H]`` that need not be the items' own."""
        return self.gather_indexes(self.encode(item_seq, item_emb), item_seq_len - 1)

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items and ``[B]`` lengths -> ``[B, H]`` state after the last item."""
        return self.state(item_seq, item_seq_len, self.embed(item_seq))

    def item_scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """``[B, H]`` states -> ``[B, T]`` scores of ``items`` (``[T]``; all ``n_items`` if None)."""
        weight = self.item_embedding.weight if items is None else self.item_embedding(items)
        return states @ weight.T

    def inputs(self, batch: TrainBatch) -> torch.Tensor:
        """``[B, L]`` the items whose embeddings training starts from."""
        return batch.item_seq

    def client_losses(self, batch: TrainBatch, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` binary cross-entropy of each user, averaged over positives and negatives (DV-FSR, eq. 2).

        Args:
            batch: ``B`` users.
            item_emb: ``[B, L, H]`` embeddings to start from instead of those of :meth:`inputs`.
        """
        hidden = self.encode(batch.item_seq, self.embed(batch.item_seq) if item_emb is None else item_emb)
        positive = (hidden * self.item_embedding(batch.pos_items)).sum(-1)
        negative = (hidden * self.item_embedding(batch.neg_items)).sum(-1)
        real = batch.pos_items != 0
        losses = (F.softplus(-positive) + F.softplus(negative)) * real
        return losses.sum(1) / (2 * real.sum(1)).clamp(min=1)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Mean over all positions of a batch of users (scalar)."""
        batch = TrainBatch(*(interaction[field] for field in TrainBatch._fields))
        return (self.client_losses(batch) * batch.lengths).sum() / batch.lengths.sum()

    def score_items(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, n_items]`` scores of every item as the next one."""
        return self.item_scores(self.forward(item_seq, item_seq_len))

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """RecBole's evaluation entry: ``[B, n_items]`` scores; padding beyond the longest row is skipped."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        return self.score_items(interaction[self.ITEM_SEQ][:, : int(lengths.max())], lengths)


def _xavier_normal(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.xavier_normal_(module.weight)
