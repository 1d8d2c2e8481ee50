"""Exposure measures against counts, target by target and user by user."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.evaluator.exposure import exposure_ratio, exposure_share, target_ndcg

DEPTH = 6


@st.composite
def rankings(draw):
    """Ranks (``DEPTH + 1`` when not listed), eligibility and a cut-off."""
    n_users, n_targets = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    ranks = draw(st.lists(st.integers(1, DEPTH + 1), min_size=n_users * n_targets, max_size=n_users * n_targets))
    eligible = draw(st.lists(st.booleans(), min_size=n_users * n_targets, max_size=n_users * n_targets))
    shape = n_users, n_targets
    return np.array(ranks).reshape(shape), np.array(eligible).reshape(shape), draw(st.integers(1, DEPTH))


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
    possible = min(1.0, k / ranks.shape[1])
    assert same(exposure_share(ranks, eligible, k), ratio / possible)


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
