"""Atomic files to ragged sequences, splits, targets and batches."""

from recbole_attack.data.batches import CentralEpoch, TrainBatch, TrainData
from recbole_attack.data.categories import SimilarTargets, item_categories, similar_targets
from recbole_attack.data.dataset import HISTORY_LENGTH, RaggedSequentialDataset, located
from recbole_attack.data.groups import parse_group, user_group
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.prefixes import TRAIN_ROWS
from recbole_attack.data.provider import ProviderSplit, parse_platform_users, split_users
from recbole_attack.data.sequences import UserSequences
from recbole_attack.data.split import LEAVE_ONE_OUT_MODES, EvaluationRows, Split
from recbole_attack.data.targets import SELECTORS, draws_targets, each_target, resolve_targets

__all__ = [
    "HISTORY_LENGTH",
    "LEAVE_ONE_OUT_MODES",
    "SELECTORS",
    "TRAIN_ROWS",
    "CentralEpoch",
    "EvaluationRows",
    "NonInteracted",
    "ProviderSplit",
    "RaggedSequentialDataset",
    "SimilarTargets",
    "Split",
    "TrainBatch",
    "TrainData",
    "UserSequences",
    "draws_targets",
    "each_target",
    "item_categories",
    "located",
    "parse_group",
    "parse_platform_users",
    "resolve_targets",
    "similar_targets",
    "split_users",
    "user_group",
]
