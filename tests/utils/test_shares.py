"""Shares of a number against exact arithmetic of the decimals that were written."""

from __future__ import annotations

import doctest
from decimal import ROUND_FLOOR

from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils import shares
from recbole_attack.utils.shares import part_of


@given(st.integers(0, 1_000_000), st.decimals("0", "1", places=6))
def test_a_part_is_that_of_the_decimal_that_was_written(count, share):
    exact = (share * count).to_integral_value(ROUND_FLOOR)
    assert part_of(count, float(share)) == exact


def test_examples():
    failed, tried = doctest.testmod(shares)
    assert failed == 0 < tried
