"""GRU4Rec trained at all positions, on RecBole's modules and parameter names.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016 (arXiv:1511.06939); RecBole's
after Tan, Xu and Liu, "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS 2016.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import InputType

from recbole_attack.model.host import GRU4Rec as RecBoleGRU4Rec
from recbole_attack.model.kernels import use_fast_kernels
from recbole_attack.model.parts import NEXT_ITEM_LOSSES, next_item_losses, with_host_loss
from recbole_attack.model.victim import PerClient, Victim


class GRU4Rec(Victim, RecBoleGRU4Rec):
    """RecBole's GRU4Rec with a next-item loss at every position instead of the last one.

    Parameters carry RecBole's names and shapes, so a RecBole GRU4Rec checkpoint's weights load into this model and
    score the same. A recurrent network's output at a position only sees what stands before it, so one pass over a
    user's sequence trains all its positions.
    """

    input_type = InputType.POINTWISE
    loss_types = tuple(NEXT_ITEM_LOSSES)
    per_client: tuple[PerClient, ...] = ("layers",)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(with_host_loss(config), dataset)
        self.loss_type = config["loss_type"]
        if self.loss_type == "CE":
            self.per_client = ()  # the softmax reads the item table as a whole
        use_fast_kernels(self)

    def encode(self, item_emb: torch.Tensor) -> torch.Tensor:
        """Hidden state at every position.

        Args:
            item_emb: ``[B, L, H]`` embeddings to encode, usually ``embed(item_seq)``.

        Returns:
            ``[B, L, H]``; undefined at padded positions.
        """
        return self.dense(self.gru_layers(self.emb_dropout(item_emb))[0])

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, from embeddings ``[B, L, H]`` that need not be the items' own."""
        return self.gather_indexes(self.encode(item_emb), item_seq_len - 1)

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` next-item loss of each user, averaged over positions (``loss_type``), as SASRec's."""
        item_seq, pos_items, neg_items = inputs
        hidden = self.encode(self.embed(item_seq) if item_emb is None else item_emb)
        return next_item_losses(hidden, self.item_embedding, pos_items, neg_items, self.loss_type)
