"""RecBole's augmentation: one training row for every position of every sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recbole_attack.data.batches import CentralEpoch, Float, TrainBatch
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream


@dataclass(frozen=True)
class PrefixEpoch(CentralEpoch):
    """One shuffled pass over all prefixes, ``batch_size`` rows at a time, each with the loss after its last item.

    What RecBole trains sequential models on. It sees each prefix of a sequence by itself, so a pass costs about as many
    times more than :class:`CentralEpoch` as sequences are long. Where a model is causal, both sum the same losses, but
    for positions further back than ``MAX_ITEM_LIST_LENGTH``, which only this one trains.
    """

    def _batches(self) -> list[Int]:
        sequences = self.data.sequences
        rows = np.setdiff1d(np.arange(len(sequences.items)), sequences.offsets[:-1][sequences.lengths > 0])
        if self.shuffle:
            rows = stream(self.data.seed, "batches", self.epoch).permutation(rows)
        return np.split(rows, np.arange(self.batch_size, len(rows), self.batch_size))

    def _batch(self, rows: Int, negatives: Int, draws: Float | None) -> tuple[TrainBatch, Int]:
        sequences, (users, lengths) = self.data.sequences, self._prefixes(rows)
        steps = np.arange(int(lengths.max()))
        real = steps < lengths[:, None]
        index = np.where(real, (rows - lengths)[:, None] + steps, 0)
        item_seq = np.where(real, sequences.items[index], 0).astype(np.int64)
        last = steps == lengths[:, None] - 1
        pos_items, neg_items = (np.where(last, values[rows, None], 0) for values in (sequences.items, negatives))
        return TrainBatch(*(torch.from_numpy(x.astype(np.int64)) for x in (item_seq, pos_items, neg_items))), users

    def _of_positives(self, values: Float, rows: Int) -> torch.Tensor:
        _, lengths = self._prefixes(rows)
        return torch.from_numpy(np.repeat(values[rows, None], int(lengths.max()), axis=1))

    def _prefixes(self, rows: Int) -> tuple[Int, Int]:
        """``[B]`` the user of each row, and ``[B]`` how many items stand before the one to predict."""
        offsets = self.data.sequences.offsets
        users = np.searchsorted(offsets, rows, side="right") - 1
        return users, np.minimum(rows - offsets[users], self.data.max_length)


TRAIN_ROWS: dict[str, type[CentralEpoch]] = {"users": CentralEpoch, "prefixes": PrefixEpoch}
"""What a row of central training is, by the name ``--train_rows`` takes."""
