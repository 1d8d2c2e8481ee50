"""The geometric median and mixed-RFA, against loops over whole updates and conditions an optimum meets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import minimize

from recbole_attack.defense.gram import gram_matrix
from recbole_attack.defense.rfa import MEAN_WEIGHTS, STARTS, geometric_median, mixed

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


def weighted_median(values: torch.Tensor, weights: torch.Tensor) -> float:
    """The smallest value with half of the weight at or below it, one after the other."""
    return min(float(v) for v in values if float(weights[values <= v].sum()) >= 0.5 * float(weights.sum()) - 1e-9)


def typical_distance(updates: torch.Tensor, weights: torch.Tensor) -> float:
    """The unit of the smallest distance."""
    return weighted_median(
        torch.tensor([weighted_median((updates - update).norm(dim=1), weights) for update in updates]), weights
    )


@given(SHAPES, st.sampled_from([1e-6, 1e-3, 1.0]), st.sampled_from(list(STARTS)))
def test_the_residual_is_the_length_of_the_gradient(shape: Shape, smoothing: float, start: str) -> None:
    updates, weights = random_round((max(shape[0], 5), max(shape[1], 2), shape[2]))
    found = geometric_median(gram_matrix(updates), weights, 2, 0.0, smoothing, start)
    away = found.client_weights @ updates - updates
    distances = away.norm(dim=1, keepdim=True).clamp(min=smoothing * typical_distance(updates, weights))
    gradient = ((weights / weights.sum())[:, None] * away / distances).sum(dim=0)
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


# Where the geometric median is a client


Places = tuple[torch.Tensor, torch.Tensor]


@st.composite
def places(draw: st.DrawFn, most_columns: int = 3) -> Places:
    """Clients on a small grid, some of them together, many of them on one line; and small whole weights."""
    n, p = draw(st.integers(1, 8)), draw(st.integers(1, most_columns))
    rows = draw(st.lists(st.lists(st.integers(-2, 2), min_size=p, max_size=p), min_size=n, max_size=n))
    weights = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)


def slack(updates: torch.Tensor, weights: torch.Tensor, client: int) -> float:
    """What the weight at a client holds more than others pull: the client is a median if and only if that is >= 0."""
    pull, held = np.zeros(updates.shape[1]), 0.0
    for update, weight in zip(updates.numpy(), weights.tolist(), strict=True):
        away = update - updates[client].numpy()
        distance = float(np.linalg.norm(away))
        pull, held = (pull + weight * away / distance, held) if distance else (pull, held + weight)
    return (held - float(np.linalg.norm(pull))) / float(weights.sum())


def assert_the_median_is(client: int, updates: torch.Tensor, weights: torch.Tensor) -> None:
    """To 1e-5 all weight is its own, or what smoothed distances from it leave the others."""
    found = geometric_median(gram_matrix(updates), weights)
    distances = (updates - updates[client]).norm(dim=1)
    alone = torch.where(distances == 0, weights, 0.0)
    smoothed = weights / distances.clamp(min=max(1e-6 * typical_distance(updates, weights), 1e-30))
    gaps = [float((found.client_weights - right / right.sum()).abs().max()) for right in (alone, smoothed)]
    assert min(gaps) <= 1e-5, gaps
    assert found.iterations <= 3 and found.residual <= 1e-5


@given(places())
@example((torch.tensor([[0, 0], [0, 0], [0, 1], [1, 1], [-1, 2]]).double(), torch.tensor([1, 1, 1, 3, 3]).double()))
def test_a_client_that_is_the_median_is_found_at_once(data: Places) -> None:
    updates, weights = data
    margins = [slack(updates, weights, client) for client in range(len(updates))]
    client = int(np.argmax(margins))
    assume(margins[client] > 1e-3)
    assert_the_median_is(client, updates, weights)


@given(SHAPES, st.sampled_from([1.0, 1e3, 1e12]))
def test_a_client_in_the_middle_is_found_at_once(shape: Shape, far: float) -> None:
    """However far one of the others is."""
    updates, weights = random_round((shape[0] + 2, shape[1] + 1, shape[2]))
    updates[1] *= far
    weights[0] = 0.8 * float(weights[1:].sum())
    assume(slack(updates, weights, 0) > 1e-3)
    assert_the_median_is(0, updates, weights)


@given(places())
def test_no_other_point_is_called_optimal(data: Places) -> None:
    """A residual of r says that no point is better by more than r times its distance."""
    updates, weights = data
    found = geometric_median(gram_matrix(updates), weights)
    point, nu = found.client_weights @ updates, 1e-6 * typical_distance(updates, weights)
    for other in (*updates, updates.mean(dim=0), (weights @ updates) / weights.sum()):
        here, there = objective(point, updates, weights), objective(other, updates, weights)
        rounding = 1e-14 * (float(there) + float(weights.sum() * updates.abs().max()))
        assert here - there <= (found.residual + 1e-9) * float((point - other).norm()) + nu + rounding


@given(places(most_columns=1), st.integers(0, 2**31))
def test_on_a_line_it_lies_between_the_weighted_medians(data: Places, seed: int) -> None:
    coordinates, weights = data
    direction = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    direction /= direction.norm()
    low = weighted_median(coordinates[:, 0], weights)
    high = -weighted_median(-coordinates[:, 0], weights)
    found = geometric_median(gram_matrix(coordinates @ direction), weights)
    place = float(aggregated(geometric_median, coordinates @ direction, weights) @ direction[0])
    assert low - 1e-5 <= place <= high + 1e-5
    assert found.iterations <= 3 and found.residual <= 1e-5


@pytest.mark.parametrize(
    ("updates", "weights", "expected"),
    [
        ([[3.0, 4.0]], [2.0], [1.0]),
        ([[3.0, 4.0], [-1.0, 0.0]], [1.0, 2.0], [0.0, 1.0]),
        ([[3.0, 4.0], [-1.0, 0.0]], [2.0, 2.0], [0.5, 0.5]),
        ([[3.0, 4.0], [3.0, 4.0]], [1.0, 3.0], [0.25, 0.75]),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [1.0, 1.0, 2.0], [0.25, 0.25, 0.5]),
        ([[0.0, 0.0], [9.0, 0.0], [9.0, 0.0], [0.0, 5.0]], [2.5, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]),
    ],
    ids=str,
)
def test_of_few_clients(updates: list[list[float]], weights: list[float], expected: list[float]) -> None:
    found = geometric_median(gram_matrix(torch.tensor(updates, dtype=torch.float64)), torch.tensor(weights))
    assert found.client_weights.tolist() == pytest.approx(expected, abs=1e-5)
    assert found.residual <= 1e-5 and found.iterations <= 3


@given(st.one_of(places(), SHAPES.map(random_round)), st.integers(0, 7))
def test_a_client_that_comes_twice_counts_as_one_of_twice_the_weight(data: Places, client: int) -> None:
    updates, weights = data
    client %= len(updates)
    twice, doubled = torch.cat([updates, updates[client : client + 1]]), weights.clone()
    doubled[client] *= 2
    one = aggregated(geometric_median, updates, doubled)
    two = aggregated(geometric_median, twice, torch.cat([weights, weights[client : client + 1]]))
    assert torch.allclose(one, two, atol=1e-4 * (float(updates.norm(dim=1).max()) + 1e-9))


@given(SHAPES, st.sampled_from([1e-9, 1e-6, 1e-3, 0.1, 1.0]))
def test_the_start_decides_the_way_and_not_the_end(shape: Shape, smoothing: float) -> None:
    """A start on a client is none either: with much smoothing, the end is between clients."""
    updates, weights = random_round((shape[0] + 2, shape[1] + 1, shape[2]))
    gram, nu = gram_matrix(updates), smoothing * typical_distance(updates, weights)
    ends = [geometric_median(gram, weights, 5000, 1e-7, smoothing, start) for start in STARTS]
    assume(nu > 0 and all(end.residual <= 1e-7 for end in ends))

    def smoothed(point: torch.Tensor) -> float:
        distances = (updates - point).norm(dim=1)
        bowl = (distances.square() / nu + nu) / 2
        return float(weights @ torch.where(distances > nu, distances, bowl) / weights.sum())

    first, second = (smoothed(end.client_weights @ updates) for end in ends)
    assert first == pytest.approx(second, rel=1e-6)


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
