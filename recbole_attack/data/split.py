"""Leave-one-out on ragged sequences, with RecBole's rules for short users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_attack.data.sequences import Int, UserSequences

LEAVE_ONE_OUT_MODES = {"valid_and_test": (1, 1), "valid_only": (1, 0), "test_only": (0, 1)}
"""RecBole's ``LS`` modes -> (validation items, test items) held out of each user."""


@dataclass(frozen=True)
class EvaluationRows:
    """One row per evaluated user: predict the item after ``history`` from what stands before it.

    Attributes:
        users: ``[U]`` user ids.
        history: ``[U]`` number of items before the held-out one.
    """

    users: Int
    history: Int


@dataclass(frozen=True)
class Split:
    """Training sequences and the two held-out sets, all over the same full sequences."""

    full: UserSequences
    train: UserSequences
    valid: EvaluationRows
    test: EvaluationRows

    def before(self, rows: EvaluationRows) -> UserSequences:
        """What stands before the held-out items of ``rows``; the whole sequence of users that are not among them."""
        held_out = np.zeros(self.full.n_users, dtype=np.int64)
        held_out[rows.users] = self.full.lengths[rows.users] - rows.history
        return self.full.head(held_out)


def leave_one_out(sequences: UserSequences, mode: str) -> Split:
    """Hold the last items out as RecBole's ``LS`` does.

    RecBole counts rows of (history, next item), one fewer than a user has interactions, and leaves every user at
    least one row to train on. So a user with 1 item has no row, with 2 items only trains, with 3 items is tested but
    not validated under ``valid_and_test``, and from 4 items on takes part in everything.

    Args:
        sequences: All interactions.
        mode: A key of :data:`LEAVE_ONE_OUT_MODES`.
    """
    n_valid, n_test = LEAVE_ONE_OUT_MODES[mode]
    spare = np.maximum(sequences.lengths - 2, 0)
    tested = spare >= 1 if n_test else np.zeros(sequences.n_users, dtype=bool)
    validated = spare >= n_valid + n_test if n_valid else np.zeros(sequences.n_users, dtype=bool)
    train_lengths = sequences.lengths - tested - validated
    test_users = np.flatnonzero(tested)
    valid_users = np.flatnonzero(validated)
    return Split(
        full=sequences,
        train=sequences.head(sequences.lengths - train_lengths),
        valid=EvaluationRows(valid_users, train_lengths[valid_users]),
        test=EvaluationRows(test_users, sequences.lengths[test_users] - 1),
    )
