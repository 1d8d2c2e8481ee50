"""Whether rows differ by more than chance: paired tests over seeds or users, effect sizes, and Holm over a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from recbole_attack.benchmark.intervals import NAN, check_once, t_interval
from recbole_attack.evaluator import ROUNDED, Outcomes, paired_t_test
from recbole_attack.utils.errors import lookup

_SMALLEST = float(np.finfo(float).tiny)
"""Stands for every p-value that is too small to be told from 0: no test gives 0."""


class Comparison(NamedTuple):
    """Two rows, pair by pair; undefined numbers are NaN.

    Attributes:
        pairs: Number of pairs of which both values are defined.
        difference: Mean of first minus second; of values that are 0 or 1 the risk difference.
        low: Lower limit of its interval by Student's t; ``high`` is the upper one.
        high: See above.
        t: Student's t with ``pairs - 1`` degrees of freedom.
        t_p: Two-sided p-value of the paired t-test.
        wilcoxon_p: Two-sided p-value of Wilcoxon's signed-rank test; pairs without a difference do not count.
        d_z: Cohen's d of paired values: mean by standard deviation of the differences.
        rank_biserial: Of the ranks of all differences, the share in favour of the first minus that of the second.
    """

    pairs: int
    difference: float
    low: float
    high: float
    t: float
    t_p: float
    wilcoxon_p: float
    d_z: float
    rank_biserial: float


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Comparison:
    """Compare paired values, one pair for each seed, or each user.

    A pair of which a value is undefined is left out. With fewer than two pairs, or differences that are all the same,
    there is no spread for t, its interval and d_z to be held against; without any difference no ranks either. With n
    seeds Wilcoxon's p-value is never below ``2 ** (1 - n)``: 0.25 with three.

    Args:
        first: ``[n]`` values of a row.
        second: ``[n]`` values of another one, of the same seeds or users in the same order.
        level: Confidence of the interval, between 0 and 1.

    Raises:
        ValueError: They differ in length.

    >>> result = compare([0.9, 0.7, 0.8], [0.5, 0.5, 0.5])
    >>> [round(number, 3) for number in (result.difference, result.t_p, result.wilcoxon_p, result.d_z)]
    [0.3, 0.035, 0.25, 3.0]
    """
    test = paired_t_test(list(np.asarray(first, dtype=float)), list(np.asarray(second, dtype=float)))
    pairs = np.stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    differences = pairs[0] - pairs[1]
    _, low, high, _ = t_interval(differences, level) if np.isfinite(test.t) else (NAN, NAN, NAN, 0)
    d_z = test.t / np.sqrt(test.pairs) if test.pairs else NAN
    moved = differences[np.abs(differences) > ROUNDED]
    p_value, rank_biserial = _signed_ranks(moved)
    t_p = float(np.maximum(test.p_value, _SMALLEST))
    return Comparison(test.pairs, test.difference, low, high, test.t, t_p, p_value, float(d_z), rank_biserial)


def _signed_ranks(differences: NDArray[np.floating]) -> tuple[float, float]:
    """Wilcoxon's p-value and the rank-biserial correlation of differences none of which is 0."""
    if not len(differences):
        return NAN, NAN
    sizes, signs = np.abs(differences), np.sign(differences)
    order = np.argsort(sizes)
    levels = np.empty_like(sizes)
    levels[order] = 1 + np.cumsum(np.diff(sizes[order], prepend=sizes.min()) > ROUNDED)  # ties, but for rounding
    ranks = stats.rankdata(levels)
    p_value = max(float(stats.wilcoxon(signs * levels).pvalue), _SMALLEST)
    return p_value, float(signs @ ranks / ranks.sum())


def holm(p_values: ArrayLike) -> NDArray[np.floating]:
    """Holm's adjusted p-values: the level at which each hypothesis is rejected when all of a table are tested.

    Args:
        p_values: ``[n]``; undefined ones stay so, and do not count as tested.

    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted = np.asarray(p_values, dtype=float).copy()
    tested = np.isfinite(adjusted)
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return adjusted


def comparisons(
    frame: pd.DataFrame,
    pairs: Iterable[tuple[str, str]],
    metrics: Sequence[str] = ("er@10", "hit@10"),
    arms: tuple[str, str] = ("attacked", "attacked"),
    protocol: str = "configured",
    unit: str = "seed",
) -> pd.DataFrame:
    """Compare rows over the seeds, or the users, they have in common, and adjust for all that is compared.

    Args:
        frame: Tidy results: columns ``run``, ``arm``, ``protocol``, ``metric``, ``value`` and ``unit``. Of runs, or
            made by :func:`users_frame`.
        pairs: First and second ``run`` of each comparison.
        metrics: What is compared.
        arms: Arm of the first and of the second; ``("attacked", "clean")`` with pairs of the same run is what the
            attack did.
        protocol: ``configured`` or ``full``.
        unit: ``seed`` or ``user``: the column of what is paired.

    Returns:
        A row for each pair and metric: ``first``, ``second``, ``metric``, the numbers of :class:`Comparison`, and
        ``t_p_holm`` and ``wilcoxon_p_holm``, each adjusted over the whole table.

    Raises:
        ConfigError: The frame has no such run, metric, arm or protocol, or two values of one seed or user.
    """
    pairs = list(pairs)
    asked = {"run": {run for pair in pairs for run in pair}, "metric": metrics, "arm": arms, "protocol": [protocol]}
    for column, names in asked.items():
        for name in names:
            lookup(dict.fromkeys(frame[column]), name, column)
    frame, rows = frame[frame["protocol"] == protocol], []
    for first, second in pairs:
        for metric in metrics:
            sides = [_values(frame, run, arm, metric, unit) for run, arm in zip((first, second), arms, strict=True)]
            left, right = sides[0].align(sides[1], join="inner")
            rows.append([first, second, metric, *compare(left, right)])
    table = pd.DataFrame(rows, columns=["first", "second", "metric", *Comparison._fields])
    return table.assign(t_p_holm=holm(table["t_p"]), wilcoxon_p_holm=holm(table["wilcoxon_p"]))


def _values(frame: pd.DataFrame, run: str, arm: str, metric: str, unit: str) -> pd.Series:
    """The values of one cell by seed or user."""
    part = frame[(frame["run"] == run) & (frame["arm"] == arm) & (frame["metric"] == metric)]
    check_once(part[unit], {"run": run, "arm": arm, "metric": metric})
    return part.set_index(unit)["value"].astype(float)


def users_frame(outcomes: Mapping[tuple[str, str], Sequence[Outcomes]], k: int = 10) -> pd.DataFrame:
    """What each user was served with, as a tidy frame.

    Args:
        outcomes: Run and arm -> the outcomes of every seed, of the same data.
        k: Cut-off.

    Returns:
        Columns ``run``, ``arm``, ``protocol``, ``metric`` (``hit@k``, ``ndcg@k`` and ``er@k``), ``user`` and
        ``value``: the mean over seeds, for ``er@k`` of the means over the targets the user counts for.
    """
    parts = []
    for (run, arm), seeds in outcomes.items():
        values = pd.concat([_of_users(found, k) for found in seeds]).groupby("user").mean()
        tidy = values.melt(ignore_index=False, var_name="metric", value_name="value").reset_index()
        parts.append(tidy.assign(run=run, arm=arm, protocol="configured"))
    columns = ["run", "arm", "protocol", "metric", "user", "value"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _of_users(outcomes: Outcomes, k: int) -> pd.DataFrame:
    exposure = pd.DataFrame(outcomes.exposures(k)).mean(axis=1).to_numpy()
    values = {f"hit@{k}": outcomes.hits(k), f"ndcg@{k}": outcomes.gains(k), f"er@{k}": exposure}
    return pd.DataFrame(values, index=pd.Index(outcomes.user, name="user"))
