"""Whether two rows of a table differ by more than their seeds do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ROUNDED = 2.5e-6
"""Differences of metrics that are less apart than this are the same: records hold at least six decimals of a metric, so
that two equal differences are up to twice the sixth apart."""


@dataclass(frozen=True)
class PairedTest:
    """A two-sided paired t-test.

    Attributes:
        difference: Mean of first minus second; NaN without pairs.
        t: Student's t with ``pairs - 1`` degrees of freedom; NaN where it is undefined.
        p_value: In ``[0, 1]``; NaN where ``t`` is.
        pairs: Number of seeds for which both values are defined.
    """

    difference: float
    t: float
    p_value: float
    pairs: int


def paired_t_test(first: Sequence[float | None], second: Sequence[float | None]) -> PairedTest:
    """Compare two rows' values of a metric, seed by seed.

    A seed for which a value is undefined (``None`` or not finite) is left out of both rows. With fewer than two pairs,
    or when all differences are the same up to rounding (:data:`ROUNDED`), there is no spread to hold the difference
    against: ``t`` and ``p_value`` are undefined then, and never 0 because two saturated rows differ by the same amount.

    Args:
        first: ``[n]`` one value for each seed.
        second: ``[n]`` the other row's, the same seeds in the same order.

    Raises:
        ValueError: The rows differ in length.

    >>> result = paired_t_test([0.9, 0.7, 0.8], [0.5, 0.5, 0.5])
    >>> round(result.t, 2), round(result.p_value, 3), result.pairs
    (5.2, 0.035, 3)
    """
    pairs = np.array([(a, b) for a, b in zip(first, second, strict=True)], dtype=float).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return PairedTest(float("nan"), float("nan"), float("nan"), 0)
    differences = pairs[:, 0] - pairs[:, 1]
    t = p_value = float("nan")
    if np.ptp(differences) > ROUNDED:
        t, p_value = map(float, stats.ttest_rel(*pairs.T))
    return PairedTest(float(differences.mean()), t, p_value, len(pairs))
