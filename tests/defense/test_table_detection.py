"""Spectral signature and margin against literal readings, another toolbox's formula, and invariances."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from recbole_attack.defense import Evidence
from recbole_attack.defense.table_detection import margin, spectral


def tables(seed, n_items=160, size=5, targets=(), strength=0.0):
    """A local table and one that differs by a rotation, a factor, a shift, noise, and a push of some items."""
    rng = np.random.default_rng(seed)
    local = rng.normal(size=(n_items, size))
    noise = rng.normal(size=local.shape) / 5
    push = rng.normal(size=size)
    noise[list(targets)] += strength * push / np.linalg.norm(push)
    given_rows = 3 * (local + noise) @ np.linalg.qr(rng.normal(size=(size, size)))[0] + rng.normal(size=size)
    popularity = rng.permutation(n_items)
    popularity[list(targets)] = 0
    return seen(popularity, rows=(given_rows, local))


def seen(popularity, **parts):
    counts = np.zeros((len(popularity), 1), dtype=int)
    return Evidence(counts, counts, np.asarray(popularity), 10, **parts)


# Spectral signature


def classes_of(popularity):
    """Item -> class, as in the other detectors: equal parts of the ranking, ties in one."""
    count = min(max(len(popularity) // 100, 1), 10)
    place = [(sum(q < p for q in popularity) + sum(q == p for q in popularity) / 2) for p in popularity]
    return [int(of / len(popularity) * count) for of in place]


def signature_by_loops(evidence, share):
    """SciPy's Procrustes, residuals centred by loops, the singular vector by power iteration."""
    given_rows, local = (np.array(rows[1:]) for rows in evidence.rows)
    popularity = evidence.popularity[1:].tolist()
    wanted = max(math.ceil(share * len(local)), min(local.shape))
    least = sorted(popularity, reverse=True)[wanted - 1]
    head = [item for item, of in enumerate(popularity) if of >= least]
    for rows in (given_rows, local):
        rows -= sum(rows[item] for item in head) / len(head)
        rows /= math.sqrt(sum((rows[item] ** 2).sum() for item in head) / len(head))
    rotation, _ = orthogonal_procrustes(given_rows[head], local[head])
    residuals = given_rows @ rotation - local
    of_class = classes_of(popularity)
    for c in set(of_class):
        members = [item for item, own in enumerate(of_class) if own == c]
        residuals[members] -= sum(residuals[item] for item in members) / len(members)
    vector = np.ones(residuals.shape[1])
    for _ in range(20_000):
        vector = residuals.T @ (residuals @ vector)
        vector /= math.sqrt(vector @ vector)
    return residuals, np.array([(row @ vector) ** 2 for row in residuals])


def toolbox_scores(representations):
    """The Adversarial Robustness Toolbox's formula for one class, from its description."""
    centred = representations - representations.mean(axis=0)
    top = np.linalg.svd(centred, full_matrices=False)[2][:1]
    return ((centred @ top.T) ** 2)[:, 0]


@pytest.mark.parametrize(("n_items", "share"), [(40, 0.2), (90, 1.0), (350, 0.1)])
def test_scores_are_those_of_a_literal_reading(n_items, share):
    evidence = tables(n_items, n_items, targets=[3, 4], strength=2.0)
    found = spectral(evidence, 0, share, 0.05)
    _, expected = signature_by_loops(evidence, share)
    assert found.scores[1:] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("promoted", [0.01, 0.05, 0.3])
def test_of_one_class_scores_and_flags_are_the_toolboxs(promoted):
    """Fewer than 200 items are one class; flagged is what is not below the quantile."""
    evidence = tables(7, 120, targets=[3, 4, 5], strength=2.0)
    found = spectral(evidence, 0, 0.2, promoted)
    residuals, _ = signature_by_loops(evidence, 0.2)
    expected = toolbox_scores(residuals)
    assert found.scores[1:] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    kept = expected < np.quantile(expected, max(1 - 1.5 * promoted, 0))
    assert found.flagged[1:].tolist() == (~kept).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_promoted_items_are_found_whatever_the_provider_started_from(seed):
    targets = [5, 50, 150, 155]
    found = spectral(tables(seed, 401, targets=targets, strength=3.0), 0, 0.2, 0.01)
    assert set(np.argsort(-found.scores)[:4]) == set(targets)
    assert found.flagged[targets].all() and found.flagged.sum() == 6, "1.5 times what is expected"


@given(st.integers(0, 50), st.floats(0.01, 100), st.integers(0, 3))
def test_a_rotation_a_factor_a_shift_and_zeros_at_the_end_do_not_matter(seed, factor, more):
    evidence = tables(seed, 60, targets=[9], strength=1.0)
    rng = np.random.default_rng(seed)
    given_rows, local = evidence.rows
    turned = factor * given_rows @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + rng.normal(size=5)
    padded = np.pad(turned, ((0, 0), (0, more)))
    expected = spectral(evidence, 0).scores[1:]
    for rows in ((turned, local), (padded, local)):
        assert spectral(replace(evidence, rows=rows), 0).scores[1:] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_items_the_model_lacks_are_not_looked_at():
    evidence = tables(3, 60, targets=[9], strength=2.0)
    given_rows, local = (rows.copy() for rows in evidence.rows)
    given_rows[[4, 40]] = np.nan
    found = spectral(replace(evidence, rows=(given_rows, local)), 0)
    kept = np.delete(np.arange(60), [4, 40])
    alone = spectral(seen(evidence.popularity[kept], rows=(given_rows[kept], local[kept])), 0)
    assert found.scores[kept] == pytest.approx(alone.scores)
    assert (found.scores[[4, 40]] == 0).all() and not found.flagged[[4, 40]].any()


def test_without_embeddings_or_with_endless_ones_nothing_is_said():
    evidence = tables(1, 20)
    assert spectral(replace(evidence, rows=None), 0) is None
    assert spectral(replace(evidence, rows=(np.zeros((20, 5000)),) * 2), 0) is None


# Margin


def standing(values):
    """Exact fractions: how far values are from the median, in robust standard deviations, if there are any."""
    middle = median(values)
    spread = Fraction("1.4826") * median([abs(value - middle) for value in values])
    assume(spread == 0 or spread > max(map(abs, values)) / 10**6)
    return [(value - middle) / (spread or 1) for value in values]


def line_residuals(x, y):
    """Exact: of ``y`` from the least squares line on ``x``."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / (spread or 1)
    found = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    assume(not any(0 < abs(of) <= max(map(abs, y)) / 10**6 for of in found))
    return found


numbers = st.integers(-200, 200).map(lambda n: Fraction(n, 8)) | st.sampled_from([Fraction(0), Fraction(1)])


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_margins_are_those_of_an_exact_reading(pairs):
    given_pushes, local = (list(of) for of in zip(*pairs, strict=True))
    expected = standing([-of for of in line_residuals(standing(local), standing(given_pushes))])
    pushes = tuple(np.array([math.nan, *map(float, of)]) for of in (given_pushes, local))
    found = margin(seen(range(len(pairs) + 1), pushes=pushes), 0, 2.0)
    assert found.scores[1:] == pytest.approx([float(of) for of in expected], rel=1e-6, abs=1e-6)
    assert found.flagged[1:].tolist() == (found.scores[1:] > 2.0).tolist()


@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-10, 10))
def test_the_scale_of_states_does_not_matter(seed, factor, shift):
    rng = np.random.default_rng(seed)
    given_pushes, local = rng.normal(size=(2, 50))
    first = margin(seen(range(50), pushes=(given_pushes, local)), 0)
    other = margin(seen(range(50), pushes=(factor * given_pushes + shift, local)), 0)
    assert other.scores[1:] == pytest.approx(first.scores[1:], rel=1e-6, abs=1e-6)


def test_what_is_near_in_the_local_model_too_is_not_suspicious():
    rng = np.random.default_rng(0)
    local = rng.normal(size=200)
    local[[3, 4]] -= 9
    given_pushes = local + rng.normal(size=200) / 10
    given_pushes[7] -= 9
    found = margin(seen(range(200), pushes=(given_pushes, local)), 0)
    assert found.scores.argmax() == 7 and found.flagged[7] and not found.flagged[[3, 4]].any()


def test_items_of_which_nothing_can_be_said_are_the_least_suspicious():
    rng = np.random.default_rng(1)
    pushes = rng.normal(size=(2, 30))
    pushes[0, [4, 5]] = np.nan
    found = margin(seen(range(30), pushes=tuple(pushes)), 0)
    kept = np.delete(np.arange(30), [4, 5])
    alone = margin(seen(range(28), pushes=tuple(pushes[:, kept])), 0)
    assert found.scores[kept] == pytest.approx(alone.scores)
    assert (found.scores[[4, 5]] == alone.scores[1:].min()).all()
    assert margin(seen(range(30)), 0) is None
    nothing = margin(seen(range(30), pushes=(np.full(30, np.nan), pushes[1])), 0)
    assert (nothing.scores[1:] == 0).all() and not nothing.flagged.any()
