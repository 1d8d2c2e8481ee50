"""Centred clipping against byzfl's and a literal reading."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.defense import gram_matrix
from recbole_attack.defense.weighting import centered_clipping, norm_clipping


def random_round(n: int, p: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, p, generator=generator, dtype=torch.float64)
    updates[: n // 4] += 20
    return updates, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(n, p, seed) for n in (1, 5, 21) for p in (2, 30) for seed in (0, 1)], ids=str)
@pytest.mark.parametrize("bound", [0.5, 3.0, 100.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_it_is_byzfls_in_its_first_round(byzfl: Any, shape: Any, bound: float, steps: int) -> None:
    updates, _ = random_round(*shape)
    theirs = byzfl.CenteredClipping(L=steps, tau=bound)(updates)
    ours = centered_clipping(gram_matrix(updates), torch.ones(len(updates)), bound, steps).client_weights @ updates
    assert torch.allclose(ours.float(), theirs.float(), rtol=1e-4, atol=1e-5)


def literal(updates: np.ndarray, weights: np.ndarray, steps: int) -> np.ndarray:
    centre = np.zeros(updates.shape[1])
    for _ in range(steps):
        ways = updates - centre
        lengths = np.array([np.linalg.norm(way) for way in ways])
        bound = np.median(lengths)
        clipped = [way * min(1, bound / length) if length else way for way, length in zip(ways, lengths, strict=True)]
        centre = centre + np.average(clipped, axis=0, weights=weights)
    return centre


@settings(max_examples=40)
@given(n=st.integers(1, 12), p=st.integers(1, 6), seed=st.integers(0, 10**6), steps=st.integers(1, 5))
def test_by_default_the_bound_is_the_median_distance_of_each_step(n: int, p: int, seed: int, steps: int) -> None:
    updates, weights = random_round(n, p, seed)
    ours = centered_clipping(gram_matrix(updates), weights, None, steps).client_weights
    assert np.allclose(ours @ updates, literal(updates.numpy(), weights.numpy(), steps), atol=1e-5)
    assert (ours >= 0).all() and float(ours.sum()) <= 1 + 1e-9


def test_one_step_is_norm_clipping_and_many_steps_come_nearer_to_where_clients_are() -> None:
    updates, weights = random_round(20, 4, 0)
    updates[:5] -= 20
    updates += 5
    gram = gram_matrix(updates)
    once = centered_clipping(gram, weights, None, 1).client_weights
    assert torch.allclose(once, norm_clipping(gram, weights).client_weights)
    updates[:5] = -1e15
    gram = gram_matrix(updates)
    middle, errors = updates[5:].mean(dim=0), []
    for steps in (1, 3, 10):
        errors.append(float((centered_clipping(gram, weights, None, steps).client_weights @ updates - middle).norm()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 3
