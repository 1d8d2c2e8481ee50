"""Which items a model recommends, and to how many users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_attack.errors import DataError
from recbole_attack.evaluator import ItemExposure
from recbole_attack.trainer.base import AttackTrainer

CUTOFFS = (5, 10, 50, 100)
"""Lists of the detection in "Attacking Pre-trained Recommendation", section 4.5."""


def item_exposure(trainer: AttackTrainer, eval_data: Any, cutoffs: Sequence[int] = CUTOFFS) -> ItemExposure:
    """Count for every item the users whose top N holds it.

    The trainer's model as it is, over full rankings with the configured masking: sampled candidates hold the targets,
    which a platform does not know. Uses RecBole's evaluation, so memory is that of one batch.

    Args:
        trainer: The model's trainer.
        eval_data: Loader with one row for each of the platform's users.
        cutoffs: Lengths N of the lists, at least 1 each.

    Raises:
        DataError: The loader is empty.
        TrainingError: A score is not finite.
    """
    if not eval_data:
        raise DataError("item exposure needs users to recommend to: expected at least one row, found none")
    with trainer.eval_collector.counting(cutoffs) as exposure:
        trainer.evaluate(eval_data, load_best_model=False, full_ranking=True)
    return exposure
