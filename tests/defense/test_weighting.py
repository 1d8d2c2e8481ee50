"""Rules on the Gram matrix, against loops over whole updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense.gram import gram_matrix, squared_distances
from recbole_attack.defense.rfa import geometric_median, mixed
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

KINDS = ["random", "equal", "half equal", "middle", "zero", "huge"]
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
@given(
    SHAPES,
    st.lists(st.sampled_from(["random", "equal", "half equal", "middle", "zero", "huge"]), min_size=1, max_size=6),
)
def test_rounds_side_by_side_are_each_one_alone(name: str, shape: Shape, kinds: list[str]) -> None:
    """Some stand still at once, some after many steps: none disturbs another."""
    n, p, seed = shape[0], shape[1] + 1, shape[2]  # on a line, medians need not be unique
    updates, weights = zip(*(random_round((n, p, seed + i)) for i in range(len(kinds))), strict=True)
    for kind, round_ in zip(kinds, updates, strict=True):
        same = {"random": 0, "equal": n, "half equal": n // 2 + 1, "zero": n}.get(kind, 0)
        round_[:same] = round_[0] * (kind != "zero")
        round_ *= 1e12 if kind == "huge" else 1.0
        round_[0] = round_.mean(dim=0) if kind == "middle" else round_[0]
    grams = torch.stack([gram_matrix(round_) for round_ in updates])
    batch = RULES[name](grams, torch.stack(weights))
    alone = [RULES[name](gram, w) for gram, w in zip(grams, weights, strict=True)]
    expected = torch.stack([one.client_weights for one in alone])
    torch.testing.assert_close(batch.client_weights, expected, rtol=1e-5, atol=1e-5)
    assert abs(batch.iterations - max(one.iterations for one in alone)) <= 1  # rounding, just at the tolerance
    assert batch.residual == pytest.approx(max(one.residual for one in alone), rel=1e-3, abs=1e-5)
    nested = RULES[name](grams[None, :, None], torch.stack(weights)[None, :, None]).client_weights
    torch.testing.assert_close(nested[0, :, 0], batch.client_weights, rtol=1e-5, atol=1e-5)
