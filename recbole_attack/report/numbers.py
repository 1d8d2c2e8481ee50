"""How numbers are written."""

from __future__ import annotations

SHARES = {"hit", "er", "exposure_share", "recall", "precision", "itemcoverage", "tailpercentage"}
"""Metrics that are shares of users, lists or items, and shown in per cent; for target users or others, too."""

LOST = " lost"
"""Behind the name of the accuracy metric: the clean twin's value less the attacked model's."""


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in per cent."""
    name = metric.removesuffix(LOST).partition("@")[0].lower()
    return name.removesuffix("_in").removesuffix("_out") in SHARES


def heading(metric: str) -> str:
    """A metric's name with its unit."""
    return f"{metric}, %" if is_share(metric) else metric


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, written out: 120 and not 1.2e+02."""
    return f"{float(f'{value:.{digits}g}'):.12g}"
