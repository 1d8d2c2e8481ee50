"""Atomic files to ragged sequences, splits, targets and batches."""

from recbole_attack.data.batches import CentralEpoch, TrainBatch, TrainData
from recbole_attack.data.dataset import RaggedSequentialDataset
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import UserSequences
from recbole_attack.data.split import LEAVE_ONE_OUT_MODES, EvaluationRows, Split
from recbole_attack.data.targets import SELECTORS, resolve_targets

__all__ = [
    "LEAVE_ONE_OUT_MODES",
    "SELECTORS",
    "CentralEpoch",
    "EvaluationRows",
    "NonInteracted",
    "RaggedSequentialDataset",
    "Split",
    "TrainBatch",
    "TrainData",
    "UserSequences",
    "resolve_targets",
]
