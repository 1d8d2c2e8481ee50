"""Bulyan against Flower's and a literal reading."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.defense import bulyan, gram_matrix
from recbole_attack.defense.bulyan import around_median, borne, select


def random_round(n: int, p: int, seed: int) -> torch.Tensor:
    updates = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    updates[: n // 5] += 6
    return updates


def ours(updates: torch.Tensor, ratio: float | None) -> torch.Tensor:
    n = len(updates)
    weights = select(gram_matrix(updates), torch.ones(n), torch.arange(n), ratio).weights
    return around_median(updates, weights, ratio)


@pytest.mark.parametrize("n", [7, 8, 9, 12])
def test_a_tie_goes_to_the_first_client_whatever_the_rounding_of_products(n: int) -> None:
    """The last are chosen by one neighbour: two that are each other's nearest tie, and products need not be symmetric
    to the last bit."""
    for seed in range(20):
        gram = gram_matrix(random_round(n, 5, seed))
        noise = 1 + 1e-15 * torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        noise.fill_diagonal_(1.0)
        expected = select(gram, torch.ones(n), torch.arange(n)).weights
        for rounded in (gram * noise, (gram * noise).T):
            assert torch.equal(select(rounded, torch.ones(n), torch.arange(n)).weights, expected)


def literal(updates: np.ndarray, f: int) -> np.ndarray:
    n, left, selected = len(updates), list(range(len(updates))), []
    while len(selected) < n - 2 * f:
        near = max(len(left) - f - 2, 1)
        scores = [sum(sorted(sum((updates[i] - updates[j]) ** 2) for j in left if j != i)[:near]) for i in left]
        selected.append(left.pop(int(np.argmin(scores))))
    found = []
    for values in updates[selected].T:
        middle = np.median(values)
        found.append(np.mean(sorted(values, key=lambda value: (abs(value - middle), value))[: n - 4 * f]))
    return np.array(found)


@settings(max_examples=40)
@given(n=st.integers(1, 16), p=st.integers(1, 6), seed=st.integers(0, 10**6), ratio=st.sampled_from([0.0, 0.1, None]))
def test_it_is_the_definition(n: int, p: int, seed: int, ratio: float | None) -> None:
    updates = random_round(n, p, seed)
    most = max((n - 3) // 4, 0)
    assert borne(n, ratio) == (most if ratio is None else min(int(ratio * n + 1e-9), most))
    assert np.allclose(ours(updates, ratio), literal(updates.numpy(), borne(n, ratio)), atol=1e-9)


@pytest.mark.parametrize("n", [7, 11, 15])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_flowers(n: int, seed: int) -> None:
    flower = pytest.importorskip("flwr.server.strategy.aggregate")
    updates = random_round(n, 6, seed)
    results = [([row.numpy()], 1) for row in updates]
    (theirs,) = flower.aggregate_bulyan(results, borne(n, None), flower.aggregate_krum, to_keep=0)
    assert np.allclose(ours(updates, None), theirs, atol=1e-9)


def test_rows_of_many_items_are_each_selected_by_themselves() -> None:
    rows = torch.randn(10, 11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = select(rows @ rows.mT, torch.ones(10, 11), torch.arange(11).expand(10, 11)).weights
    found = around_median(rows.transpose(0, 1), weights.T[..., None])
    for row, one in zip(rows, found, strict=True):
        assert torch.allclose(one, ours(row, None))


def test_the_order_of_clients_does_not_matter_with_enough_of_them() -> None:
    """The last one is chosen among 2 f + 1 by f - 1 neighbours: with f = 3, more than one, and no scores are equal."""
    updates = random_round(15, 5, 4)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours(updates[order], None), ours(updates, None))
    assert torch.allclose(ours(3 * updates[order] - 2, None), 3 * ours(updates, None) - 2)


@pytest.mark.parametrize("length", [10.0, 1e15, -1e15])
def test_a_hostile_quarter_does_not_move_it_far(length: float) -> None:
    updates = random_round(15, 5, 3)
    updates[:3] -= 6
    honest = updates[3:].abs().max()
    updates[:3] = length
    assert float(ours(updates, None).abs().max()) <= float(honest)


def test_the_documented_examples_hold() -> None:
    failed, tried = doctest.testmod(importlib.import_module(bulyan.__name__))
    assert (failed, tried > 0) == (0, True)
