"""Padded training batches cut from ragged sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_attack.data.dataset import RaggedSequentialDataset
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.rng import stream


class TrainBatch(NamedTuple):
    """``B`` users, every position a training example; all ``[B, L]``, 0 where there is none.

    Attributes:
        item_seq: Inputs, left-aligned.
        pos_items: The item that follows each input.
        neg_items: One item the user has not interacted with for each input.
    """

    item_seq: torch.Tensor
    pos_items: torch.Tensor
    neg_items: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """``[B]`` number of training positions of each user."""
        return (self.pos_items != 0).sum(dim=1)

    def rows(self, index: torch.Tensor) -> TrainBatch:
        """The users at ``index``, cut to the longest of them."""
        width = max(int(self.lengths[index].max()), 1)
        return TrainBatch(*(field[index, :width] for field in self))

    def to(self, device: torch.device) -> TrainBatch:
        return TrainBatch(*(field.to(device) for field in self))


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
        return np.clip(self.sequences.lengths - 1, 0, self.max_length)

    @property
    def trainable_users(self) -> Int:
        """Users with at least one training position."""
        return np.flatnonzero(self.examples)

    def negatives(self, epoch: int, step: int = 0) -> Int:
        """One negative for every training interaction, the same whoever else trains in this epoch."""
        users = np.repeat(np.arange(self.sequences.n_users), self.sequences.lengths)
        return self.outside.sample(stream(self.seed, "negatives", epoch, step), users).astype(np.int32)

    def item_draws(self, purpose: str, users: Int, epoch: int, step: int = 0) -> torch.Tensor:
        """``[B, W]`` uniform numbers in [0, 1), one for each of the last items of ``users``, left-aligned.

        They belong to the interactions, so they are the same whoever else trains in this epoch; ``W`` is the longest
        history found, at most ``max_length + 1``. Entries without an item mean nothing.
        """
        drawn = stream(self.seed, purpose, epoch, step).random(len(self.sequences.items))
        return torch.from_numpy(drawn[self.sequences.positions(users, self.max_length + 1)[0]])

    def batch(self, users: Int, negatives: Int) -> TrainBatch:
        """All training positions of ``users``."""
        index, real = self.sequences.positions(users, self.max_length + 1)
        items = np.where(real, self.sequences.items[index], 0).astype(np.int64)
        fields = (
            np.where(real[:, 1:], items[:, :-1], 0),
            items[:, 1:],
            np.where(real[:, 1:], negatives[index[:, 1:]], 0),
        )
        return TrainBatch(*(torch.from_numpy(field.astype(np.int64)) for field in fields))


@dataclass(frozen=True)
class CentralEpoch:
    """One shuffled pass over all users in batches of about ``batch_size`` positions, as RecBole interactions.

    Iterating twice gives the same batches.
    """

    data: TrainData
    epoch: int
    batch_size: int
    shuffle: bool = True

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
        for users in self._batches():
            yield Interaction(self.data.batch(users, negatives)._asdict())
