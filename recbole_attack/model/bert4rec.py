"""BERT4Rec with masks drawn from the data, on RecBole's modules and parameter names.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
CIKM 2019 (arXiv:1904.06690).
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import InputType
from torch.nn import functional as F

from recbole_attack.data.batches import TrainBatch
from recbole_attack.model.host import BERT4Rec as RecBoleBERT4Rec
from recbole_attack.model.parts import finish_transformer, position_ids
from recbole_attack.model.victim import Victim

_MASK, _RANDOM = 0.8, 0.1


class BERT4Rec(Victim, RecBoleBERT4Rec):
    """RecBole's BERT4Rec with a loss at every masked position.

    Parameters carry RecBole's names and shapes, so a RecBole BERT4Rec checkpoint's weights load into this model and
    score the same (``position_alignment: left``).

    Training. Every item of a history is chosen with probability ``mask_ratio``. Of the chosen ones, 80 % become the
    mask token, 10 % a random item and 10 % stay as they are, as in the paper and in DV-FSR's released code; RecBole
    masks all, and takes a loss at the last ``mask_ratio * MAX_ITEM_LIST_LENGTH`` of them at most. The loss is the
    cross-entropy over all items, averaged over the chosen positions. One draw per item settles all of this, so it
    depends on neither batch, chunk nor backend. A history longer than ``MAX_ITEM_LIST_LENGTH`` counts with its last
    items.

    By chance, ``(1 - mask_ratio)^n`` for ``n`` items, none is chosen. RecBole chooses as we do, and there the history
    is one of a batch. A client is a batch of its own: its loss is 0, which ``train_loss`` averages in, and its update
    is zero, which ``krum`` is apt to pick, since zeros are near to all other updates.

    Scoring. A mask token follows the last item. RecBole makes room for it by dropping the first item of *every*
    history, even where there is room; this holds here too, or its checkpoints would score differently. Aligned to the
    right, the mask token stands at the last position, and only a history of ``MAX_ITEM_LIST_LENGTH`` items loses its
    first one, as in DV-FSR's released code.
    """

    input_type = InputType.POINTWISE
    loss_types = ("CE",)
    needs_draws = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.right_aligned = config["position_alignment"] == "right"
        finish_transformer(self, config)

    def encode(self, item_seq: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """Hidden state at every position, which sees all others.

        Args:
            item_seq: ``[B, L]`` items and mask tokens, padded with 0 on the right; only tells which ones are real.
            item_emb: ``[B, L, H]`` embeddings to encode, usually ``embed(item_seq)``.

        Returns:
            ``[B, L, H]``; undefined at padded positions.
        """
        positions = position_ids(item_seq, self.max_seq_length, self.right_aligned)
        hidden = self.dropout(self.LayerNorm(item_emb + self.position_embedding(positions)))
        hidden = self.trm_encoder(hidden, self.get_attention_mask(item_seq, bidirectional=True))[-1]
        return self.output_ln(self.output_gelu(self.output_ffn(hidden)))

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state at a mask token after the last item, from embeddings ``[B, L, H]``."""
        last = item_seq_len[:, None]
        dropped = last >= self.max_seq_length if self.right_aligned else torch.ones_like(last, dtype=torch.bool)
        masked = _appended(item_seq, item_seq.new_full((), self.mask_token), last, dropped)
        embedded = _appended(item_emb, self.item_embedding.weight[self.mask_token], last, dropped)
        width = min(masked.shape[1], self.max_seq_length)
        return self.gather_indexes(self.encode(masked[:, :width], embedded[:, :width]), last - dropped.long())

    def item_scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """``[B, H]`` states -> ``[B, T]`` scores of ``items`` (``[T]``; all ``n_items`` if None), biases included."""
        return super().item_scores(states, items) + (self.output_bias if items is None else self.output_bias[items])

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """What is put in, where a loss is taken and what was there.

        Returns:
            ``[B, W]`` histories with masks; ``[B, K]`` the chosen positions and ``[B, K]`` their items, ``K`` being
            the most positions chosen in a history, 0 where there are fewer.
        """
        history, draws = self._history(batch)
        chosen = self._chosen(history, draws)
        share = draws / self.mask_ratio
        random = 1 + ((share - _MASK) / _RANDOM * (self.n_items - 1)).long().clamp(0, self.n_items - 2)
        put_in = torch.where(share < _MASK, self.mask_token, torch.where(share < _MASK + _RANDOM, random, history))
        most = max(int(chosen.sum(dim=1).max()), 1)
        positions = chosen.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        labels = torch.where(chosen, history, 0).gather(1, positions)
        return torch.where(chosen, put_in, history), positions, labels

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` cross-entropy over all items, averaged over the chosen positions; 0 if there are none."""
        item_seq, positions, labels = inputs
        hidden = self.encode(item_seq, self.embed(item_seq) if item_emb is None else item_emb)
        states = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = self.item_scores(states).flatten(0, 1)
        losses = F.cross_entropy(logits, labels.flatten(), ignore_index=0, reduction="none")
        return losses.view_as(labels).sum(dim=1) / (labels != 0).sum(dim=1).clamp(min=1)

    def loss_terms(self, batch: TrainBatch) -> torch.Tensor:
        """``[B]`` number of chosen positions."""
        return self._chosen(*self._history(batch)).sum(dim=1)

    def _chosen(self, history: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        return (history != 0) & (draws < self.mask_ratio)

    def _history(self, batch: TrainBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """``[B, W]`` whole histories and their draws, at most the last ``MAX_ITEM_LIST_LENGTH`` of each."""
        assert batch.draws is not None, "BERT4Rec draws masks"
        history = torch.cat([batch.item_seq[:, :1], batch.pos_items], dim=1)
        if history.shape[1] <= self.max_seq_length:
            return history, batch.draws
        full = history[:, self.max_seq_length :] != 0
        history, draws = (torch.where(full, x[:, 1:], x[:, :-1]) for x in (history, batch.draws))
        return history, draws


def _appended(rows: torch.Tensor, token: torch.Tensor, last: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """``[B, L, ...]`` -> ``[B, L + 1, ...]``: ``token`` after the ``last`` (``[B, 1]``) entry of each row.

    Where ``dropped`` (``[B, 1]``), the first entry goes and all others move up.
    """
    pad = torch.zeros_like(rows[:, :1])
    longer = torch.cat([rows, pad], dim=1)
    at = torch.arange(longer.shape[1], device=rows.device) == last
    shape = (...,) + (None,) * (rows.dim() - 2)
    longer = torch.where(at[shape], token.to(rows), longer)
    return torch.where(dropped[shape], torch.cat([longer[:, 1:], pad], dim=1), longer)
