"""Profiles of fake users: what is in them, against the papers' parts counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_attack.attack import LEVELS, PROFILES, Log
from recbole_attack.attack.profiles import Filler, WeightedFiller
from recbole_attack.data.sequences import from_pairs
from recbole_attack.utils.errors import DataError

PARAMETERS = {"popular_share": 0.5, "popular_items": 0.25, "category_field": None, "segment_items": 0.2}
HISTORIES = {1: [5, 6, 7, 8], 2: [5, 6, 7], 3: [5, 6, 9], 4: [5, 9, 2], 5: [2, 3, 5, 5], 6: [9, 10, 5], 7: [11]}


def log_of(targets, histories=HISTORIES, n_items=13, categories=None):
    users = np.repeat(list(histories), [len(items) for items in histories.values()])
    items = np.concatenate([*histories.values()])
    return Log(from_pairs(users, items, max(histories) + 1, n_items), np.array(targets), categories)


def profiles(name, log, lengths, seed=1, **changes):
    fakes = PROFILES[name]({**PARAMETERS, **changes}, log).sequences(np.array(lengths), log, seed)
    assert fakes.lengths.tolist() == [0, *lengths] and fakes.n_items == log.sequences.n_items
    return [fakes[user].tolist() for user in range(1, fakes.n_users)]


@pytest.mark.parametrize("name", PROFILES)
@given(
    targets=st.sets(st.integers(1, 12), min_size=1, max_size=5).filter(lambda found: 5 in found),
    lengths=st.lists(st.integers(2, 12), max_size=6),
    seed=st.integers(0, 9),
)
def test_a_profile_has_all_targets_that_fit_behind_its_first_item_and_no_item_twice(name, targets, lengths, seed):
    log = log_of(sorted(targets))
    for items, length in zip(profiles(name, log, lengths, seed), lengths, strict=True):
        assert len(set(items)) == length and set(items) <= set(range(1, 13))
        behind = targets & set(items[1:])
        assert len(behind) == min(len(targets), length - 1)
        if len(targets) < length <= 13 - len(targets):
            assert items[0] not in targets


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_depend_on_the_seed_and_on_the_user_and_on_no_other_profile(name):
    log = log_of([5])
    one, same, other = (profiles(name, log, [6] * 8, seed) for seed in (1, 1, 2))
    assert one == same != other and len({tuple(items) for items in one}) > 1
    assert profiles(name, log, [6] * 3) == one[:3]


def test_targets_stand_at_every_place_but_the_first():
    places = [items.index(5) for items in profiles("ra", log_of([5]), [5] * 400)]
    counts = np.bincount(places, minlength=5)
    assert counts[0] == 0 and chisquare(counts[1:]).pvalue > 0.001


def test_random_fillers_are_any_items_alike():
    items = np.concatenate(profiles("ra", log_of([5]), [5] * 600))
    counts = np.bincount(items, minlength=13)
    assert counts[5] == 600 and counts[0] == 0
    assert chisquare(np.delete(counts, [0, 5])).pvalue > 0.001


def test_popular_profiles_hold_the_most_popular_items_and_of_equal_ones_the_smaller_ids():
    """9, 6 and 2, 7 by 3, 3, 2 and 2 interactions; then 3, 8, 10, 11 by 1, then 1."""
    for length, most in ((3, {6, 9}), (5, {6, 9, 2, 7}), (9, {6, 9, 2, 7, 3, 8, 10, 11})):
        assert [set(items) for items in profiles("popular", log_of([5]), [length] * 3)] == [{5, *most}] * 3


def test_bandwagon_profiles_hold_popular_items_by_their_share():
    """Of 11 other items the 2 most popular are 6 and 9; half of 4 fillers, rounded up, come from them."""
    for items in profiles("bandwagon", log_of([5]), [5] * 40, popular_items=0.2):
        assert {6, 9} < set(items) and len(items) == 5
    few = profiles("bandwagon", log_of([5]), [3] * 300)  # half of two fillers is one of the two popular ones, or more
    assert all(set(items) & {6, 9} for items in few)
    others = np.bincount([i for items in few for i in items if i not in (5, 6, 9)], minlength=13)
    assert (np.delete(others, [0, 5, 6, 9]) > 0).all()


def test_average_profiles_hold_items_as_often_as_users_do():
    """One filler: in proportion to interactions, 3 for 6 and 9, 2 for 2 and 7, 1 for 3, 8, 10, 11; never 1, 4, 12."""
    fillers = [sum(items) - 5 for items in profiles("average", log_of([5]), [2] * 1400)]
    counts = np.bincount(fillers, minlength=13)
    expected = np.array([0, 0, 2, 1, 0, 0, 3, 2, 1, 3, 1, 1, 0])
    known = expected > 0
    assert counts[~known].sum() == 0
    assert chisquare(counts[known], 1400 * expected[known] / expected.sum()).pvalue > 0.001


def test_an_item_is_as_popular_with_average_profiles_as_it_has_users():
    """However often one of them had it."""
    log = log_of([5], {1: [2] * 200, 2: [3], 3: [3]})
    fillers = [sum(items) - 5 for items in profiles("average", log, [2] * 900)]
    assert chisquare([fillers.count(2), fillers.count(3)], [300, 600]).pvalue > 0.001


def test_weighted_draws_without_replacement_are_one_draw_after_the_other():
    """Pairs from odds 1, 2, 3: first a with odds_a / 6, then b with odds_b / (6 - odds_a)."""
    fill, rng = WeightedFiller(np.array([1, 2, 3]), np.array([1, 2, 3])), np.random.default_rng(3)
    pairs = [frozenset(fill(rng, 2).tolist()) for _ in range(3000)]
    expected = {frozenset((a, b)): a / 6 * b / (6 - a) + b / 6 * a / (6 - b) for a, b in ((1, 2), (1, 3), (2, 3))}
    found = [pairs.count(pair) for pair in expected]
    assert chisquare(found, [3000 * share for share in expected.values()]).pvalue > 0.001


def test_items_nobody_had_are_drawn_after_all_others():
    fill, rng = WeightedFiller(np.arange(1, 7), np.array([0, 1, 0, 9, 0, 2])), np.random.default_rng(0)
    drawn = [set(fill(rng, 4).tolist()) for _ in range(60)]
    assert all({2, 4, 6} < items for items in drawn) and set.union(*drawn) == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("targets", [[7], [2, 7], [9]])
def test_segments_are_the_items_with_the_highest_cosine(targets):
    log = log_of(targets)
    matrix = np.zeros((8, 13))
    for user, items in HISTORIES.items():
        matrix[user, items] = 1
    liked = matrix[:, targets].sum(axis=1)
    cosine = {}
    for item in range(1, 13):
        if item not in targets and matrix[:, item] @ liked > 0:
            cosine[item] = matrix[:, item] @ liked / np.linalg.norm(matrix[:, item]) / np.linalg.norm(liked)
    near = sorted(cosine, key=lambda item: (-round(cosine[item], 9), item))
    most = int(0.2 * (12 - len(targets)))
    length = len(targets) + most
    assert [set(items) for items in profiles("segment", log, [length] * 3)] == [{*targets, *near[:most]}] * 3
    longer = [set(items) - {*targets, *near[:most]} for items in profiles("segment", log, [length + 2] * 60)]
    assert all(len(items) == 2 for items in longer), "the whole segment, and random ones"
    assert set.union(*longer) == set(range(1, 13)) - {*targets, *near[:most]}


def test_a_segment_has_an_item_at_least():
    (items,) = {frozenset(items) for items in profiles("segment", log_of([7]), [2] * 9, segment_items=0.0)}
    assert len(items) == 2 and 7 in items


def test_segments_of_a_category_are_drawn_from_all_of_it():
    kinds = np.array([[0, 0], *[[1 + item % 3, 0] for item in range(1, 13)]])
    kinds[4, 1] = 3  # a second category, that of the targets 2 and 5
    log = log_of([2, 5], categories=kinds)
    drawn = [set(items) - {2, 5} for items in profiles("segment", log, [4] * 60)]
    assert all(len(items) == 2 for items in drawn) and set.union(*drawn) == {4, 8, 11}
    assert all({4, 8, 11} < set(items) for items in profiles("segment", log, [7] * 5))


def test_a_segment_without_items_is_refused():
    with pytest.raises(DataError, match="expected other items whose users have a target, found none"):
        PROFILES["segment"](PARAMETERS, log_of([12]))
    own = np.arange(13)
    with pytest.raises(DataError, match="expected other items with a 'genre' of a target, found none"):
        PROFILES["segment"]({**PARAMETERS, "category_field": "genre"}, log_of([5], categories=own))


def test_who_knows_what():
    log = log_of([5])
    levels = {name: PROFILES[name](PARAMETERS, log).level for name in PROFILES}
    assert levels == {"ra": "K0", "bandwagon": "K1", "popular": "K1", "average": "K1", "segment": "K2"}
    assert PROFILES["segment"](PARAMETERS, log).knowledge == (LEVELS["K2"],)
    assert PROFILES["segment"](PARAMETERS, log_of([5], categories=np.ones(13, dtype=int))).level is None


def test_a_share_is_rounded_up_as_a_fraction_is():
    """0.07 of 100 is 7, though the product of floats is above it."""
    preferred = np.arange(1, 701)
    for percent in range(101):
        filler = Filler(np.arange(1000, 3000), preferred, percent / 100, len(preferred))
        for length in (1, 3, 50, 100, 700):
            drawn = filler(np.random.default_rng(0), length)
            assert np.isin(drawn, preferred).sum() == -(-percent * length // 100), (percent, length)
