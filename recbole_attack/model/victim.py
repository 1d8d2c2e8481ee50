"""What attacks, clients and the evaluation ask of a model, and nothing more."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from recbole_attack.data.batches import TrainBatch

PerClient = Literal["layers", "vmap", "loop"]
"""How the updates of single clients can be computed, fastest first; see :attr:`Victim.per_client`."""


class Victim(Protocol):
    """A sequential recommender that can be attacked; an ``nn.Module`` besides.

    ``B`` rows, ``L`` positions padded with 0 on the right, ``H`` the size of states and item embeddings, ``n_items``
    the number of items with the padding item 0.

    Attributes:
        item_embedding: Rows ``0..n_items-1`` are the items; a model's own tokens stand behind them.
        loss_types: What ``loss_type`` may be.
        needs_draws: Whether the loss reads ``TrainBatch.draws``.
        needs_users: Whether it reads ``TrainBatch.users``.
        per_client: ``layers``: all parameters are used through layers called on one row a client; ``vmap``:
            ``torch.func.vmap`` can run :meth:`losses`; ``loop``: neither. The first includes the second.
    """

    item_embedding: nn.Embedding
    loss_types: ClassVar[tuple[str, ...]]
    needs_draws: ClassVar[bool]
    needs_users: ClassVar[bool]
    per_client: PerClient

    def embed(self, item_seq: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items -> ``[B, L, H]`` item embeddings, nothing added yet."""

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, differentiable in ``item_emb``.

        Args:
            item_seq: ``[B, L]`` items; only tells which positions are real.
            item_seq_len: ``[B]`` lengths, at least 1.
            item_emb: ``[B, L, H]`` embeddings, which need not be the items' own.
        """

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` items and ``[B]`` lengths -> ``[B, H]`` state after the last item."""

    def item_scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """``[B, H]`` states -> ``[B, T]`` scores of ``items`` (``[T]``; all ``n_items`` if None)."""

    def score_items(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """``[B, n_items]`` scores of every item as the next one."""

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """RecBole's evaluation entry: ``[B, n_items]`` scores."""

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """What the loss reads of a batch, one row a user: all that is settled before parameters matter.

        The first of them are :meth:`inputs`.
        """

    def inputs(self, batch: TrainBatch) -> torch.Tensor:
        """``[B, L]`` the items (and tokens of the model's own) whose embeddings training starts from."""

    def tokens(self, lengths: torch.Tensor) -> torch.Tensor:
        """``[B]`` tokens the loss of users with ``lengths`` (``[B]``) training positions goes through."""

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` losses of the users whose rows ``inputs`` are; no row's loss depends on another row.

        Args:
            inputs: See :meth:`loss_inputs`.
            item_emb: ``[B, L, H]`` embeddings to start from instead of those of the first of ``inputs``.
        """

    def client_losses(self, batch: TrainBatch, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` loss of each user, averaged over its terms, 0 without any: ``losses(*loss_inputs(batch))``."""

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Mean over the loss terms of a batch of users (scalar)."""


class VictimMethods:
    """What follows from ``embed``, ``state``, ``loss_inputs`` and ``losses`` where scores are inner products."""

    needs_draws: ClassVar[bool] = False
    needs_users: ClassVar[bool] = False
    per_client: PerClient = "vmap"

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

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        """Mean over the loss terms of a batch of users (scalar)."""
        batch = TrainBatch.from_interaction(interaction)
        terms = self.loss_terms(batch)
        return (self.client_losses(batch) * terms).sum() / terms.sum().clamp(min=1)
