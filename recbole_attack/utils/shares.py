"""How many a share of some is: a float lies a little beside the number it stands for."""

from __future__ import annotations

_EXACT = 1e-9
"""What a product may be below the whole number it stands for."""


def part_of(count: int, share: float) -> int:
    """``share * count`` rounded down.

    >>> part_of(100, 0.29), int(0.29 * 100)
    (29, 28)
    """
    return int(share * count + _EXACT)
