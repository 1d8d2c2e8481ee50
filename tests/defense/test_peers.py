"""Rules against independent libraries."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from recbole_attack.defense import gram_matrix
from recbole_attack.defense.coordinates import median, trimmed_mean
from recbole_attack.defense.gram import squared_distances
from recbole_attack.defense.rfa import geometric_median
from recbole_attack.defense.weighting import assumed_hostile, krum

SHAPES = [(n, p, seed) for n in (5, 8, 21) for p in (2, 30) for seed in (0, 1)]


@pytest.fixture(scope="module")
def geom_median() -> Any:
    return importlib.import_module("geom_median.torch")


def random_round(n: int, p: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, p, generator=generator, dtype=torch.float64)
    updates[: n // 4] += 20
    return updates, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal in float32, which byzfl computes in whatever it is given."""
    return torch.allclose(ours.float(), theirs.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("iterations", [1, 4, 20])
def test_geometric_median_is_geom_medians_step_by_step(geom_median: Any, shape: Any, iterations: int) -> None:
    updates, weights = random_round(*shape)
    theirs = geom_median.compute_geometric_median(list(updates), weights, eps=1e-9, maxiter=iterations, ftol=-1.0)
    ours = geometric_median(gram_matrix(updates), weights, iterations, 0.0, 1e-9, "mean")
    assert torch.allclose(ours.client_weights @ updates, theirs.median, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_geometric_median_ends_where_geom_median_ends(geom_median: Any, shape: Any) -> None:
    updates, weights = random_round(*shape)
    theirs = geom_median.compute_geometric_median(list(updates), weights, maxiter=2000).median
    ours = geometric_median(gram_matrix(updates), weights, 2000, 1e-7).client_weights @ updates
    assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_client_that_is_the_median_is_where_geom_median_ends(geom_median: Any, shape: Any) -> None:
    """It comes near the client step by step."""
    updates, weights = random_round(*shape)
    updates[-1], weights[-1] = updates[:-1].mean(dim=0), 0.8 * float(weights[:-1].sum())
    theirs = geom_median.compute_geometric_median(list(updates), weights, eps=1e-9, maxiter=200, ftol=-1.0).median
    ours = geometric_median(gram_matrix(updates), weights)
    assert ours.iterations == 1 and torch.allclose(ours.client_weights @ updates, theirs, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_clients_together_that_are_the_median_are_where_byzfl_ends(byzfl: Any, shape: Any) -> None:
    updates, _ = random_round(*shape)
    together = updates.mean(dim=0).expand(int(0.8 * len(updates)), -1)
    everyone = torch.cat([updates, together])
    theirs = byzfl.GeometricMedian(nu=1e-6, T=200)(everyone.float()).double()
    ours = geometric_median(gram_matrix(everyone), torch.ones(len(everyone)))
    assert ours.iterations == 1 and torch.allclose(ours.client_weights @ everyone, theirs, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_geometric_median_ends_where_byzfl_ends(byzfl: Any, shape: Any) -> None:
    updates, _ = random_round(*shape)
    theirs = byzfl.GeometricMedian(nu=1e-6, T=2000)(updates).double()
    ours = geometric_median(gram_matrix(updates), torch.ones(len(updates)), 2000, 1e-7).client_weights @ updates
    assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_median_and_trimmed_mean_are_byzfls(byzfl: Any, shape: Any) -> None:
    updates, weights = random_round(*shape)
    n = len(updates)
    assert n % 2 == 0 or same(median(updates, weights), byzfl.Median()(updates))
    for cut in range(1, (n - 1) // 2):
        assert same(trimmed_mean(updates, weights, cut / n), byzfl.TrMean(f=cut)(updates))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_krum_is_byzfls_up_to_its_count_of_neighbours(byzfl: Any, shape: Any) -> None:
    """byzfl sums over N - f - 1 neighbours: its Krum for f + 1 is the paper's for f."""
    updates, weights = random_round(*shape)
    gram, n = gram_matrix(updates), len(updates)
    f = assumed_hostile(n, None)
    ours = krum(gram, weights).client_weights @ updates
    theirs = byzfl.Krum(f=f + 1)(updates)
    assert same(ours, theirs)
    other = byzfl.Krum(f=f)(updates)
    nearest = squared_distances(gram).sort(dim=1).values[:, 1 : n - f].sum(dim=1)
    assert same(other, updates[nearest.argmin()])
