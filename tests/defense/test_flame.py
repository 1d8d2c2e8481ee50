"""FLAME against scikit-learn's clusters of the updates themselves, and a loop."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN

from recbole_attack.defense import gram_matrix
from recbole_attack.defense.flame import flame


def random_round(n: int, p: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates = 1 + torch.randn(n, p, generator=generator, dtype=torch.float64)
    updates[: n // 4] = -3 + torch.rand(p, generator=generator, dtype=torch.float64)
    return updates, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def literal(updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    n = len(updates)
    kept = np.ones(n, dtype=bool)
    if n > 2:
        options = {"min_samples": 1, "allow_single_cluster": True, "metric": "cosine", "copy": True}
        labels = HDBSCAN(min_cluster_size=n // 2 + 1, **options).fit_predict(updates)
        assert len(set(labels) - {-1}) <= 1
        kept = labels >= 0 if (labels >= 0).any() else kept
    lengths = [np.linalg.norm(update) for update in updates]
    bound = np.median(lengths)
    total = np.zeros(updates.shape[1])
    for c in range(n):
        if kept[c]:
            total += weights[c] * min(1, bound / lengths[c]) * updates[c]
    return total / sum(weights[kept])


@settings(max_examples=50)
@given(n=st.integers(1, 30), p=st.integers(3, 20), seed=st.integers(0, 10**6))
def test_it_is_the_definition(n: int, p: int, seed: int) -> None:
    updates, weights = random_round(n, p, seed)
    ours = flame(gram_matrix(updates), weights).client_weights @ updates
    assert np.allclose(ours, literal(updates.numpy(), weights.numpy()), atol=1e-9)


@pytest.mark.parametrize("n", [8, 21, 64])
@pytest.mark.parametrize("length", [1.0, 1e6])
def test_clients_that_point_elsewhere_together_are_out(n: int, length: float) -> None:
    updates, weights = random_round(n, 30, n)
    updates[: n // 4] *= length
    found = flame(gram_matrix(updates), weights).client_weights
    assert not found[: n // 4].any() and float(found.sum()) > 0.5


def test_an_update_of_zeros_is_a_client_as_others() -> None:
    updates, weights = random_round(9, 4, 0)
    updates[[2, 5]] = 0.0
    assert flame(gram_matrix(updates), weights).client_weights.isfinite().all()
    assert torch.allclose(flame(torch.zeros(4, 4), torch.ones(4)).client_weights, torch.full((4,), 0.25).double())


def test_the_documented_example_holds() -> None:
    failed, tried = doctest.testmod(importlib.import_module("recbole_attack.defense.flame"))
    assert (failed, tried > 0) == (0, True)
