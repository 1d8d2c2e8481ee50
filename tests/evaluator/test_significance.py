"""The paired t-test, against its formula and Student's distribution by numerical integration."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad

from recbole_attack.evaluator import paired_t_test, significance

VALUES = st.floats(-1, 1).map(lambda value: round(value, 3))
ROWS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=8)


def by_formula(first, second):
    """t, and the two-sided p as the area below Student's density."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    n, mean = len(differences), sum(differences) / len(differences)
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    t, nu = mean / (deviation / math.sqrt(n)), n - 1
    scale = math.gamma((nu + 1) / 2) / (math.sqrt(nu * math.pi) * math.gamma(nu / 2))
    area, _ = quad(lambda x: scale * (1 + x * x / nu) ** (-(nu + 1) / 2), -abs(t), abs(t), limit=200)
    return t, 1 - area


@given(ROWS)
def test_it_is_students_test_of_the_differences(pairs):
    first, second = zip(*pairs, strict=True)
    differences = np.subtract(first, second)
    assume(np.ptp(differences) > 1e-4)
    result, (t, p_value) = paired_t_test(first, second), by_formula(first, second)
    assume(abs(t) < 50)  # quadrature has no more digits beyond
    assert result.pairs == len(pairs)
    assert result.difference == pytest.approx(differences.mean())
    assert result.t == pytest.approx(t, rel=1e-6, abs=1e-9)
    assert result.p_value == pytest.approx(p_value, abs=1e-6)


@given(ROWS, st.randoms())
def test_rows_and_seeds_can_be_exchanged(pairs, random):
    first, second = zip(*pairs, strict=True)
    result, swapped = paired_t_test(first, second), paired_t_test(second, first)
    assert (swapped.difference, swapped.t, swapped.p_value) == pytest.approx(
        (-result.difference, -result.t, result.p_value), nan_ok=True
    )
    random.shuffle(pairs)
    shuffled = paired_t_test(*zip(*pairs, strict=True))
    assert shuffled.p_value == pytest.approx(result.p_value, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(("first", "second", "pairs"), [([], [], 0), ([None], [0.5], 0), ([0.25], [0.75], 1)])
def test_fewer_than_two_pairs_are_undefined(first, second, pairs):
    result = paired_t_test(first, second)
    assert result.pairs == pairs
    assert math.isnan(result.t) and math.isnan(result.p_value)
    assert result.difference == pytest.approx(-0.5 if pairs else math.nan, nan_ok=True)


@pytest.mark.parametrize("first", [[0.5, 0.5, 0.5], [1.5, 1.5, 1.5], [0.1 + 0.2, 0.3, 0.3]])
def test_differences_without_spread_are_undefined(first):
    result = paired_t_test(first, [0.5, 0.5, 0.5])
    assert result.difference == pytest.approx(np.mean(first) - 0.5)
    assert math.isnan(result.t) and math.isnan(result.p_value)


@given(st.integers(1, 900), st.integers(-30, 30), st.lists(st.integers(31, 900), min_size=2, max_size=5))
def test_differences_of_the_same_number_of_users_have_no_spread(users, apart, hits):
    """In the six decimals that records hold."""
    first, second = ([round((hit + more) / (users + 930), 6) for hit in hits] for more in (0, apart))
    assert math.isnan(paired_t_test(first, second).p_value)


def test_differences_of_one_user_more_or_less_have_a_spread():
    first, second = ([round(hit / 100_000, 6) for hit in hits] for hits in ([163, 165, 173], [161, 163, 170]))
    result = paired_t_test(first, second)  # 2, 2 and 3 of 100 000: a mean of 7/3, a standard error of 1/3
    assert (result.t, result.p_value) == pytest.approx((7.0, 0.0198), rel=1e-2)


def test_seeds_with_an_undefined_value_are_left_out_of_both_rows():
    first, second = [0.9, None, 0.7, 0.8, 0.1], [0.5, 0.4, 0.5, 0.5, math.nan]
    assert paired_t_test(first, second) == paired_t_test([0.9, 0.7, 0.8], [0.5, 0.5, 0.5])
    assert paired_t_test(first, second).p_value == pytest.approx(0.0351, abs=1e-4)


def test_rows_must_be_of_the_same_seeds():
    with pytest.raises(ValueError, match="zip"):
        paired_t_test([0.1, 0.2], [0.1])


def test_examples():
    failed, tried = doctest.testmod(significance)
    assert failed == 0 < tried
