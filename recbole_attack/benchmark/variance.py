"""Where the spread of a result comes from: targets, who is malicious, training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from math import prod

import numpy as np
import pandas as pd
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from recbole_attack.utils.errors import DataError

FACTORS = ("target_items", "malicious_seed", "seed")
"""What is drawn in a run apart from each other: targets, malicious users, all else in training."""

Term = tuple[str, ...]


def variance_components(frame: pd.DataFrame, factors: Sequence[str] = FACTORS, value: str = "value") -> pd.DataFrame:
    """Split the variance of a result into its sources, all of them random and crossed with each other.

    The estimates are those that the mean squares of the analysis of variance have as their expectation: that of a term
    is the sum, over the terms that contain all of its factors, of their variance times the number of results at each
    of their levels. They have no bias, and may be below 0 where a source adds next to nothing. With two or three
    levels of a factor they are no more than an order of magnitude; ``df`` says how many there are, less one.

    With one result for each combination, ``residual`` is the interaction of all factors together with whatever else
    is random.

    Args:
        frame: Results of one metric and arm; every combination of the factors' levels equally often.
        factors: Columns, one or more; with one there have to be several results at each level.
        value: The column of the result.

    Returns:
        A row for each source, interactions as ``a:b``: ``source``, ``df``, ``mean_square``, ``variance`` and
        ``share``, of the sum of all variances with those below 0 taken as 0; NaN where all results are alike.

    Raises:
        DataError: A combination is missing or there more often, a factor does not vary, or a result is undefined.
    """
    names, repeats = list(factors), _repeats(frame, factors, value)
    levels = {name: frame[name].nunique(dropna=False) for name in names}
    orders = range(1, len(names) + (1 if repeats > 1 else 0))
    terms: list[Term] = list(chain.from_iterable(combinations(names, order) for order in orders))
    squares = _mean_squares(frame, names, value, terms)
    found: dict[Term, float] = {}
    for term in sorted(terms, key=len, reverse=True):
        above = sum(_times(levels, other, repeats) * found[other] for other in found if set(term) < set(other))
        expected_without = squares.loc["residual", "mean_square"] + above
        found[term] = (squares.loc[":".join(term), "mean_square"] - expected_without) / _times(levels, term, repeats)
    variances = {":".join(term): found[term] for term in terms} | {"residual": squares.loc["residual", "mean_square"]}
    table = squares.assign(variance=pd.Series(variances))
    positive = table["variance"].clip(lower=0)
    results = frame[value].to_numpy(dtype=float)
    alike = np.ptp(results) <= 1e-12 * np.abs(results).max()  # up to rounding
    return table.assign(share=np.nan if alike else positive / positive.sum()).rename_axis("source").reset_index()


def _times(levels: dict[str, int], term: Term, repeats: int) -> int:
    """Number of results at each level of a term."""
    return repeats * prod(count for name, count in levels.items() if name not in term)


def _mean_squares(frame: pd.DataFrame, names: list[str], value: str, terms: list[Term]) -> pd.DataFrame:
    """Degrees of freedom and mean squares of the terms and of the residual, by the analysis of variance."""
    letters = {name: f"factor{number}" for number, name in enumerate(names)}  # formulas read names as expressions
    codes = {letter: pd.factorize(frame[name], use_na_sentinel=False)[0] for name, letter in letters.items()}
    data = pd.DataFrame({**codes, "result": frame[value].to_numpy(dtype=float)})
    formula = " + ".join(":".join(f"C({letters[name]})" for name in term) for term in terms)
    table = anova_lm(ols(f"result ~ {formula}", data).fit())
    table.index = [":".join(term) for term in terms] + ["residual"]
    return table[["df", "mean_sq"]].rename(columns={"mean_sq": "mean_square"})


def _repeats(frame: pd.DataFrame, factors: Sequence[str], value: str) -> int:
    """How often every combination of the factors' levels is there."""
    names = list(factors)
    for name in names:
        if frame[name].nunique(dropna=False) < 2:
            raise DataError(
                f"the variance by {name} needs two values of it or more: found {list(frame[name].unique())}"
            )
    if not np.isfinite(frame[value].astype(float)).all():
        raise DataError(f"the variance of {value} needs a number in every run: found runs where it is undefined")
    counts = frame.groupby(names, dropna=False, observed=True).size()
    whole = prod(frame[name].nunique(dropna=False) for name in names)
    if len(counts) < whole or counts.nunique() > 1:
        raise DataError(
            f"the variance by {', '.join(names)} needs all {whole} combinations equally often: found {len(counts)}, "
            f"{counts.min()} to {counts.max()} times each"
        )
    repeats = int(counts.iloc[0])
    if len(names) == 1 and repeats == 1:
        raise DataError(f"the variance by {names[0]} alone needs several results at each value: found one")
    return repeats
