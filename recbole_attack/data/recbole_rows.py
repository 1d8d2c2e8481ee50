"""The same split in the rows RecBole's own models are trained and evaluated on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_attack.data.dataset import HISTORY_LENGTH, RaggedSequentialDataset
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.data.split import EvaluationRows


class InteractionRows(RaggedSequentialDataset):
    """What RecBole's general models get: one training row for each interaction, and users without their histories."""

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """``[n_users, n_items]`` sparse matrix of the interactions, as RecBole's :class:`Dataset` has it."""
        return Dataset.inter_matrix(self, form, value_field)

    def training_rows(self, sequences: UserSequences) -> Interaction:
        """See :meth:`RaggedSequentialDataset.training_rows`."""
        return _interaction({k: v.numpy() for k, v in super().training_rows(sequences).interaction.items()})

    def _rows(self, rows: EvaluationRows) -> Interaction:
        full = self.split.full
        truth = full.items[full.offsets[rows.users] + rows.history]
        return _interaction({self.uid_field: rows.users, self.iid_field: truth, HISTORY_LENGTH: rows.history})


class PrefixRows(RaggedSequentialDataset):
    """What RecBole's sequential models get: one row for each position but a user's first.

    A row is a user, the item to predict, and the last ``MAX_ITEM_LIST_LENGTH`` items before it, padded to that length.
    RecBole's ``data_augmentation`` makes the same rows of the same order.
    """

    def build(self, sequences: UserSequences | None = None) -> list[RaggedSequentialDataset]:
        """Split; see :meth:`RaggedSequentialDataset.build`."""
        built = super().build(sequences)
        self._aug_presets()  # lengths of the fields of sequences, which some models ask for
        return built

    def training_rows(self, sequences: UserSequences) -> Interaction:
        """See :meth:`RaggedSequentialDataset.training_rows`."""
        first = sequences.offsets[:-1][sequences.lengths > 0]
        return _interaction(self._prefixes(sequences, np.setdiff1d(np.arange(len(sequences.items)), first)))

    def _rows(self, rows: EvaluationRows) -> Interaction:
        full = self.split.full
        found = self._prefixes(full, full.offsets[rows.users] + rows.history)
        return _interaction({**found, HISTORY_LENGTH: rows.history})

    def _prefixes(self, sequences: UserSequences, places: Int) -> dict[str, Int]:
        """Rows whose items to predict stand at ``places`` in ``sequences.items``."""
        users, item_seq, lengths = prefixes(sequences, places, self.max_item_list_len)
        return {
            self.uid_field: users,
            self.iid_field: sequences.items[places],
            self.iid_field + self.config["LIST_SUFFIX"]: item_seq,
            self.item_list_length_field: lengths,
        }


def prefixes(sequences: UserSequences, places: Int, size: int) -> tuple[Int, Int, Int]:
    """What stands before some interactions.

    Args:
        sequences: Users' interactions.
        places: ``[R]`` where the interactions stand in ``sequences.items``.
        size: Most items of a row; of more the last count.

    Returns:
        ``[R]`` users, ``[R, size]`` items padded with 0 on the right, and ``[R]`` their number.
    """
    users = np.searchsorted(sequences.offsets, places, side="right") - 1
    lengths = np.minimum(places - sequences.offsets[users], size)
    steps = np.arange(size)
    real = steps < lengths[:, None]
    before = np.where(real, (places - lengths)[:, None] + steps, 0)
    return users, np.where(real, sequences.items[before], 0), lengths


ROWS: dict[ModelType, type[RaggedSequentialDataset]] = {
    ModelType.GENERAL: InteractionRows,
    ModelType.TRADITIONAL: InteractionRows,
    ModelType.SEQUENTIAL: PrefixRows,
}
"""RecBole's type of a model -> its dataset."""


def _interaction(values: dict[str, Int]) -> Interaction:
    """RecBole's models index and compare with int64 only."""
    return Interaction({key: torch.from_numpy(np.asarray(column, dtype=np.int64)) for key, column in values.items()})
