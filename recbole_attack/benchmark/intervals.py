"""Confidence intervals: over seeds, over users, and over users and targets.

They answer different questions. Seeds vary what one run draws at random, on the same users and targets; users and
targets could have been others while the trained model stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from recbole_attack.evaluator import Outcomes
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream

CELL = ("run", "arm", "protocol", "metric")
"""Columns of the tidy frame that say what was measured."""


class Interval(NamedTuple):
    """A mean and how far it may be off.

    Attributes:
        estimate: The mean of the defined values; NaN without any.
        low: Lower limit; NaN where there is none, and so is ``high``.
        high: Upper limit.
        n: Number of defined values: of seeds, or of users.
    """

    estimate: float
    low: float
    high: float
    n: int


NAN = float("nan")


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval for the mean of values that are drawn independently, such as one for each seed.

    Values that are not finite are left out. One value says nothing about how far it is off, and neither do values
    that are all alike up to rounding, such as an exposure that is 1 with every seed: no limits then. Limits of a share
    may lie outside ``[0, 1]``.

    Args:
        values: ``[n]``.
        level: Confidence, between 0 and 1.

    >>> [round(number, 3) for number in t_interval([0.4, 0.5, 0.6])]
    [0.5, 0.252, 0.748, 3]
    """
    known = _finite(values)
    if not len(known):
        return Interval(NAN, NAN, NAN, 0)
    mean = float(known.mean())
    if np.ptp(known) <= 1e-12 * np.abs(known).max():
        return Interval(mean, NAN, NAN, len(known))
    low, high = stats.t.interval(level, len(known) - 1, loc=mean, scale=stats.sem(known))
    return Interval(mean, float(low), float(high), len(known))


def wilson_interval(hits: ArrayLike, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share of users; also defined where the share is 0 or 1.

    Args:
        hits: ``[n]`` of 0 and 1, NaN for a user who does not count.
        level: Confidence, between 0 and 1.

    Raises:
        ValueError: A value is none of these.

    >>> [round(number, 3) for number in wilson_interval([0] * 10)]
    [0.0, 0.0, 0.278, 10]
    """
    known = _finite(hits)
    if not np.isin(known, (0, 1)).all():
        raise ValueError("a share is of values that are 0 or 1")
    if not len(known):
        return Interval(NAN, NAN, NAN, 0)
    share = float(known.mean())
    low, high = proportion_confint(int(known.sum()), len(known), alpha=1 - level, method="wilson")
    return Interval(share, min(float(low), share), max(float(high), share), len(known))  # rounding may cross 0 and 1


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap over users, or over users and targets, for the mean over targets of means over users.

    Users and targets are drawn with replacement, independently of each other: the pigeonhole bootstrap (Owen 2007,
    The pigeonhole bootstrap, Annals of Applied Statistics 1), which is a little too wide rather than too narrow. With
    one target only users are drawn, and the interval is about that target. Where all values are alike there are no
    limits; a share still has those of :func:`wilson_interval`.

    Args:
        values: ``[U]``, or ``[U, T]``; NaN where a user does not count (for the target).
        level: Confidence, between 0 and 1.
        resamples: How often users and targets are drawn.
        seed: What is drawn depends on nothing else.
    """
    table = np.asarray(values, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    defined = np.isfinite(table)
    table, defined = (part[defined.any(axis=1)][:, defined.any(axis=0)] for part in (table, defined))
    if not table.size:
        return Interval(NAN, NAN, NAN, 0)
    (users, targets), filled, defined = table.shape, np.where(defined, table, 0.0), defined.astype(float)
    estimate = float((filled.sum(axis=0) / defined.sum(axis=0)).mean())
    if np.nanmax(table) == np.nanmin(table):
        return Interval(estimate, NAN, NAN, users)
    rng, means = stream(seed, "bootstrap"), []
    for _ in range(resamples):
        weights = np.bincount(rng.integers(users, size=users), minlength=users)
        drawn = rng.integers(targets, size=targets)
        counts = (weights @ defined)[drawn]
        if counts.any():
            means.append(((weights @ filled)[drawn][counts > 0] / counts[counts > 0]).mean())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), users)


def user_intervals(outcomes: Outcomes, k: int = 10, level: float = 0.95) -> dict[str, Interval]:
    """Intervals over the users of one arm for ``hit@k``, ``ndcg@k`` and ``er@k``.

    Shares have Wilson's interval, gains the bootstrap's, and so has the exposure of several targets.

    Args:
        outcomes: Of the arm.
        k: Cut-off.
        level: Confidence, between 0 and 1.
    """
    shown = outcomes.exposures(k)
    exposure = wilson_interval(shown[:, 0], level) if shown.shape[1] == 1 else bootstrap_interval(shown, level)
    return {
        f"hit@{k}": wilson_interval(outcomes.hits(k), level),
        f"ndcg@{k}": bootstrap_interval(outcomes.gains(k), level),
        f"er@{k}": exposure,
    }


def seed_intervals(frame: pd.DataFrame, by: Sequence[str] = CELL, level: float = 0.95) -> pd.DataFrame:
    """Means and Student's intervals over seeds.

    Args:
        frame: Tidy results: columns ``seed`` and ``value``, and those of ``by``.
        by: Columns that tell apart what is not averaged.
        level: Confidence, between 0 and 1.

    Returns:
        Columns ``by``, ``mean``, ``low``, ``high`` and ``seeds``, in the order of the frame; one row each.

    Raises:
        ConfigError: ``by`` does not tell two results of one seed apart.
    """
    columns, rows = list(by), []
    for cell, part in frame.groupby(columns, sort=False, dropna=False):
        check_once(part["seed"], dict(zip(columns, cell, strict=True)))
        rows.append([*cell, *t_interval(part["value"], level)])
    return pd.DataFrame(rows, columns=[*columns, "mean", "low", "high", "seeds"])


def check_once(units: pd.Series, cell: dict[str, Hashable]) -> None:
    """Refuse two values of one seed, or of one user, where there can be one.

    Args:
        units: The seeds or users of the values; its name says which.
        cell: What was measured, for the message.

    Raises:
        ConfigError: Names the first that is there twice.
    """
    twice = units[units.duplicated()]
    if len(twice):
        where = ", ".join(f"{name} {value}" for name, value in cell.items())
        raise ConfigError(
            f"expected one value of each {units.name} for {where}: found several of {units.name} {twice.iloc[0]}"
        )


def _finite(values: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]
