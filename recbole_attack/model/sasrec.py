"""SASRec trained at all positions, on RecBole's modules and parameter names.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv:1808.09781).
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import InputType

from recbole_attack.model.host import SASRec as RecBoleSASRec
from recbole_attack.model.parts import (
    NEXT_ITEM_LOSSES,
    finish_transformer,
    next_item_losses,
    position_ids,
    with_host_loss,
)
from recbole_attack.model.victim import PerClient, Victim


class SASRec(Victim, RecBoleSASRec):
    """RecBole's SASRec with a next-item loss at every position instead of the last one.

    Parameters carry RecBole's names and shapes, so a RecBole SASRec checkpoint's weights load into this model and
    score the same, positions counting from the first item (``position_alignment: left``). Aligned to the right, the
    last item always stands at the last position, as left padding has it in DV-FSR's released code.

    RecBole trains one augmented row per position; here one pass over a user's sequence trains all its positions,
    since a causal encoder's output at a position only sees what stands before it.
    """

    input_type = InputType.POINTWISE
    loss_types = tuple(NEXT_ITEM_LOSSES)
    per_client: tuple[PerClient, ...] = ("layers", "vmap")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(with_host_loss(config), dataset)
        self.loss_type = config["loss_type"]
        if self.loss_type == "CE":
            self.per_client = ("vmap",)  # the softmax reads the item table as a whole
        self.right_aligned = config["position_alignment"] == "right"
        finish_transformer(self, config)

    def encode(self, item_seq: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """Hidden state at every position.

        Args:
            item_seq: ``[B, L]`` items padded with 0 on the right; only tells which positions are real.
            item_emb: ``[B, L, H]`` embeddings to encode, usually ``embed(item_seq)``.

        Returns:
            ``[B, L, H]``; undefined at padded positions.
        """
        return self.trm_encoder(self.embedded(item_seq, item_emb), self.get_attention_mask(item_seq))[-1]

    def embedded(self, item_seq: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, L, H]`` what the first layer reads: item and position embeddings together."""
        positions = position_ids(item_seq, self.max_seq_length, self.right_aligned)
        return self.dropout(self.LayerNorm(item_emb + self.position_embedding(positions)))

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, from embeddings ``[B, L, H]`` that need not be the items' own."""
        return self.gather_indexes(self.encode(item_seq, item_emb), item_seq_len - 1)

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` next-item loss of each user, averaged over positions (``loss_type``; BCE: DV-FSR, eq. 2)."""
        item_seq, pos_items, neg_items = inputs
        hidden = self.encode(item_seq, self.embed(item_seq) if item_emb is None else item_emb)
        return next_item_losses(hidden, self.item_embedding, pos_items, neg_items, self.loss_type)
