"""Dose and response: the malicious share at which the exposure reaches a level, such as one half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from recbole_attack.benchmark.intervals import NAN
from recbole_attack.utils.errors import DataError

_DIGITS = 12
"""Decimals of an exposure; what differs in later ones differs by rounding."""


class Dose(NamedTuple):
    """A share of malicious clients; 0 stands for less than the smallest tested share, infinity for more than the
    largest.

    Attributes:
        estimate: Where the exposure reaches the level; NaN without a value.
        low: Lower limit of its interval; NaN where no share has two seeds.
        high: Upper limit.
        smallest: Smallest tested share.
        largest: Largest tested share.
        seeds: Least number of values at a share.
    """

    estimate: float
    low: float
    high: float
    smallest: float
    largest: float
    seeds: int

    def __str__(self) -> str:
        """In per cent, such as ``0.32 % (0.1 to 1 %)`` or ``above 5 % (at least 1 %)``."""
        if np.isnan(self.estimate):
            return "-"
        shown = {0.0: f"below {_percent(self.smallest)} %", np.inf: f"above {_percent(self.largest)} %"}
        text = shown.get(self.estimate, f"{_percent(self.estimate)} %")
        return f"{text} ({self._limits()})" if self._limits() else text

    def _limits(self) -> str:
        if np.isnan(self.low) or (self.low == 0 and self.high == np.inf):
            return ""
        if self.high == np.inf:
            return f"at least {_percent(self.low)} %"
        if self.low == 0:
            return f"at most {_percent(self.high)} %"
        return f"{_percent(self.low)} to {_percent(self.high)} %"


def _percent(share: float) -> str:
    return f"{float(f'{100 * share:.2g}'):g}"


def dose_for(shares: ArrayLike, exposures: ArrayLike, level: float = 0.5, confidence: float = 0.95) -> Dose:
    """The malicious share at which the mean exposure reaches ``level``.

    The estimate assumes that more malicious clients never expose the target less: the means at the tested shares are
    made monotone by isotonic regression, weighted by their numbers of seeds, and joined by lines over the logarithm of
    the share; the first point at ``level`` is the dose. No curve is fitted, as exposure need not start at 0 nor end at
    1, and a few shares could not tell one curve from another.

    The interval assumes no line between the shares either. Its lower limit is the last of the shares, from the
    smallest on, at which the exposure is surely below ``level``: all of Student's interval over seeds is. The upper
    limit is the last of those, from the largest down, at which it surely is not. Tests in such a fixed order need no
    correction, and with a monotone response either limit is wrong with a probability of at most half of
    ``1 - confidence``. Between two neighbouring shares nothing is known, however far apart they are: only more shares
    make the interval narrower than that, only more seeds narrower than what they agree on. Where all seeds agree on
    the exposure exactly, it is taken for sure.

    Args:
        shares: ``[n]`` malicious share of every run, above 0.
        exposures: ``[n]`` its exposure; runs where it is undefined do not count.
        level: Above 0.
        confidence: Of the interval, between 0 and 1.

    Raises:
        ValueError: They differ in length, or a share is not above 0.

    >>> print(dose_for([0.001, 0.001, 0.01, 0.01], [0.1, 0.1, 0.9, 0.9]))
    0.32 % (0.1 to 1 %)
    """
    values = pd.DataFrame({"share": np.asarray(shares, float), "exposure": np.asarray(exposures, float)})
    if not (values["share"] > 0).all():
        raise ValueError("a malicious share must be above 0")
    grouped = values[np.isfinite(values["exposure"])].groupby("share")["exposure"]
    tested = grouped.agg(["mean", "sem", "count"])
    if tested.empty:
        return Dose(NAN, NAN, NAN, NAN, NAN, 0)
    points, means, counts = tested.index.to_numpy(), tested["mean"].to_numpy(), tested["count"].to_numpy()
    low, high = NAN, NAN
    if counts.max() > 1:
        low, high = _limits(points, means - level, tested["sem"].to_numpy(), counts, confidence)
    estimate = _crossing(points, means - level, counts)
    return Dose(estimate, low, high, float(points[0]), float(points[-1]), int(counts.min()))


def _crossing(points: NDArray[np.floating], excess: NDArray[np.floating], counts: NDArray[np.integer]) -> float:
    """Where the monotone means first reach the level; by less than rounding is reached."""
    rising = np.round(optimize.isotonic_regression(excess, weights=counts).x, _DIGITS)
    reached = np.flatnonzero(rising >= 0)
    if not len(reached):
        return np.inf
    after = reached[0]
    if after == 0 or rising[after] == 0:
        return float(points[after]) if rising[after] == 0 else 0.0
    between = slice(after - 1, after + 1)
    crossing = np.exp(np.interp(0.0, rising[between], np.log(points[between])))
    return float(np.clip(crossing, *points[between]))


def _limits(
    points: NDArray[np.floating],
    excess: NDArray[np.floating],
    errors: NDArray[np.floating],
    counts: NDArray[np.integer],
    confidence: float,
) -> tuple[float, float]:
    """The shares up to which the exposure is surely below the level, and from which on it surely is not."""
    margins = stats.t.ppf((1 + confidence) / 2, np.maximum(counts - 1, 1)) * errors
    below, above = np.round(excess + margins, _DIGITS) < 0, np.round(excess - margins, _DIGITS) >= 0
    first = np.argmin(np.append(below, False))  # how many are below before the first that may not be
    last = np.argmin(np.append(above[::-1], False))
    return float(points[first - 1]) if first else 0.0, float(points[-last]) if last else np.inf


def doses(
    frame: pd.DataFrame,
    by: Sequence[str] = ("attack",),
    metric: str = "er@10",
    level: float = 0.5,
    share: str = "malicious_share",
    arm: str = "attacked",
    protocol: str = "configured",
) -> pd.DataFrame:
    """The dose of each group of runs.

    Args:
        frame: Tidy results: columns ``arm``, ``protocol``, ``metric``, ``value``, and those of ``by`` and ``share``.
        by: Columns that tell the groups apart.
        metric: The response.
        level: What it has to reach.
        share: The column of the dose: not the configured ``malicious_ratio``, of which whole clients are made.
        arm: Whose response it is.
        protocol: ``configured`` or ``full``.

    Returns:
        Columns ``by`` and the numbers of :class:`Dose`, a row for each group in the order of the frame; none where
        runs do not differ in ``share``.

    Raises:
        DataError: Runs do not say their share, or several configured ratios of a group come to as many clients.
    """
    columns = list(by)
    if share not in frame:
        return pd.DataFrame([], columns=[*columns, *Dose._fields])
    wanted = (frame["arm"] == arm) & (frame["protocol"] == protocol) & (frame["metric"] == metric)
    attacked = frame[wanted & ~(frame[share] <= 0)]
    if attacked[share].isna().any():
        raise DataError(f"a dose needs the {share} of every attacked run: found runs that do not say it")
    if "malicious_ratio" in attacked and (attacked.groupby([*columns, share])["malicious_ratio"].nunique() > 1).any():
        raise DataError(
            f"a dose needs one malicious_ratio for each {share}: found several that come to as many clients"
        )
    groups = attacked.groupby(columns, sort=False, dropna=False) if columns else [((), attacked)]
    rows = [[*group, *dose_for(part[share], part["value"], level)] for group, part in groups]
    return pd.DataFrame(rows, columns=[*columns, *Dose._fields])
