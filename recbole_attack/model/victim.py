"""What attacks, clients and the evaluation ask of a model, and what most models answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from recbole_attack.data.batches import TrainBatch

PerClient = Literal["layers", "vmap", "loop"]
"""How the updates of single clients are computed, fastest first; see :attr:`Victim.per_client`."""


class Victim:
    """A sequential recommender that can be attacked; stands before RecBole's model among the bases of a class.

    A model has to bring :meth:`state` and :meth:`losses`, and what differs from the rest of this class, which is
    right where scores are inner products of states and item embeddings and every position is a training example.

    ``B`` rows, ``L`` positions padded with 0 on the right, ``H`` the size of states and item embeddings.

    Attributes:
        n_items: Number of items with the padding item 0.
        item_embedding: Rows ``0..n_items-1`` are the items; a model's own tokens stand behind them.
        loss_types: What ``loss_type`` may be.
        needs_draws: Whether the loss reads ``TrainBatch.draws``.
        needs_users: Whether it reads ``TrainBatch.users``.
        per_client: What can be done besides a loop over clients. ``layers``: all parameters are used through layers
            called on one row a client; ``vmap``: ``torch.func.vmap`` can run :meth:`losses`.
    """

    n_items: int
    item_embedding: nn.Embedding
    loss_types: ClassVar[tuple[str, ...]]
    needs_draws: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False
    per_client: tuple[PerClient, ...] = ("vmap",)

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, differentiable in ``item_emb``.

        Args:
            item_seq: ``[B, L]`` items; only tells which positions are real.
            item_seq_len: ``[B]`` lengths, at least 1.
            item_emb: ``[B, L, H]`` embeddings, which need not be the items' own.
        """
        raise NotImplementedError

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` losses of the users whose rows ``inputs`` are; no row's loss depends on another row.

        Args:
            inputs: See :meth:`loss_inputs`.
            item_emb: ``[B, L, H]`` embeddings to start from instead of those of the first of ``inputs``.
        """
        raise NotImplementedError

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """What the loss reads of a batch, one row a user: all that is settled before parameters matter.

        The first of them are :meth:`inputs`. Here: inputs, positives and negatives, ``[B, L]`` each.
        """
        return batch[:3]

    def embed(self: Any, item_seq: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items -> ``[B, L, H]`` item embeddings, nothing added yet."""
        return self.item_embedding(item_seq)

    def forward(self: Any, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items and ``[B]`` lengths -> ``[B, H]`` state after the last item."""
        return self.state(item_seq, item_seq_len, self.embed(item_seq))

    def item_scores(self: Any, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """``[B, H]`` states -> ``[B, T]`` scores of ``items`` (``[T]``; all ``n_items`` if None)."""
        weight = self.item_embedding.weight[: self.n_items] if items is None else self.item_embedding(items)
        return states @ weight.T

    def score_items(self: Any, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, n_items]`` scores of every item as the next one."""
        return self.item_scores(self.forward(item_seq, item_seq_len))

    def user_states(self: Any, interaction: Any) -> torch.Tensor:
        """``[B, H]`` states of which :meth:`full_sort_predict` makes the scores of a batch."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        return self.forward(interaction[self.ITEM_SEQ][:, : int(lengths.max())], lengths)

    def full_sort_predict(self: Any, interaction: Any) -> torch.Tensor:
        """RecBole's evaluation entry: ``[B, n_items]`` scores; padding beyond the longest row is skipped."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        return self.score_items(interaction[self.ITEM_SEQ][:, : int(lengths.max())], lengths)

    def predict(self: Any, interaction: Any) -> torch.Tensor:
        """``[B]`` scores of one item a row."""
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def tokens(self, lengths: torch.Tensor) -> torch.Tensor:
        """``[B]`` tokens the loss of users with ``lengths`` (``[B]``) training positions goes through."""
        return lengths

    def loss_terms(self, batch: TrainBatch) -> torch.Tensor:
        """``[B]`` number of terms in each user's loss."""
        return batch.lengths

    def inputs(self: Any, batch: TrainBatch) -> torch.Tensor:
        """``[B, L]`` the items (and tokens of the model's own) whose embeddings training starts from."""
        return self.loss_inputs(batch)[0]

    def client_losses(self: Any, batch: TrainBatch, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` loss of each user, averaged over its terms; 0 without any.

        Args:
            batch: ``B`` users.
            item_emb: ``[B, L, H]`` embeddings to start from instead of those of :meth:`inputs`.
        """
        return self.losses(*self.loss_inputs(batch), item_emb=item_emb)

    def mean_loss(self: Any, parts: Sequence[TrainBatch]) -> torch.Tensor:
        """Mean over the loss terms of all users of all ``parts`` (scalar); 0 without any."""
        terms = [self.loss_terms(part) for part in parts]
        total = sum((self.client_losses(p) * n).sum() for p, n in zip(parts, terms, strict=True))
        return total / sum(n.sum() for n in terms).clamp(min=1)

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        """RecBole's training entry: the :meth:`mean_loss` of a batch."""
        return self.mean_loss([TrainBatch.from_interaction(interaction)])
