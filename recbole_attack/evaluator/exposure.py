"""Exposure of target items, from the targets' ranks in each user's list.

All measures are reductions of two ``[U, T]`` arrays: the rank of every target in every evaluated user's list, and
whether that user counts for that target (an honest user who never interacted with it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    """ER@K as a share of the largest one there can be: a list of K does not hold more than K targets; in ``[0, 1]``.

    Every user counts for the targets it never interacted with, up to K of them. ER@K is largest when those are the
    targets with the fewest such users, for a user weighs most there. If everybody counts for all ``T`` targets, the
    largest ER@K is ``min(1, K / T)``; without an eligible user the share is NaN.
    """
    return exposure_ratio(ranks, eligible, k) / largest_exposure(eligible, k)


def largest_exposure(eligible: Mask, k: int) -> float:
    """The largest ER@K that lists of K allow; NaN without an eligible user."""
    rarest_first = eligible[:, np.argsort(eligible.sum(axis=0), kind="stable")]
    possible = rarest_first & (rarest_first.cumsum(axis=1) <= k)
    return mean_over_targets(possible.astype(float), rarest_first)


def exposure_gaps(inside: ArrayLike, outside: ArrayLike) -> NDArray[np.floating]:
    """How many times as exposed targets are to target users as to the others: ``inside / outside``.

    Args:
        inside: ``[...]`` exposure (ratio, NDCG) to target users.
        outside: ``[...]`` the same measure for the other users.

    Returns:
        ``[...]``; NaN where no other user is exposed or either measure is undefined.
    """
    above, below = np.asarray(inside, dtype=float), np.asarray(outside, dtype=float)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def invisibility(inside: ArrayLike, outside: ArrayLike) -> tuple[float, int]:
    """The invisibility of "Attacking Pre-trained Recommendation": lambda, the mean of :func:`exposure_gaps`.

    The paper averages over HIT and NDCG of the targets at the cut-offs 5 and 10, and gives neither the formula nor a
    word about non-target users who see no target. Here lambda is undefined as soon as one of its ratios is: leaving
    the undefined ones out would rank the attack that nobody outside the group notices by its worst cut-off.

    The mean of the ratios explains nine of the ten rows of its Table 1 up to the rounding of what is printed (AliEC,
    PEA-PT gives 10.9 where 10.8 is printed). The tenth, CIKM, PEA-D, contradicts itself: for non-target users HIT@10
    (0.017) lies below HIT@5 (0.072), which no ranking does, and with NDCG@10 printed as 0.0 the ratio is undefined.
    The other three average to 73.7, and no value that rounds to 0.0 brings the four down to the printed 44.6: 60 is
    the least.

    Args:
        inside: ``[...]`` measures of target users, e.g. HIT and NDCG at each cut-off.
        outside: ``[...]`` the same for the other users.

    Returns:
        Lambda, NaN unless all ratios are defined, and the number of defined ratios.

    >>> invisibility([0.75, 0.5], [0.25, 0.125])
    (3.5, 2)
    >>> invisibility([0.75, 0.5], [0.25, 0.0])
    (nan, 1)
    """
    gaps = exposure_gaps(inside, outside)
    return float(gaps.mean()) if gaps.size else float("nan"), int(np.isfinite(gaps).sum())
