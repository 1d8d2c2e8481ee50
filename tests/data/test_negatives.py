"""Items outside a history, against set differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_attack.data import NonInteracted, UserSequences

N_ITEMS = 7
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=9), min_size=1, max_size=5).map(lambda h: [[], *h])
check = settings(derandomize=True, deadline=None)


def outside(histories, n_items=N_ITEMS):
    items = np.array([i for history in histories for i in history], dtype=np.int32)
    return NonInteracted(UserSequences(items, np.cumsum([0, *map(len, histories)]), n_items))


def complement(history, n_items=N_ITEMS):
    return sorted(set(range(1, n_items)) - set(history))


def drawable(history):
    """What a draw may give: a user who owns everything draws from all items."""
    return complement(history) or list(range(1, N_ITEMS))


@check
@given(HISTORIES)
def test_at_rank_enumerates_the_complement_in_order(histories):
    sampler = outside(histories)
    for user, history in enumerate(histories):
        expected = complement(history)
        assert sampler.counts[user] == len(expected)
        assert sampler.at_rank(np.array(user), np.arange(len(expected))).tolist() == expected


@check
@given(HISTORIES, st.integers(0, 1000))
def test_draws_lie_outside_the_history(histories, seed):
    users = np.arange(len(histories))[:, None].repeat(40, axis=1)
    drawn = outside(histories).sample(np.random.default_rng(seed), users)
    assert drawn.shape == users.shape
    for history, row in zip(histories, drawn.tolist(), strict=True):
        assert set(row) <= set(drawable(history))


@pytest.mark.parametrize("history", [[], [3], [1, 6, 2, 2], [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 6]])
def test_draws_are_uniform(history):
    drawn = outside([[], [5], history, [1]]).sample(np.random.default_rng(0), np.full(6000, 2))
    counts = np.bincount(drawn, minlength=N_ITEMS)
    expected = drawable(history)
    assert counts[expected].sum() == 6000
    if len(expected) > 1:
        assert chisquare(counts[expected]).pvalue > 0.001


@check
@given(HISTORIES, st.integers(0, 8), st.integers(0, 1000))
def test_distinct_draws_are_distinct_and_as_many_as_there_are(histories, size, seed):
    sampler = outside(histories)
    for user, history in enumerate(histories):
        drawn = sampler.sample_distinct(np.random.default_rng(seed), user, size).tolist()
        assert len(drawn) == len(set(drawn)) == min(size, len(complement(history)))
        assert set(drawn) <= set(complement(history))


def test_every_subset_is_as_likely():
    sampler = outside([[], [2, 5]])  # leaves 1, 3, 4, 6
    rng = np.random.default_rng(0)
    subsets = [tuple(sorted(sampler.sample_distinct(rng, 1, 2).tolist())) for _ in range(3000)]
    pairs = [(1, 3), (1, 4), (1, 6), (3, 4), (3, 6), (4, 6)]
    counts = [subsets.count(pair) for pair in pairs]
    assert sum(counts) == 3000
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_large_catalogues_and_narrow_ids(dtype):
    n_users, n_items = 50_000, 100_000
    histories = UserSequences(np.full(n_users - 1, 1, dtype=np.int32), np.arange(-1, n_users).clip(0), n_items)
    users = np.array([1, 25_000, n_users - 1], dtype=dtype)
    assert NonInteracted(histories).at_rank(users, np.array([0, 0, n_items - 3])).tolist() == [2, 2, n_items - 1]


@check
@given(HISTORIES, st.permutations(range(1, N_ITEMS)), st.integers(0, 12))
def test_items_in_order_are_those_of_the_order_that_are_not_owned(histories, order, place):
    users = np.arange(len(histories))
    found = outside(histories).in_order(np.array(order), users, np.full(len(users), place))
    for history, item in zip(histories, found.tolist(), strict=True):
        free = [candidate for candidate in order if candidate not in history] or order
        assert item == free[place % len(free)]
