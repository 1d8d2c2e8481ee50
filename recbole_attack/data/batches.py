"""Padded training batches cut from ragged sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction

from recbole_attack.data.dataset import RaggedSequentialDataset
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.rng import stream

Float = NDArray[np.floating]


class TrainBatch(NamedTuple):
    """``B`` users, every position a training example; ``[B, L]``, 0 where there is none.

    Attributes:
        item_seq: Inputs, left-aligned.
        pos_items: The item that follows each input.
        neg_items: One item the user has not interacted with for each input.
        draws: ``[B, L + 1]`` float64 in ``[0, 1)``, one for each item of the history, the first included; only for
            models whose loss draws something (``needs_draws``).
        users: ``[B]`` whose rows they are; only for models that know users (``needs_users``).
    """

    item_seq: torch.Tensor
    pos_items: torch.Tensor
    neg_items: torch.Tensor
    draws: torch.Tensor | None = None
    users: torch.Tensor | None = None

    @property
    def lengths(self) -> torch.Tensor:
        """``[B]`` number of training positions of each user."""
        return (self.pos_items != 0).sum(dim=1)

    @property
    def widths(self) -> torch.Tensor:
        """``[B]`` number of inputs of each user, whether or not each is trained to predict the next item."""
        return (self.item_seq != 0).sum(dim=1)

    def rows(self, index: torch.Tensor) -> TrainBatch:
        """The users at ``index``, cut to the longest of them."""
        index = index.to(self.item_seq.device)
        width = max(int(self.widths[index].max()), 1)
        item_seq, pos_items, neg_items = (field[index, :width] for field in self[:3])
        draws = None if self.draws is None else self.draws[index, : width + 1]
        users = None if self.users is None else self.users[index]
        return TrainBatch(item_seq, pos_items, neg_items, draws, users)

    def to(self, device: torch.device) -> TrainBatch:
        item_seq, pos_items, neg_items = (field.to(device) for field in self[:3])
        draws, users = (None if field is None else field.to(device) for field in self[3:])
        return TrainBatch(item_seq, pos_items, neg_items, draws, users)

    @staticmethod
    def from_interaction(interaction: Interaction) -> TrainBatch:
        """The batch :meth:`to_interaction` was made of."""
        return TrainBatch(**{name: interaction[name] for name in TrainBatch._fields if name in interaction})

    def to_interaction(self) -> Interaction:
        """The fields that are there, by name."""
        return Interaction({name: field for name, field in self._asdict().items() if field is not None})


@dataclass(frozen=True)
class TrainData:
    """Training sequences and the items outside them.

    Attributes:
        dataset: The training copy of the dataset, as RecBole's collector expects to find it.
        sequences: Training sequences of all users.
        outside: Sampler of items a user did not interact with *in training*.
        max_length: ``MAX_ITEM_LIST_LENGTH``; of longer histories the last items count.
        seed: The run's seed.
    """

    dataset: RaggedSequentialDataset
    sequences: UserSequences
    outside: NonInteracted
    max_length: int
    seed: int

    @property
    def examples(self) -> Int:
        """``[n_users]`` number of training positions of every user."""
        return self.examples_of(np.arange(self.sequences.n_users))

    def examples_of(self, users: Int) -> Int:
        """``[B]`` number of training positions of ``users``."""
        return np.clip(self.sequences.lengths[users] - 1, 0, self.max_length)

    @property
    def trainable_users(self) -> Int:
        """Users with at least one training position."""
        return np.flatnonzero(self.examples)

    def negatives(self, epoch: int, step: int = 0) -> Int:
        """One negative for every training interaction, the same whoever else trains in this epoch."""
        rng = stream(self.seed, "negatives", epoch, step)
        return self.outside.sample(rng, self.sequences.owner_ids).astype(np.int32)

    def shared_negatives(self, epoch: int, step: int = 0) -> Int:
        """The same, every client going through one random order of the catalogue from its start.

        So do the clients of DV-FSR's released code, which seed their samplers alike: an item far back in an epoch's
        order is nobody's negative in it.
        """
        order = 1 + stream(self.seed, "shared negatives", epoch, step).permutation(self.outside.n_items - 1)
        owners = self.sequences.owner_ids
        first = self.sequences.offsets[1:] - self.examples  # trained position of each user
        places = np.maximum(np.arange(len(owners)) - first[owners], 0)
        return self.outside.in_order(order, owners, places).astype(np.int32)

    def draws(self, purpose: str, epoch: int, step: int = 0) -> Float:
        """A number in [0, 1) for every training interaction, the same whoever else trains in this epoch."""
        return stream(self.seed, purpose, epoch, step).random(len(self.sequences.items))

    def aligned(self, values: Int | Float, users: Int) -> torch.Tensor:
        """``[B, W]`` what ``values`` (one for each training interaction) has for ``users``' last items, left-aligned.

        ``W`` is the longest history found, at most ``max_length + 1``. Entries without an item mean nothing.
        """
        return torch.from_numpy(values[self.sequences.positions(users, self.max_length + 1)[0]])

    def client_draws(self, users: Int, purpose: str, *keys: int) -> Float:
        """``[B, W]`` numbers in [0, 1) for ``users``' last items, left-aligned, 0 where there is none.

        Each user has a stream of their own: the time this takes does not depend on how many others there are.
        """
        real = self.sequences.positions(users, self.max_length + 1)[1]
        values = np.zeros(real.shape)
        for row, (user, n) in enumerate(zip(users.tolist(), real.sum(axis=1).tolist(), strict=True)):
            values[row, :n] = stream(self.seed, purpose, *keys, user).random(n)
        return values

    def client_negatives(self, users: Int, *keys: int) -> Int:
        """``[B, W]`` negatives for ``users``' last items, by the streams of :meth:`client_draws`."""
        return self.outside.at_share(users[:, None], self.client_draws(users, "client negatives", *keys))

    def batch(self, users: Int, negatives: Int, draws: Float | None = None) -> TrainBatch:
        """All training positions of ``users``.

        Args:
            users: ``[B]`` users.
            negatives: See :meth:`negatives`.
            draws: See :meth:`draws`; for models that need them.
        """
        index = self.sequences.positions(users, self.max_length + 1)[0]
        return self.aligned_batch(users, negatives[index], None if draws is None else draws[index])

    def aligned_batch(self, users: Int, negatives: Int, draws: Float | None = None) -> TrainBatch:
        """The same of ``negatives`` and ``draws`` ``[B, W]`` that are aligned already, see :meth:`aligned`."""
        index, real = self.sequences.positions(users, self.max_length + 1)
        items = np.where(real, self.sequences.items[index], 0).astype(np.int64)
        fields = (
            np.where(real[:, 1:], items[:, :-1], 0),
            items[:, 1:],
            np.where(real[:, 1:], negatives[:, 1:], 0),
        )
        item_seq, pos_items, neg_items = (torch.from_numpy(field.astype(np.int64)) for field in fields)
        drawn = None if draws is None else torch.from_numpy(np.where(real, draws, 0.0))
        return TrainBatch(item_seq, pos_items, neg_items, drawn)


def length_chunks(lengths: torch.Tensor, chunk_tokens: int, most_clients: int | None = None) -> Iterator[torch.Tensor]:
    """Split users, sorted by length, into runs of at most ``chunk_tokens`` padded tokens (at least one user).

    Args:
        lengths: ``[N]`` lengths.
        chunk_tokens: Users times the longest length of a run.
        most_clients: Most users in a run.
    """
    order = torch.argsort(lengths, stable=True)
    start = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or (end + 1 - start) * int(lengths[order[end]]) > chunk_tokens
        full = full or (most_clients is not None and end - start >= most_clients)
        if full:
            yield order[start:end]
            start = end


Poison = Callable[[TrainBatch, Int, torch.Tensor], TrainBatch]
"""``(batch of B users, users [B], draws [B, L] uniform in [0, 1)) -> batch``, a draw for each item to predict."""


@dataclass(frozen=True)
class CentralEpoch:
    """One shuffled pass over all users in batches of about ``batch_size`` positions, as RecBole interactions.

    Iterating twice gives the same batches.

    Attributes:
        data: Training sequences.
        epoch: Number of the pass.
        batch_size: Positions in a batch.
        shuffle: Whether users come in random order.
        needs_draws: Whether batches carry ``draws``.
        needs_users: Whether batches carry ``users``.
        poison: What an attacker makes of each batch.
    """

    data: TrainData
    epoch: int
    batch_size: int
    shuffle: bool = True
    needs_draws: bool = False
    needs_users: bool = False
    poison: Poison | None = None

    def _batches(self) -> list[Int]:
        users = self.data.trainable_users
        if self.shuffle:
            users = stream(self.data.seed, "batches", self.epoch).permutation(users)
        positions = np.cumsum(self.data.examples[users])
        return np.split(users, np.flatnonzero(np.diff((positions - 1) // self.batch_size)) + 1)

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Iterator[Interaction]:
        negatives = self.data.negatives(self.epoch)
        draws = self.data.draws("masks", self.epoch) if self.needs_draws else None
        fate = self.data.draws("poison", self.epoch) if self.poison else None
        for rows in self._batches():
            batch, users = self._batch(rows, negatives, draws)
            if self.poison and fate is not None:
                batch = self.poison(batch, users, self._of_positives(fate, rows))
            if self.needs_users:
                batch = batch._replace(users=torch.from_numpy(users))
            yield batch.to_interaction()

    def _batch(self, rows: Int, negatives: Int, draws: Float | None) -> tuple[TrainBatch, Int]:
        """The batch of one entry of :meth:`_batches`, and the user of each of its rows."""
        return self.data.batch(rows, negatives, draws), rows

    def _of_positives(self, values: Float, rows: Int) -> torch.Tensor:
        """``[B, L]`` the entries of ``values`` (one for each training interaction) that belong to ``pos_items``."""
        return self.data.aligned(values, rows)[:, 1:]
