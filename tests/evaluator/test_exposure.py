"""Exposure measures against counts, target by target and user by user."""

import doctest
import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.evaluator import exposure
from recbole_attack.evaluator.exposure import (
    exposure_gaps,
    exposure_ratio,
    exposure_share,
    invisibility,
    target_ndcg,
)

DEPTH = 6


@st.composite
def rankings(draw, most_users=6):
    """Ranks (``DEPTH + 1`` when not listed), eligibility and a cut-off."""
    n_users, n_targets = draw(st.integers(1, most_users)), draw(st.integers(1, 4))
    places = st.permutations(range(1, DEPTH + n_targets + 1)).map(lambda order: order[:n_targets])
    ranks = np.array([draw(places) for _ in range(n_users)])
    eligible = draw(st.lists(st.booleans(), min_size=n_users * n_targets, max_size=n_users * n_targets))
    return np.minimum(ranks, DEPTH + 1), np.array(eligible).reshape(ranks.shape), draw(st.integers(1, DEPTH))


def counted(ranks, eligible, k, gain):
    """Mean over targets of the mean gain over their eligible users."""
    means = []
    for target in range(ranks.shape[1]):
        users = [user for user in range(len(ranks)) if eligible[user, target]]
        gains = [gain(int(ranks[user, target])) for user in users if ranks[user, target] <= k]
        if users:
            means.append(sum(gains) / len(users))
    return sum(means) / len(means) if means else math.nan


def same(value, expected):
    return value == pytest.approx(expected, nan_ok=True)


@settings(derandomize=True, deadline=None)
@given(rankings())
def test_measures_are_counts(case):
    ranks, eligible, k = case
    ratio = counted(ranks, eligible, k, lambda rank: 1.0)
    assert same(exposure_ratio(ranks, eligible, k), ratio)
    assert same(target_ndcg(ranks, eligible, k), counted(ranks, eligible, k, lambda rank: 1 / math.log2(rank + 1)))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rankings(most_users=3))
def test_the_share_is_of_the_largest_exposure_of_any_lists(case):
    """All lists there can be are tried: every choice of up to K targets for every user."""
    ranks, eligible, k = case
    n_users, n_targets = ranks.shape
    tops = list(combinations(range(n_targets), min(k, n_targets)))
    most = -math.inf
    for lists in product(tops, repeat=n_users):
        shown = np.array([[1 if target in top else DEPTH + 1 for target in range(n_targets)] for top in lists])
        most = max(most, counted(shown, eligible, k, lambda rank: 1.0))
    share = exposure_share(ranks, eligible, k)
    if not eligible.any():
        assert math.isnan(share)
        return
    assert share == pytest.approx(counted(ranks, eligible, k, lambda rank: 1.0) / most)
    assert 0 <= share <= 1 + 1e-12


@settings(derandomize=True, deadline=None)
@given(rankings())
def test_the_share_divides_by_k_over_t_where_nobody_owns_a_target(case):
    ranks, _, k = case
    everybody = np.ones(ranks.shape, dtype=bool)
    expected = exposure_ratio(ranks, everybody, k) / min(1.0, k / ranks.shape[1])
    assert exposure_share(ranks, everybody, k) == pytest.approx(expected)


def test_owners_of_a_target_leave_room_for_the_others():
    """Two users, K = 1 of T = 2: one of them owns the first target, both lists hold all they can."""
    eligible = np.array([[False, True], [True, True]])
    ranks = np.array([[9, 1], [1, 9]])
    assert exposure_ratio(ranks, eligible, 1) == 0.75 > 1 / 2
    assert exposure_share(ranks, eligible, 1) == 1.0
    assert exposure_share(np.array([[9, 1], [9, 1]]), eligible, 1) == pytest.approx(0.5 / 0.75)


@settings(derandomize=True, deadline=None)
@given(rankings())
def test_more_room_never_lowers_exposure(case):
    ranks, eligible, k = case
    if eligible.any():
        assert exposure_ratio(ranks, eligible, k) <= exposure_ratio(ranks, eligible, k + 1)
        assert 0 <= target_ndcg(ranks, eligible, k) <= exposure_ratio(ranks, eligible, k) <= 1


def test_nobody_eligible_is_undefined():
    ranks, nobody = np.ones((3, 2), dtype=int), np.zeros((3, 2), dtype=bool)
    for measure in (exposure_ratio, target_ndcg, exposure_share):
        assert math.isnan(measure(ranks, nobody, 5))
        assert math.isnan(measure(ranks[:0], nobody[:0], 5))


def test_a_target_everyone_owns_is_left_out():
    ranks = np.array([[9, 1], [9, 9]])
    eligible = np.array([[False, True], [False, True]])
    assert exposure_ratio(ranks, eligible, 5) == 0.5
    assert target_ndcg(ranks, eligible, 5) == 0.5


def test_users_weigh_the_same_within_a_target_and_targets_among_each_other():
    ranks = np.array([[1, 1], [9, 9], [9, 9]])
    eligible = np.array([[True, True], [True, False], [True, False]])
    assert exposure_ratio(ranks, eligible, 5) == pytest.approx((1 / 3 + 1) / 2)


def test_share_reaches_one_when_lists_hold_nothing_but_targets():
    ranks = np.array([[1, 2, 9, 9], [9, 9, 1, 2]])  # K = 2 of T = 4 targets
    everyone = np.ones((2, 4), dtype=bool)
    assert exposure_ratio(ranks, everyone, 2) == 0.5
    assert exposure_share(ranks, everyone, 2) == 1.0
    assert exposure_share(ranks, everyone, 8) == exposure_ratio(ranks, everyone, 8)


def test_ndcg_of_the_first_places():
    ranks = np.array([[1], [2], [3], [4]])
    value = target_ndcg(ranks, np.ones((4, 1), dtype=bool), 3)
    assert value == pytest.approx((1 + 1 / math.log2(3) + 0.5) / 4)


PRINTED = {  # Table 1 of "Attacking Pre-trained Recommendation", per cent: H@5, N@5, H@10, N@10 in, out, lambda
    "CIKM Clean": ((0.002, 0.001, 0.004, 0.002), (0.002, 0.002, 0.004, 0.002), 0.9),
    "CIKM BRA": ((0.755, 0.388, 1.798, 0.72), (0.234, 0.116, 0.610, 0.236), 3.1),
    "CIKM BRA-FT": ((0.033, 0.016, 0.106, 0.040), (0.016, 0.008, 0.047, 0.018), 2.1),
    "CIKM PEA-PT": ((0.725, 0.393, 1.586, 0.667), (0.064, 0.034, 0.151, 0.061), 11.1),
    "AliEC Clean": ((0.009, 0.006, 0.016, 0.008), (0.007, 0.004, 0.014, 0.006), 1.3),
    "AliEC BRA": ((0.272, 0.148, 0.671, 0.269), (0.114, 0.057, 0.288, 0.113), 2.4),
    "AliEC PEA-D": ((1.649, 0.972, 3.303, 1.499), (0.033, 0.018, 0.067, 0.029), 51.2),
    "AliEC BRA-FT": ((0.272, 0.144, 0.660, 0.267), (0.112, 0.051, 0.284, 0.111), 2.5),
    "AliEC PEA-PT": ((0.597, 0.335, 1.267, 0.548), (0.055, 0.031, 0.116, 0.050), 10.8),
}
CIKM_PEA_D = (1.437, 0.786, 3.056, 1.302), (0.072, 0.037, 0.017, 0.0)
DIGIT = 0.0005  # half of the last digit printed


@pytest.mark.parametrize("row", PRINTED)
def test_the_mean_of_the_ratios_gives_the_papers_lambda(row):
    inside, outside, printed = PRINTED[row]
    value, defined = invisibility(inside, outside)
    assert defined == 4
    assert value == pytest.approx(printed, abs=0.05 if row != "AliEC PEA-PT" else 0.09)
    least, most = (invisibility(np.add(inside, d), np.subtract(outside, d))[0] for d in (-DIGIT, DIGIT))
    assert least < printed + 0.05 and printed - 0.05 < most, "the printed digits allow for the printed lambda"


def test_one_printed_lambda_follows_from_no_reading_of_its_row():
    inside, outside = CIKM_PEA_D
    value, defined = invisibility(inside, outside)
    assert math.isnan(value) and defined == 3
    assert exposure_gaps(inside, outside)[:3].mean() == pytest.approx(73.7, abs=0.05)
    assert outside[2] < outside[0], "exposure cannot fall as lists grow"
    largest = (*np.add(outside[:3], DIGIT), 0.05)
    least, _ = invisibility(np.subtract(inside, DIGIT), largest)
    assert least == pytest.approx(60.3, abs=0.1)
    assert least > 44.6 + 0.05


EXPOSURES = st.floats(0.01, 1.0) | st.just(0.0) | st.just(math.nan)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(EXPOSURES, EXPOSURES), max_size=5))
def test_gaps_by_hand(pairs):
    ratios = [a / b if b == b and b > 0 else math.nan for a, b in pairs]
    inside, outside = [a for a, _ in pairs], [b for _, b in pairs]
    assert exposure_gaps(inside, outside).tolist() == pytest.approx(ratios, nan_ok=True)
    value, defined = invisibility(inside, outside)
    assert defined == sum(ratio == ratio for ratio in ratios)
    if ratios and defined == len(ratios):
        assert value == pytest.approx(sum(ratios) / len(ratios))
    else:
        assert math.isnan(value)


def test_examples():
    failed, tried = doctest.testmod(exposure)
    assert failed == 0 < tried
