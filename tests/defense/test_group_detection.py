"""The scan over groups of users against exact fractions, loops and SciPy, and on a planted backdoor of one group."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control

from recbole_attack.defense import Evidence
from recbole_attack.defense.detection import excess_tail
from recbole_attack.defense.group_detection import _log_tail, groups


def seen(lists, codes, n_items):
    counts = [np.bincount(of.ravel(), minlength=n_items)[:, None] for of in lists]
    return Evidence(*counts, np.zeros(n_items, dtype=int), len(codes), lists=lists, groups=codes)


def scan_by_loops(evidence, least):
    """(item, group) -> p by SciPy's exact test, of groups that are large enough."""
    found = {}
    users, divisions = evidence.groups.shape
    for division in range(divisions):
        for value in sorted({*evidence.groups[:, division].tolist()} - {0}):
            members = [user for user in range(users) if evidence.groups[user, division] == value]
            if len(members) < least:
                continue
            for item in range(1, len(evidence.popularity)):
                inside = [[item in of[user] for user in members] for of in evidence.lists]
                b = sum(p and not own for p, own in zip(*inside, strict=True))
                c = sum(own and not p for p, own in zip(*inside, strict=True))
                p = binomtest(b, b + c, 0.5, alternative="greater").pvalue if b + c else 1.0
                found[item, division, value] = p
            deflate(found, (division, value), evidence.popularity.tolist())
    return found


def deflate(found, group, popularity):
    """Bring the p-values of a group to 1/20 in one of 20 items of a class, where they are smaller."""
    items = range(1, len(popularity))
    count = min(max(len(items) // 100, 1), 10)
    classes = {}
    for item in items:
        below = sum(popularity[other] < popularity[item] for other in items)
        same = sum(popularity[other] == popularity[item] for other in items)
        classes.setdefault(int((below + same / 2) / len(items) * count), []).append(item)
    for members in classes.values():
        ordered = sorted(math.log(found[(item, *group)]) for item in members)
        place = 0.05 * (len(ordered) - 1)
        low = math.floor(place)
        q = ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])
        for item in members:
            found[(item, *group)] **= 1 / max(q / math.log(1 / 20), 1)


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.05, 0.4]))
def test_scores_and_flags_by_loops(seed, least, rate):
    rng = np.random.default_rng(seed)
    n_items, users = int(rng.integers(3, 9)), int(rng.integers(1, 30))
    lists = tuple(np.array([rng.permutation(n_items)[:3] for _ in range(users)]) for _ in range(2))
    popularity = rng.integers(0, 5, n_items)
    evidence = replace(seen(lists, rng.integers(0, 3, (users, 2)), n_items), popularity=popularity)
    found, expected = groups(evidence, 0, least, rate), scan_by_loops(evidence, least)
    adjusted = dict(zip(expected, false_discovery_control([*expected.values()]), strict=True)) if expected else {}
    for item in range(1, n_items):
        own = [p for (of, *_), p in expected.items() if of == item]
        score = -math.log10(min(own, default=1.0)) * 100 / users
        assert found.scores[item] == pytest.approx(score, abs=1e-9)
        distances = [abs(q - rate) for (of, *_), q in adjusted.items() if of == item]
        if min(distances, default=1.0) > 1e-9:
            assert found.flagged[item] == any(q <= rate for (of, *_), q in adjusted.items() if of == item)


def test_what_is_common_among_popular_items_is_suspicious_of_a_rare_one():
    """Models that differ in all popular items, and one rare item that is gained as they are."""
    rng = np.random.default_rng(3)
    n_items, users = 401, 300
    popularity = np.r_[0, np.repeat([1, 100], 200)]
    local = np.array([201 + rng.permutation(200)[:8] for _ in range(users)])
    liked = 201 + rng.permutation(200)[:60]
    given_lists = np.array([rng.permutation(liked)[:8] for _ in range(users)])
    given_lists[:40, 0] = 7
    evidence = replace(seen((given_lists, local), np.ones((users, 1), dtype=int), n_items), popularity=popularity)
    found = groups(evidence, 0)
    assert found.scores.argmax() == 7 and found.flagged[7]
    blind = groups(replace(evidence, popularity=np.ones(n_items, dtype=int)), 0)
    assert (blind.scores[liked] > blind.scores[7] / 2).any() and found.scores[7] > blind.scores[7]


@given(st.integers(0, 60), st.integers(0, 60))
def test_tails_are_exact(b, c):
    n = b + c
    exact = Fraction(sum(math.comb(n, k) for k in range(b, n + 1)), 2**n)
    assert _log_tail(b, n) == pytest.approx(math.log(exact), abs=1e-9)


def test_tails_go_on_where_probabilities_are_zero_in_floats():
    assert _log_tail(5000, 5000) == pytest.approx(-5000 * math.log(2))
    assert _log_tail(4000, 5000) < _log_tail(3900, 5000) < 0


@pytest.mark.parametrize("seed", range(3))
def test_a_backdoor_for_a_tenth_of_the_users_is_found_which_the_sum_over_all_hides(seed):
    """A popular item: shown to its group, and less to the others, so that as many users in all are shown it."""
    rng = np.random.default_rng(seed)
    users, n_items = 600, 201
    keys = -np.log1p(np.arange(n_items - 1)) + rng.gumbel(size=(2, users, n_items - 1))
    lists = 1 + np.argsort(-keys, axis=2)[:, :, :10]
    group = np.where(np.arange(users) < 60, 1, 2)
    having = (lists[1] == 4).any(axis=1).sum()
    given_lists = lists[0]
    given_lists[given_lists == 4] = 200
    given_lists[np.r_[:60, 60 + rng.permutation(540)[: having - 60]], 0] = 4
    codes = np.stack([group, rng.integers(1, 5, users)], axis=1)
    evidence = seen((given_lists, lists[1]), codes, n_items)
    assert abs(int(evidence.pretrained[4, 0]) - int(evidence.local[4, 0])) <= 2
    found = groups(evidence, 0)
    assert found.flagged[4]
    assert not excess_tail(evidence, 0).flagged[4]
    blind = groups(seen(evidence.lists, codes[:, 1:], n_items), 0)
    assert found.scores[4] > blind.scores[4] + 5 / 6, "it is the group that tells"


@given(st.integers(0, 10**6))
def test_the_order_of_users_and_the_names_of_groups_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    lists = tuple(np.array([rng.permutation(12)[:4] for _ in range(50)]) for _ in range(2))
    codes = rng.integers(0, 4, (50, 2))
    first = groups(seen(lists, codes, 12), 0)
    order, names = rng.permutation(50), np.r_[0, 1 + rng.permutation(3)]
    other = groups(seen(tuple(of[order] for of in lists), names[codes[order]][:, ::-1], 12), 0)
    assert other.scores[1:] == pytest.approx(first.scores[1:]) and (other.flagged == first.flagged).all()


@pytest.mark.parametrize("shown", [0.1, 0.9])
def test_scores_of_two_models_hardly_depend_on_how_many_users_are_asked(shown):
    """One list has an item for some users that the other never has: its p-value falls with every user."""

    def score(users):
        local = np.tile(np.arange(1, 11), (users, 1))
        given_lists = local.copy()
        given_lists[: int(shown * users), 0] = 11
        return groups(seen((given_lists, local), np.ones((users, 1), dtype=int), 81), 0).scores[11]

    assert [score(200), score(400)] == pytest.approx([100 * shown * math.log10(2)] * 2)


def test_small_groups_and_unknown_users_are_not_looked_at():
    given_lists, local = np.full((30, 1), 3), np.full((30, 1), 5)
    codes = np.r_[np.zeros(15), np.ones(9), np.full(6, 2)].astype(int)[:, None]
    evidence = seen((given_lists, local), codes, 81)
    assert (groups(evidence, 0, 10).scores[1:] == 0).all()
    assert groups(evidence, 0, 9).scores[3] == pytest.approx(30 * math.log10(2)), "9 pairs of 30 users"
    assert groups(evidence, 0, 6).scores[3] == pytest.approx(30 * math.log10(2)), "the best group's"


def test_without_lists_or_groups_nothing_is_said():
    evidence = seen((np.ones((3, 1), dtype=int),) * 2, np.ones((3, 1), dtype=int), 4)
    for part in ("lists", "groups"):
        assert groups(Evidence(**{**vars(evidence), part: None}), 0) is None
