"""How far a metric would be off with other users of the same kind: standard errors over the evaluated users."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from recbole_attack.evaluator.exposure import Mask, Ranks, largest_exposure


def standard_errors(
    metrics: Iterable[str], rank_truth: Ranks, rank_target: Ranks, eligible: Mask, inside: Mask | None = None
) -> dict[str, float]:
    """Standard errors of metrics at a cut-off, of target users (``_in``) and of all others (``_out``) as well.

    Accuracy is a mean over users, and its error that of a mean. Exposure is a mean over targets of means over the users
    who count for the target. Users could have been others, targets could not; what one user is shown of several targets
    hangs together. So its error is that of a mean of ratios whose sums run over users: the root of
    ``n / (n - 1) * sum_u d_u ** 2``, with ``d_u`` the mean over targets of ``(x_ut - p_t) / n_t``, for ``n`` users
    who count for a target and ``n_t`` for target ``t``. With one target this is the binomial's.

    Args:
        metrics: Names such as ``hit@10``.
        rank_truth: ``[U]`` ranks from 1 of the item to predict; above the cut-offs where it is not listed.
        rank_target: ``[U, T]`` the same of the targets.
        eligible: ``[U, T]`` whether the user counts for the target.
        inside: ``[U]`` whether the attacker means the user; everybody by default.

    Returns:
        Metric -> standard error, at least 0. Metrics that are no such means are left out, as are those with fewer than
        two users.
    """
    users = np.ones(len(rank_truth), dtype=bool) if inside is None else inside
    sides = {"in": users, "out": ~users, "": np.ones(len(users), dtype=bool)}
    found = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        key, _, side = name.rpartition("_") if name.endswith(("_in", "_out")) else (name, "", "")
        rows = sides[side]
        if key in _ACCURACY:
            found[metric] = _of_mean(_ACCURACY[key](rank_truth[rows], int(k)))
        elif key in _EXPOSURE:
            scale, gain = _EXPOSURE[key]
            counted = eligible[rows]
            found[metric] = _of_exposure(gain(rank_target[rows], int(k)), counted) / scale(counted, int(k))
    return {metric: error for metric, error in found.items() if np.isfinite(error)}


def _listed(ranks: Ranks, k: int) -> NDArray[np.floating]:
    return (ranks <= k).astype(float)


def _discounted(ranks: Ranks, k: int) -> NDArray[np.floating]:
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def _reciprocal(ranks: Ranks, k: int) -> NDArray[np.floating]:
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def _one(eligible: Mask, k: int) -> float:
    return 1.0


Gain = Callable[[Ranks, int], NDArray[np.floating]]
_ACCURACY: dict[str, Gain] = {
    "hit": _listed,
    "recall": _listed,
    "ndcg": _discounted,
    "mrr": _reciprocal,
    "map": _reciprocal,
}
_EXPOSURE: dict[str, tuple[Callable[[Mask, int], float], Gain]] = {
    "er": (_one, _listed),
    "target_ndcg": (_one, _discounted),
    "exposure_share": (largest_exposure, _listed),
}


def _of_mean(values: NDArray[np.floating]) -> float:
    return float(stats.sem(values)) if len(values) > 1 else float("nan")


def _of_exposure(values: NDArray[np.floating], eligible: Mask) -> float:
    """See :func:`standard_errors`; ``values`` and ``eligible`` are ``[U, T]``."""
    n = int(eligible.any(axis=1).sum())
    if n < 2:
        return float("nan")
    count = eligible.sum(axis=0)
    values, eligible, count = values[:, count > 0], eligible[:, count > 0], count[count > 0]
    means = (values * eligible).sum(axis=0) / count
    deviations = (np.where(eligible, values - means, 0.0) / count).mean(axis=1)
    return float(np.sqrt(n / (n - 1) * (deviations**2).sum()))
