"""DnC and CAF against the covariance itself, which the rules never see."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.defense import gram_matrix, spectral
from recbole_attack.defense.spectral import caf, dnc

cases = given(
    n=st.integers(1, 14), p=st.integers(2, 12), seed=st.integers(0, 10**6), ratio=st.sampled_from([0.0, 0.1, 0.3, None])
)


def random_round(n: int, p: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, p, generator=generator, dtype=torch.float64)
    updates[: n // 5] += 6
    return updates, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def hostile(n: int, ratio: float | None) -> int:
    most = -(-n // 2) - 1
    return most if ratio is None else min(int(ratio * n + 1e-9), most)


def literal_dnc(updates: np.ndarray, weights: np.ndarray, f: int, c: float) -> np.ndarray:
    centred = updates - updates.mean(axis=0)
    main = np.linalg.svd(centred)[2][0]
    scores = (centred @ main) ** 2
    kept = np.argsort(scores, kind="stable")[: len(updates) - min(int(c * f), len(updates) - 1)]
    return np.average(updates[kept], axis=0, weights=weights[kept])


def literal_caf(updates: np.ndarray, f: int) -> np.ndarray:
    """Around the covariance of coordinates, ``P x P``."""
    n, c, best, smallest = len(updates), np.ones(len(updates)), updates.mean(axis=0), np.inf
    while c.sum() > n - 2 * f:
        mean = np.average(updates, axis=0, weights=c)
        covariance = np.cov(updates.T, aweights=c, ddof=0)
        values, vectors = np.linalg.eigh(covariance)
        if values[-1] < smallest:
            smallest, best = values[-1], mean
        squared = ((updates - mean) @ vectors[:, -1]) ** 2
        c = c * np.maximum(1 - squared / squared[c > 0].max(), 0)
    return best


@settings(max_examples=60)
@cases
def test_dnc_is_the_singular_vector_of_the_updates(n: int, p: int, seed: int, ratio: float | None) -> None:
    updates, weights = random_round(n, p, seed)
    for c in (0.5, 1.0, 1.5):
        ours = dnc(gram_matrix(updates), weights, ratio, c).client_weights @ updates
        expected = literal_dnc(updates.numpy(), weights.numpy(), hostile(n, ratio), c)
        assert np.allclose(ours, expected, atol=1e-6)


@settings(max_examples=60)
@cases
def test_caf_is_the_loop_over_the_covariance(n: int, p: int, seed: int, ratio: float | None) -> None:
    updates, weights = random_round(n, p, seed)
    ours = caf(gram_matrix(updates), weights, ratio).client_weights @ updates
    assert np.allclose(ours, literal_caf(updates.numpy(), hostile(n, ratio)), atol=1e-5)


@pytest.mark.parametrize("rule", [dnc, caf])
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9))
def test_rounds_side_by_side_are_alone(rule: object, seed: int, n: int) -> None:
    assert callable(rule)
    several = [random_round(n, 4, seed + each) for each in range(5)]
    grams, weights = torch.stack([gram_matrix(u) for u, _ in several]), torch.stack([w for _, w in several])
    together = rule(grams, weights).client_weights
    for (updates, own), found in zip(several, together, strict=True):
        assert torch.allclose(found, rule(gram_matrix(updates), own).client_weights, atol=1e-9)


@pytest.mark.parametrize("rule", [dnc, caf])
@pytest.mark.parametrize("length", [10.0, 1e15])
def test_the_hostile_ones_are_out(rule: object, length: float) -> None:
    assert callable(rule)
    updates, weights = random_round(12, 5, 7)
    updates[:2] -= 6
    updates[[3, 8]] = length
    found = rule(gram_matrix(updates), weights, 0.2).client_weights
    assert float(found[[3, 8]].sum()) < 1e-9 and float(found.sum()) == pytest.approx(1)


@pytest.mark.parametrize("loud", [1e4, 1e8, 1e12, 1e16])
def test_how_loud_one_client_is_shelters_no_other(loud: float) -> None:
    """Once it has faded, what the others differ in is no rounding of its length."""
    generator = torch.Generator().manual_seed(0)
    updates = torch.randn(40, 6, generator=generator, dtype=torch.float64) / 4
    updates[:4, 1] += 20
    updates[9] = 0.0
    updates[9, 5] = loud  # along one axis: elsewhere, products with it would round the others' away
    found = caf(gram_matrix(updates), torch.ones(40), 0.2).client_weights
    assert float(found[:4].sum()) < 1e-6 and float(found[9]) < 1e-9
    rest = torch.tensor([client for client in range(40) if client not in (0, 1, 2, 3, 9)])
    assert (found[rest] > 0).float().mean() > 0.5


def test_the_documented_examples_hold() -> None:
    failed, tried = doctest.testmod(spectral)
    assert (failed, tried > 0) == (0, True)
