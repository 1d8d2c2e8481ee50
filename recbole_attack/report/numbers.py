"""How numbers are written."""

from __future__ import annotations

SHARES = {"hit", "er", "exposure_share", "recall", "precision", "itemcoverage", "tailpercentage"}
"""Metrics that are shares of users, lists or items, and shown in per cent."""

LOST = " lost"
"""Behind the name of the accuracy metric: the clean twin's value less the attacked model's."""


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in per cent."""
    return base(metric) in SHARES


def base(metric: str) -> str:
    """A metric's name without group, cut-off and what was done to it."""
    return metric.removesuffix(LOST).partition("@")[0].lower().removesuffix("_in").removesuffix("_out")


def heading(metric: str) -> str:
    """A metric's name with its unit."""
    return f"{metric}, %" if is_share(metric) else metric


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, written out: 120 and not 1.2e+02."""
    return f"{float(f'{value:.{digits}g}'):.12g}"


DASH = "-"
"""Stands for what is undefined or was not measured."""


def number(value: float | None, sign: bool = False) -> str:
    """Four decimals, or a dash for what is undefined or was not measured."""
    if value is None or value != value:
        return DASH
    return _written(value, 4, sign)


def percent(share: float | None, sign: bool = False) -> str:
    """A share in per cent with two decimals, without the unit; a dash for what is undefined or was not measured."""
    if share is None or share != share:
        return DASH
    return _written(100 * share, 2, sign)


def _written(value: float, decimals: int, sign: bool) -> str:
    """With so many decimals; what rounds to zero has no minus, since rounding errors have either sign."""
    near = float(f"{value:.{decimals}f}") + 0.0  # NumPy's numbers round otherwise than Python's
    return f"{near:+.{decimals}f}" if sign else f"{near:.{decimals}f}"
