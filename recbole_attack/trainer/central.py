"""Training without federation: the baseline every attacked federation is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_attack.data import TRAIN_ROWS, Split, TrainData
from recbole_attack.data.batches import Poison, TrainBatch, length_chunks
from recbole_attack.threat import Threat
from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.utils.rng import torch_stream


class CentralTrainer(AttackTrainer):
    """RecBole's training loop over batches of about ``train_batch_size`` positions: whole users, or single prefixes.

    Attributes:
        poison: What an attacker who trains the model makes of each batch.
    """

    poison: Poison | None = None

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split) -> None:
        super().__init__(config, model, threat, split)
        gather_lookups(model.item_embedding)

    def _train_epoch(
        self, train_data: TrainData, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Mean loss per batch of one epoch."""
        size, shuffle = self.config["train_batch_size"], self.config["shuffle"]
        needs = (self.model.needs_draws, self.model.needs_users)
        epoch = TRAIN_ROWS[self.config["train_rows"]]
        batches = epoch(train_data, epoch_idx, size, shuffle, *needs, self.poison)
        with torch_stream(self.device, self.seed, "dropout", epoch_idx):
            return super()._train_epoch(batches, epoch_idx, loss_func or self._loss, show_progress=False) / len(batches)

    def _loss(self, interaction: Any) -> torch.Tensor:
        """The model's ``calculate_loss``, users of similar length together: else a batch is mostly padding."""
        batch = TrainBatch.from_interaction(interaction)
        chunks = length_chunks(batch.widths.cpu(), self.config["chunk_tokens"])
        return self.model.mean_loss([batch.rows(rows.to(batch.item_seq.device)) for rows in chunks])


def gather_lookups(embedding: nn.Embedding) -> None:
    """Let the gradients of a batch's lookups meet as rows, and make one table of them when all are there.

    A batch looks items up several times a chunk. By default each lookup's gradient is a table of its own: hundreds of
    megabytes a step for 100 000 items.
    """
    embedding.sparse = True
    if embedding.weight.requires_grad:
        embedding.weight.register_post_accumulate_grad_hook(_make_dense)


def _make_dense(weight: torch.Tensor) -> None:
    assert weight.grad is not None
    weight.grad = weight.grad.to_dense()
