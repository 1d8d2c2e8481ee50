"""Exposure of target items, from the targets' ranks in each user's list.

All measures are reductions of two ``[U, T]`` arrays: the rank of every target in every evaluated user's list, and
whether that user counts for that target (an honest user who never interacted with it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.integer]
Mask = NDArray[np.bool_]


def mean_over_targets(values: NDArray[np.floating], eligible: Mask) -> float:
    """Mean over targets of the mean of ``values`` over the users eligible for the target.

    Args:
        values: ``[U, T]`` per-user values.
        eligible: ``[U, T]``.

    Returns:
        NaN when no target has an eligible user; targets without one are left out otherwise.
    """
    users = eligible.sum(axis=0)
    exposed = np.where(eligible, values, 0.0).sum(axis=0)
    return float((exposed[users > 0] / users[users > 0]).mean()) if users.any() else float("nan")


def exposure_ratio(ranks: Ranks, eligible: Mask, k: int) -> float:
    """ER@K: share of the eligible users whose top K holds the target, averaged over targets; in ``[0, 1]``.

    Args:
        ranks: ``[U, T]`` ranks from 1; any value above K where the target is not listed.
        eligible: ``[U, T]`` whether the user never interacted with the target.
        k: Cut-off K.
    """
    return mean_over_targets((ranks <= k).astype(float), eligible)


def target_ndcg(ranks: Ranks, eligible: Mask, k: int) -> float:
    """As :func:`exposure_ratio` with ``1 / log2(rank + 1)`` in place of 1; in ``[0, 1]``."""
    return mean_over_targets(np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0), eligible)


def exposure_share(ranks: Ranks, eligible: Mask, k: int) -> float:
    """ER@K as a share of what is possible: ``er / min(1, K / T)``, since a list of K cannot hold T > K targets."""
    return exposure_ratio(ranks, eligible, k) / min(1.0, k / ranks.shape[1])
