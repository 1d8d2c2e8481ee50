"""Rules on the Gram matrix, against loops over whole updates."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from recbole_attack.defense.gram import gram_matrix, squared_distances
from recbole_attack.defense.rfa import MEAN_WEIGHTS, STARTS, geometric_median, mixed
from recbole_attack.defense.weighting import (
    WeightingRule,
    assumed_hostile,
    krum,
    mean,
    multi_krum,
    norm_clipping,
    sum_,
)

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**31))
Shape = tuple[int, int, int]


def random_round(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    n, p, seed = shape
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, p, generator=generator, dtype=torch.float64)
    return updates, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def objective(point: Any, updates: torch.Tensor, weights: torch.Tensor) -> float:
    """Equation 9 with weights that sum to 1."""
    distances = np.linalg.norm(updates.numpy() - np.asarray(point), axis=1)
    return float((weights / weights.sum()).numpy() @ distances)


def aggregated(rule: Any, updates: torch.Tensor, weights: torch.Tensor, **options: Any) -> torch.Tensor:
    return rule(gram_matrix(updates), weights, **options).client_weights @ updates


# The Gram matrix


@pytest.mark.parametrize("columns", [1, 7, 1024])
@pytest.mark.parametrize("n", [1, 2, 17, 40, 70])
def test_the_gram_matrix_is_the_inner_product_of_any_two(n: int, columns: int) -> None:
    exact = torch.randn(n, 33, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    for updates, share in ((exact, 1e-13), (exact.float(), 1e-6)):
        found = gram_matrix(updates, columns)
        assert found.dtype == torch.float64 and torch.equal(found, found.T)
        for i in range(0, n, 5):
            for j in range(0, n, 3):
                a, b = updates[i].double(), updates[j].double()
                assert float(found[i, j]) == pytest.approx(float(a @ b), abs=share * float(a.norm() * b.norm()))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-15, 0.0), (1e-25, 0.0), (1e19, 0.0), (1e-3, 1.0), (0.0, 0.0)], ids=str
)
def test_what_float32_products_cannot_resolve_is_done_in_float64(scale: float, offset: float) -> None:
    updates = offset + scale * torch.randn(9, 200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gram_matrix(updates), gram_matrix(updates.double()))


def test_a_hostile_update_leaves_the_others_inner_products_exact() -> None:
    updates = torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    hostile = updates.clone()
    hostile[3], hostile[8] = 1e30, float("nan")
    others = [i for i in range(20) if i not in (3, 8)]
    expected = gram_matrix(updates.double())[others][:, others]
    assert torch.allclose(gram_matrix(hostile)[others][:, others], expected, rtol=1e-12)


@given(SHAPES)
def test_distances_are_those_of_the_updates(shape: Shape) -> None:
    updates, _ = random_round(shape)
    assert torch.allclose(squared_distances(gram_matrix(updates)).sqrt(), torch.cdist(updates, updates), atol=1e-6)


# Geometric median


def slow_median(updates: torch.Tensor, weights: torch.Tensor, iterations: int, nu: float) -> torch.Tensor:
    """Weiszfeld's iteration from the mean as RFA's paper has it, on whole updates."""
    point = (weights[:, None] * updates).sum(dim=0) / weights.sum()
    for _ in range(iterations):
        pulls = [float(w) / max(float((point - u).norm()), nu) for u, w in zip(updates, weights, strict=True)]
        point = sum(b * u for b, u in zip(pulls, updates, strict=True)) / sum(pulls)
    return point


@given(SHAPES, st.integers(1, 30))
def test_geometric_median_is_weiszfelds_iteration_step_by_step(shape: Shape, iterations: int) -> None:
    updates, weights = random_round((max(shape[0], 5), max(shape[1], 2), shape[2]))
    options = {"max_iterations": iterations, "tolerance": 0.0, "smoothing": 1e-9, "start": "mean"}
    found = geometric_median(gram_matrix(updates), weights, **options)
    expected = slow_median(updates, weights, iterations, 1e-9)
    assert torch.allclose(found.client_weights @ updates, expected, atol=1e-6)
    assert found.iterations == iterations or found.residual == 0.0


@given(SHAPES, st.sampled_from(list(STARTS)))
def test_geometric_median_is_the_minimum_of_equation_9(shape: Shape, start: str) -> None:
    updates, weights = random_round(shape)
    found = aggregated(geometric_median, updates, weights, start=start, max_iterations=1000)
    value = objective(found, updates, weights)
    scale = objective(updates.mean(dim=0), updates, weights) + 1e-9
    for point in (updates.mean(dim=0), (weights @ updates) / weights.sum(), *updates):
        assert value <= objective(point, updates, weights) + 1e-4 * scale
    best = minimize(objective, found.numpy(), (updates, weights), "Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    assert value <= best.fun + 1e-4 * scale


@given(SHAPES)
def test_the_objective_never_rises_from_step_to_step(shape: Shape) -> None:
    updates, weights = random_round(shape)
    values = [
        objective(aggregated(geometric_median, updates, weights, max_iterations=k, tolerance=0.0), updates, weights)
        for k in range(1, 8)
    ]
    assert all(after <= before * (1 + 1e-6) + 1e-9 for before, after in pairwise(values))


@given(SHAPES)
def test_the_residual_is_the_length_of_the_gradient(shape: Shape) -> None:
    updates, weights = random_round((max(shape[0], 5), max(shape[1], 2), shape[2]))
    found = geometric_median(gram_matrix(updates), weights, max_iterations=2, tolerance=0.0)
    away = found.client_weights @ updates - updates
    gradient = ((weights / weights.sum())[:, None] * away / away.norm(dim=1, keepdim=True)).sum(dim=0)
    assert found.residual == pytest.approx(float(gradient.norm()), abs=1e-5)


@pytest.mark.parametrize("tolerance", [0.03, 1e-2, 1e-4])
def test_iterations_stop_at_the_tolerance(tolerance: float) -> None:
    updates, weights = random_round((12, 5, 3))
    found = geometric_median(gram_matrix(updates), weights, 1000, tolerance)
    before = geometric_median(gram_matrix(updates), weights, max(found.iterations - 1, 0), 0.0)
    assert found.residual <= tolerance < before.residual


@pytest.mark.parametrize("start", STARTS)
def test_a_start_on_an_update_that_is_not_the_median_does_not_stick(start: str) -> None:
    """The mean of these is the first update exactly; the median is far from it."""
    line = torch.tensor([[0.0, 0.0]] + [[-1.0, 0.1 * k] for k in (-2, -1, 0, 1, 2)] + [[5.0, 0.0]], dtype=torch.float64)
    found = aggregated(geometric_median, line, torch.ones(7), start=start)
    assert objective(found, line, torch.ones(7)) < objective(line[0], line, torch.ones(7)) - 0.1


@pytest.mark.parametrize("start", STARTS)
def test_a_median_on_an_update_is_found(start: str) -> None:
    star = torch.tensor([[0, 0], [10, 0], [-1, 0.5], [0, 7], [0.2, -3]], dtype=torch.float64)
    weights = torch.tensor([4.0, 1, 1, 1, 1])
    found = geometric_median(gram_matrix(star), weights, start=start)
    assert (found.client_weights @ star).norm() < 1e-5
    assert found.residual <= 1e-5


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("places", [[0, 1, 5], [0, 0, 0, 7], [-3, 0, 1, 2], [1, 1, 2, 2], [0, 0, 1, 4, 4, 4]])
def test_on_a_line_it_is_a_median(places: list[float], start: str) -> None:
    direction = torch.tensor([0.6, -0.8], dtype=torch.float64)
    updates = torch.tensor(places, dtype=torch.float64)[:, None] * direction
    found = aggregated(geometric_median, updates, torch.ones(len(places)), start=start, max_iterations=2000)
    best = objective(np.median(places) * direction, updates, torch.ones(len(places)))
    assert objective(found, updates, torch.ones(len(places))) == pytest.approx(best, rel=1e-3)


def test_more_than_half_of_the_weight_decides() -> None:
    updates, weights = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([3.0, 1.0, 1.0])
    assert float(aggregated(geometric_median, updates.double(), weights)) == pytest.approx(0, abs=1e-4)


def test_from_the_mean_few_steps_leave_much_of_a_hostile_update() -> None:
    """Why the default start is another: what the released code's 4 iterations do against 1 of 8 clients."""
    updates, _ = random_round((8, 4, 0))
    updates[0] = 1e12
    released = aggregated(geometric_median, updates, torch.ones(8), max_iterations=4, start="mean")
    ours = aggregated(geometric_median, updates, torch.ones(8), max_iterations=4)
    assert released.norm() > 1e6
    assert ours.norm() < 10


# Mixed-RFA


def released_mixed_rfa(updates: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """DV-FSR's released aggregation read literally: only the geometric median knows lengths of training sequences."""
    alphas = [float(length) / float(lengths.sum()) for length in lengths]
    point = sum(alpha * u for alpha, u in zip(alphas, updates, strict=True))
    value = sum(alpha * float((u - point).norm()) for alpha, u in zip(alphas, updates, strict=True))
    for _ in range(4):
        pulls = [alpha / max(1e-5, float((u - point).norm())) for alpha, u in zip(alphas, updates, strict=True)]
        point = sum(pull * u for pull, u in zip(pulls, updates, strict=True)) / sum(pulls)
        before, value = value, sum(a * float((u - point).norm()) for a, u in zip(alphas, updates, strict=True))
        if abs(before - value) < 1e-6 * value:
            break
    return 0.3 * sum(updates) / len(updates) + 0.7 * point


@given(st.integers(8, 30), st.integers(8, 40), st.floats(0.01, 100), st.integers(0, 2**31))
def test_mixed_rfa_as_released(n: int, p: int, scale: float, seed: int) -> None:
    """With another early stop and smallest distance: neither shows where no client outweighs the others."""
    generator = torch.Generator().manual_seed(seed)
    updates = scale * torch.randn(n, p, generator=generator, dtype=torch.float64)
    lengths = torch.randint(20, 60, (n,), generator=generator)
    gram, weights = gram_matrix(updates), lengths.double()
    options = {"max_iterations": 4, "start": "mean"}
    found = mixed(gram, weights, 0.3, lambda g, w: geometric_median(g, w, **options), "uniform")
    expected = released_mixed_rfa(updates, lengths)
    assert float((found.client_weights @ updates - expected).norm()) <= 2e-3 * float(updates.norm(dim=1).mean())
    assert found.iterations <= 4


@given(SHAPES, st.floats(0, 1), st.sampled_from(list(MEAN_WEIGHTS)))
def test_mixed_rfa_is_equation_10(shape: Shape, share: float, mean_weights: str) -> None:
    """One set of weights in both parts; or equal ones in the mean, and the median as before."""
    updates, weights = random_round(shape)
    alphas = weights / weights.sum() if mean_weights == "clients" else torch.ones_like(weights) / len(weights)
    average = sum(float(alpha) * u for alpha, u in zip(alphas, updates, strict=True))
    gm = aggregated(geometric_median, updates, weights)
    found = mixed(gram_matrix(updates), weights, share, geometric_median, mean_weights).client_weights
    assert torch.allclose(found @ updates, share * average + (1 - share) * gm, atol=1e-9)
    assert float(found.sum()) == pytest.approx(1)


# Krum


def slow_krum_scores(updates: torch.Tensor, f: int) -> list[float]:
    """Blanchard et al. 2017, section 4, one pair after the other."""
    n, scores = len(updates), []
    for i in range(n):
        others = sorted(float((updates[i] - updates[j]).square().sum()) for j in range(n) if j != i)
        scores.append(sum(others[: n - f - 2]))
    return scores


@given(SHAPES, st.sampled_from([None, 0.0, 0.1, 0.25, 0.5]))
def test_krum_has_the_smallest_score(shape: Shape, ratio: float | None) -> None:
    updates, weights = random_round((shape[0] + 2, shape[1], shape[2]))
    scores = slow_krum_scores(updates, assumed_hostile(len(updates), ratio))
    chosen = krum(gram_matrix(updates), weights, ratio).client_weights
    assert sorted(chosen.tolist()) == [0.0] * (len(updates) - 1) + [1.0]
    assert scores[int(chosen.argmax())] == pytest.approx(min(scores), abs=1e-9)


@given(SHAPES, st.sampled_from([None, 1, 3]))
def test_multi_krum_is_the_mean_of_the_best(shape: Shape, selected: int | None) -> None:
    updates, weights = random_round((shape[0] + 3, shape[1], shape[2]))
    f = assumed_hostile(len(updates), None)
    count = min(selected or max(len(updates) - f - 2, 1), len(updates))
    scores = slow_krum_scores(updates, f)
    chosen = multi_krum(gram_matrix(updates), weights, selected=selected).client_weights
    places = chosen.nonzero().flatten()
    assert len(places) == count
    assert max(scores[i] for i in places) <= sorted(scores)[count - 1] + 1e-9
    assert torch.allclose(chosen[places], weights[places] / weights[places].sum())


@pytest.mark.parametrize("clients", range(1, 30))
@pytest.mark.parametrize("ratio", [None, 0.0, 0.2, 0.5])
def test_krum_assumes_no_more_hostile_clients_than_its_theorem_allows(clients: int, ratio: float | None) -> None:
    f = assumed_hostile(clients, ratio)
    assert f == 0 or 2 * f + 2 < clients
    assert ratio is None or f <= ratio * clients
    if ratio is None:
        assert 2 * (f + 1) + 2 >= clients


# Norm clipping


@given(SHAPES, st.sampled_from([None, 0.3, 1.0, 50.0]))
def test_norm_clipping_shortens_what_is_longer(shape: Shape, bound: float | None) -> None:
    updates, weights = random_round(shape)
    limit = bound or float(np.median([float(u.norm()) for u in updates]))
    clipped = [u if float(u.norm()) <= limit else u / float(u.norm()) * limit for u in updates]
    expected = sum(float(w) * u for w, u in zip(weights, clipped, strict=True)) / float(weights.sum())
    assert torch.allclose(aggregated(norm_clipping, updates, weights, clip_norm=bound), expected)


def test_norm_clipping_of_a_round_of_zeros() -> None:
    assert norm_clipping(torch.zeros(3, 3), torch.ones(3)).client_weights.tolist() == pytest.approx([1 / 3] * 3)


# Rounds side by side

RULES: dict[str, WeightingRule] = {
    "mean": mean,
    "sum": sum_,
    "geometric_median": geometric_median,
    "geometric_median from the mean": lambda g, w: geometric_median(g, w, 5, 1e-3, start="mean"),
    "mixed": lambda g, w: mixed(g, w, 0.3, geometric_median),
    "mixed with an unweighted mean": lambda g, w: mixed(g, w, 0.3, geometric_median, "uniform"),
    "krum": krum,
    "multi_krum": multi_krum,
    "norm_clipping": norm_clipping,
    "norm_clipping to 1": lambda g, w: norm_clipping(g, w, 1.0),
}


@pytest.mark.parametrize("name", RULES)
@given(SHAPES, st.lists(st.sampled_from(["random", "equal", "half equal", "zero", "huge"]), min_size=1, max_size=6))
def test_rounds_side_by_side_are_each_one_alone(name: str, shape: Shape, kinds: list[str]) -> None:
    """Some stand still at once, some after many steps: none disturbs another."""
    n, p, seed = shape[0], shape[1] + 1, shape[2]  # on a line, medians need not be unique
    updates, weights = zip(*(random_round((n, p, seed + i)) for i in range(len(kinds))), strict=True)
    for kind, round_ in zip(kinds, updates, strict=True):
        same = {"random": 0, "equal": n, "half equal": n // 2 + 1, "zero": n, "huge": 0}[kind]
        round_[:same] = round_[0] * (kind != "zero")
        round_ *= 1e12 if kind == "huge" else 1.0
    grams = torch.stack([gram_matrix(round_) for round_ in updates])
    batch = RULES[name](grams, torch.stack(weights))
    alone = [RULES[name](gram, w) for gram, w in zip(grams, weights, strict=True)]
    expected = torch.stack([one.client_weights for one in alone])
    torch.testing.assert_close(batch.client_weights, expected, rtol=1e-5, atol=1e-5)
    assert abs(batch.iterations - max(one.iterations for one in alone)) <= 1  # rounding, just at the tolerance
    assert batch.residual == pytest.approx(max(one.residual for one in alone), rel=1e-3, abs=1e-5)
    nested = RULES[name](grams[None, :, None], torch.stack(weights)[None, :, None]).client_weights
    torch.testing.assert_close(nested[0, :, 0], batch.client_weights, rtol=1e-5, atol=1e-5)
