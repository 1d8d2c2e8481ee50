"""What a rule costs the long tail: accuracy on rare items, and whether their rows are trained at all.

A rule that lets few clients move an item's row protects it from malicious clients and from honest ones alike. Exposure
alone does not tell a rule that is robust from one that learns nothing about rare items; these figures do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int
from recbole_attack.evaluator import Outcomes

TAIL = 0.8
"""Share of the catalogue that is the tail: all but the fifth of the items with most training interactions."""


def tail_items(popularity: Int) -> NDArray[np.bool_]:
    """``[n_items]`` whether an item is of the tail; the padding item is not. Of equal items the first are.

    Args:
        popularity: ``[n_items]`` training interactions of each item, the padding item first.

    >>> tail_items(np.array([0, 9, 1, 2, 0, 8])).astype(int)
    array([0, 0, 1, 1, 1, 1])
    """
    order = np.argsort(popularity[1:], kind="stable") + 1
    rare = np.zeros(len(popularity), dtype=bool)
    rare[order[: int(TAIL * len(order))]] = True
    return rare


def tail_figures(
    outcomes: Outcomes, truth: Int, popularity: Int, before: torch.Tensor, after: torch.Tensor, topk: Sequence[int]
) -> dict[str, float | None]:
    """What a trained model is to tail items.

    Args:
        outcomes: Of its test users.
        truth: ``[U]`` the item each of them is to be predicted.
        popularity: As for :func:`tail_items`.
        before: ``[n_items, H]`` item embeddings the training began with.
        after: The same of the tested model.
        topk: Cut-offs.

    Returns:
        ``users``, those whose item is of the tail; ``hit@k`` and ``ndcg@k`` over them, ``None`` without any;
        ``rows_moved``, how far a tail item's row moved in the mean, as a Euclidean distance, and ``head_rows_moved``,
        the same of all other items.
    """
    rare = tail_items(popularity)
    chosen = rare[truth]
    moved = torch.linalg.vector_norm((after - before).detach().double(), dim=1).cpu().numpy()
    head = ~rare
    head[0] = False
    kinds = {"hit": outcomes.hits, "ndcg": outcomes.gains}
    metrics = {f"{name}@{k}": _mean(values(k)[chosen]) for k in topk for name, values in kinds.items()}
    return {
        "users": float(chosen.sum()),
        **metrics,
        "rows_moved": _mean(moved[rare]),
        "head_rows_moved": _mean(moved[head]),
    }


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
