"""Detectors against literal readings, planted groups of promoted items, and invariants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense import DETECTORS, Evidence
from recbole_attack.defense.detection import excess_tail, kmeans

USERS = 1000
LISTED = 200
"""Users whose lists are compared."""
CUTOFFS = 4


def honest(n_items, seed):
    """Two models that show an item as often as its popularity asks for, up to counting noise."""
    rng = np.random.default_rng(seed)
    popularity = np.floor(rng.lognormal(1, 1.5, n_items)).astype(int)
    rates = (1 + popularity)[:, None] * np.array([0.3, 0.6, 3, 6])
    pretrained, local = rng.poisson(rates).clip(max=USERS), rng.poisson(rates).clip(max=USERS)
    return Evidence(pretrained, local, popularity, USERS)


def promoted(evidence, targets, users):
    """The same evidence with ``users`` more users who are shown each target."""
    pretrained = evidence.pretrained.copy()
    pretrained[targets] += users
    return replace(evidence, pretrained=pretrained)


def whole(evidence, seed):
    """The same evidence with what the other detectors read: two models that differ by chance, and in a rotation."""
    rng, n_items = np.random.default_rng([seed, 1]), len(evidence.popularity)
    local = rng.normal(size=(n_items, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    rows = (local @ rotation + rng.normal(size=(n_items, 6)) / 10, local)
    needed = rng.normal(size=n_items) - np.log1p(evidence.popularity)
    pushes = tuple(needed + rng.normal(size=n_items) / 10 for _ in range(2))
    lists = tuple(_lists(evidence.popularity, rng) for _ in range(2))
    groups = rng.integers(0, 4, (LISTED, 2))
    return replace(evidence, rows=rows, pushes=pushes, lists=lists, groups=groups)


def _lists(popularity, rng):
    keys = np.log1p(popularity[1:]) + rng.gumbel(size=(LISTED, len(popularity) - 1))
    best = 1 + np.argsort(-keys, axis=1)[:, :10]
    return np.pad(best, ((0, 0), (0, 10 - best.shape[1])))


def backdoored(evidence, targets, users):
    """The same, if targets are pushed in every way there is, for the first ``users`` users."""
    given, local = (rows.copy() for rows in evidence.rows)
    given[targets] += users / 50
    pushes = evidence.pushes[0].copy()
    pushes[targets] -= users / 50
    lists = evidence.lists[0].copy()
    for place, item in enumerate(targets):
        lists[:users][~(lists == item).any(axis=1)[:users], place] = item
    changed = promoted(evidence, targets, users)
    return replace(changed, rows=(given, local), pushes=(pushes, evidence.pushes[1]), lists=(lists, evidence.lists[1]))


def rare_items(evidence, count, seed=0):
    """Some of the items the platform knows least."""
    return np.random.default_rng(seed).choice(np.flatnonzero(evidence.popularity[1:] <= 2) + 1, count, replace=False)


def permuted(evidence, order):
    counted = Evidence(evidence.pretrained[order], evidence.local[order], evidence.popularity[order], evidence.users)
    place = np.argsort(order)
    return replace(
        counted,
        rows=tuple(rows[order] for rows in evidence.rows),
        pushes=tuple(pushes[order] for pushes in evidence.pushes),
        lists=tuple(place[lists] for lists in evidence.lists),
        groups=evidence.groups,
    )


ALL = pytest.mark.parametrize("detect", DETECTORS.values(), ids=list(DETECTORS))
EXPOSED = pytest.mark.parametrize("detect", [kmeans, excess_tail])


@EXPOSED
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_group_is_found_whole_and_alone(detect, seed):
    evidence = honest(1001, seed)
    targets = rare_items(evidence, 8, seed)
    detection = detect(promoted(evidence, targets, 500), seed)
    assert sorted(np.flatnonzero(detection.flagged)) == sorted(targets)
    others = np.delete(np.arange(1001), targets)
    assert detection.scores[targets].min() > detection.scores[others].max()


@ALL
@pytest.mark.parametrize("seed", range(3))
def test_what_a_backdoor_changes_in_any_way_is_the_most_suspicious(detect, seed):
    evidence = whole(honest(301, seed), seed)
    targets = rare_items(evidence, 4, seed)
    detection = detect(backdoored(evidence, targets, 200), seed)
    assert set(np.argsort(-detection.scores)[:4]) == set(targets)
    assert detection.flagged[targets].all()


@ALL
def test_equal_models_are_not_suspicious(detect):
    evidence = whole(honest(301, 1), 1)
    parts = {name: (getattr(evidence, name)[0],) * 2 for name in ("rows", "pushes", "lists")}
    detection = detect(replace(evidence, local=evidence.pretrained, **parts), 0)
    assert not detection.flagged.any()
    assert (detection.scores[1:] == 0).all()


@ALL
@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_hardly_any_item(detect, n_items):
    evidence = Evidence(*np.full((2, n_items, CUTOFFS), 3), np.ones(n_items, dtype=int), USERS)
    equal = {"rows": (np.ones((n_items, 6)),) * 2, "pushes": (np.ones(n_items),) * 2}
    lists = (np.full((LISTED, 1), n_items - 1),) * 2
    detection = detect(replace(evidence, **equal, lists=lists, groups=np.ones((LISTED, 1), dtype=int)), 0)
    assert detection.scores.shape == detection.flagged.shape == (n_items,)
    assert not detection.flagged.any()


@ALL
def test_the_padding_item_never_counts(detect):
    evidence = backdoored(whole(honest(301, 2), 2), [7, 9], 400)
    detection = detect(evidence, 0)
    loud = promoted(evidence, [0], 10**6)
    parts = {name: tuple(values.copy() for values in getattr(loud, name)) for name in ("rows", "pushes")}
    parts["rows"][0][0], parts["pushes"][0][0] = 10**6, -(10**6)
    loud = replace(loud, **parts)
    again = detect(replace(loud, popularity=np.r_[10**6, evidence.popularity[1:]]), 0)
    assert again.scores.tolist() == detection.scores.tolist()
    assert again.scores[0] == -math.inf and not again.flagged[0]


@ALL
@given(seed=st.integers(0, 99), users=st.integers(0, 60))
def test_flags_are_the_most_suspicious_items(detect, seed, users):
    evidence = whole(honest(201, seed), seed)
    detection = detect(backdoored(evidence, rare_items(evidence, 3), users), seed)
    flagged, rest = detection.scores[detection.flagged], detection.scores[~detection.flagged]
    assert np.isfinite(detection.scores[1:]).all()
    assert not len(flagged) or flagged.min() > rest.max()


@ALL
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_items_does_not_matter(detect, seed):
    evidence = whole(honest(401, seed), seed)
    evidence = backdoored(evidence, rare_items(evidence, 5), 300)
    order = np.r_[0, 1 + np.random.default_rng(seed).permutation(400)]
    detection, other = detect(evidence, 0), detect(permuted(evidence, order), 0)
    assert other.flagged.tolist() == detection.flagged[order].tolist()
    assert other.scores[1:] == pytest.approx(detection.scores[order][1:])


# k-means


def lloyd(points):
    """Least squared distance to two centres that moving them by turns arrives at, from every pair of points."""
    best = math.inf
    for i in range(len(points)):
        for j in range(i):
            centres = points[[i, j]]
            for _ in range(50):
                nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
                if len(set(nearest)) == 2:
                    centres = np.array([points[nearest == c].mean(0) for c in (0, 1)])
            best = min(best, ((points[:, None] - centres) ** 2).sum(-1).min(1).sum())
    return best


def clusters(evidence, seed):
    """Differences, scores, and the two parts of the differences: flagged and not."""
    detection = kmeans(evidence, seed)
    points, flagged = ((evidence.pretrained - evidence.local) / USERS)[1:], detection.flagged[1:]
    assert flagged.any() and not flagged.all()
    return points, detection.scores[1:], points[flagged], points[~flagged]


def noise(seed, shift=0):
    """A few items with any counts, the last three shown to ``shift`` more users by the pre-trained model."""
    rng = np.random.default_rng(seed)
    pretrained, local = rng.integers(0, 300, (2, rng.integers(6, 12), CUTOFFS))
    pretrained[-3:] += shift
    return Evidence(pretrained, local, np.zeros(len(local), dtype=int), USERS)


@pytest.mark.parametrize("seed", range(30))
def test_clusters_are_those_of_a_literal_k_means(seed):
    points, _, gained, lost = clusters(noise(seed, shift=300), seed)
    spread = sum(((part - part.mean(0)) ** 2).sum() for part in (gained, lost))
    assert spread == pytest.approx(lloyd(points))


@pytest.mark.parametrize("seed", range(30))
def test_an_items_score_says_which_centre_is_nearer(seed):
    points, scores, *parts = clusters(noise(seed), seed)
    gained, lost = (part.mean(0) for part in parts)
    assert gained.mean() > lost.mean()
    for point, score in zip(points, scores, strict=True):
        nearer = math.dist(point, lost) ** 2 - math.dist(point, gained) ** 2
        assert score == pytest.approx(nearer / 2 / math.dist(gained, lost), abs=1e-9)


def test_the_cluster_that_gained_is_flagged_even_if_it_is_most_of_the_catalogue():
    """The local model shows two items to everybody, the pre-trained one does not."""
    pretrained, local = np.full((2, 51, CUTOFFS), 10)
    local[[4, 5]] = USERS
    detection = kmeans(Evidence(pretrained, local, np.ones(51, dtype=int), USERS), 0)
    assert np.flatnonzero(~detection.flagged).tolist() == [0, 4, 5]


def test_features_are_not_standardised():
    """A small difference in short lists weighs less than a large one in long lists."""
    pretrained, local = np.zeros((2, 101, CUTOFFS), dtype=int)
    pretrained[1:6, 0], pretrained[50:60, 3] = 30, 600
    detection = kmeans(Evidence(pretrained, local, np.ones(101, dtype=int), USERS), 0)
    assert np.flatnonzero(detection.flagged).tolist() == list(range(50, 60))


# Excess in the tail


def percentile(values, share):
    """Linear between the ordered values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def excess_by_loops(evidence):
    """Item -> score and tail probability."""
    items = range(1, len(evidence.popularity))
    excess = {
        i: 2 * math.sqrt(evidence.pretrained[i, -1] + 0.375) - 2 * math.sqrt(evidence.local[i, -1] + 0.375)
        for i in items
    }
    count = min(max(len(items) // 100, 1), 10)
    classes = {}
    for i in items:
        less = sum(evidence.popularity[j] < evidence.popularity[i] for j in items)
        same = sum(evidence.popularity[j] == evidence.popularity[i] for j in items)
        classes.setdefault(int((less + same / 2) / len(items) * count), []).append(i)
    result = {}
    for members in classes.values():
        median = percentile([excess[i] for i in members], 0.5)
        high = percentile([excess[i] for i in members], 0.95)
        scale = max(high - median, 1.645 * math.sqrt(2)) / math.log(10)
        for i in members:
            score = (excess[i] - median) / scale
            result[i] = score, min(math.exp(-score) / 2, 1)
    return result


@pytest.mark.parametrize(("n_items", "rate"), [(40, 0.05), (350, 0.05), (350, 0.4), (1200, 0.01)])
def test_scores_and_flags_by_loops(n_items, rate):
    evidence = honest(n_items, n_items)
    count = max(n_items // 40, 6)
    evidence = promoted(evidence, rare_items(evidence, count), 4 * np.arange(1, count + 1)[:, None])
    detection, expected = excess_tail(evidence, 0, rate), excess_by_loops(evidence)
    ordered = sorted(expected, key=lambda item: expected[item][1])
    last = max((r for r, i in enumerate(ordered, 1) if expected[i][1] <= rate * r / len(ordered)), default=0)
    assert np.flatnonzero(detection.flagged).tolist() == sorted(ordered[:last])
    assert detection.scores[1:] == pytest.approx([expected[item][0] for item in range(1, n_items)], abs=1e-9)
    assert 0 < last < count or n_items < 1000


def test_honest_models_are_rarely_accused():
    accused = [excess_tail(honest(1001, seed), 0).flagged.sum() for seed in range(60)]
    assert np.mean(np.array(accused) > 0) <= 0.1
    assert np.mean(accused) <= 0.2


def test_what_is_common_among_popular_items_is_suspicious_of_a_rare_one():
    rng = np.random.default_rng(0)
    popularity = np.repeat([1, 100], 200)
    excess = np.where(popularity == 100, rng.integers(0, 200, 400), rng.integers(0, 4, 400))
    local = np.full((401, CUTOFFS), 5)
    evidence = Evidence(local + np.r_[0, excess][:, None], local, np.r_[0, popularity], USERS)
    evidence = promoted(evidence, [7], 90)
    assert np.flatnonzero(excess_tail(evidence, 0).flagged).tolist() == [7]
    blind = replace(evidence, popularity=np.ones(401, dtype=int))
    assert not excess_tail(blind, 0).flagged.any()


def test_what_the_local_model_shows_too_is_not_suspicious():
    evidence = promoted(honest(1001, 3), [7], 300)
    assert excess_tail(evidence, 0).flagged[7]
    local = evidence.local.copy()
    local[7] = evidence.pretrained[7]
    assert not excess_tail(replace(evidence, local=local), 0).flagged.any()


@given(st.integers(0, 99), st.integers(1, 400), st.integers(1, 400))
def test_more_exposure_is_more_suspicious(seed, users, more):
    evidence = honest(301, seed)
    less, greater = (excess_tail(promoted(evidence, [5], n), 0).scores[5] for n in (users, users + more))
    assert greater > less or greater == less == 0, "0 is what is shown no more than by chance"
