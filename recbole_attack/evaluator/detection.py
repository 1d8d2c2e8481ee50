"""How well suspicion and flags match the true targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from recbole_attack.data.sequences import Int
from recbole_attack.evaluator.exposure import Mask


def detection_quality(scores: NDArray[np.floating], flagged: Mask, targets: Int) -> dict[str, float]:
    """Compare a detection with the truth; the padding item 0 does not count.

    Args:
        scores: ``[n_items]`` suspicion, higher is more suspicious; finite from item 1 on.
        flagged: ``[n_items]``.
        targets: ``[T]`` ids of the promoted items.

    Returns:
        ``precision``, ``recall`` and ``f1`` of the flags, 0 where they are 0/0; ``auroc`` and ``average_precision`` of
        the scores, NaN where there is no target or nothing else; ``flagged``, how many items are. All but the last in
        ``[0, 1]``.
    """
    promoted = np.zeros(len(scores), dtype=bool)
    promoted[targets] = True
    promoted, flagged, scores = promoted[1:], flagged[1:], scores[1:]
    precision, recall, f1, _ = precision_recall_fscore_support(promoted, flagged, average="binary", zero_division=0)
    both_kinds = promoted.any() and not promoted.all()
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auroc": float(roc_auc_score(promoted, scores)) if both_kinds else float("nan"),
        "average_precision": float(average_precision_score(promoted, scores)) if both_kinds else float("nan"),
        "flagged": float(flagged.sum()),
    }
