"""Pre-aggregators: against byzfl and slow literal readings, and what they keep."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS, PRE_AGGREGATORS, Aggregator, configured_aggregator, gram_matrix
from recbole_attack.defense.mixing import arc, bucketing, nnm, taken_for_hostile

SHAPES = [(n, p, seed) for n in (5, 8, 21) for p in (2, 30) for seed in (0, 1)]
UNMIXED = ("support_shrunk", "exposure_quota", "hics", "fl_trust", "union")
MIXES = [name for name in PRE_AGGREGATORS if name != "none"]


def random_round(n: int, p: int, seed: int) -> torch.Tensor:
    updates = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    updates[: n // 4] += 20
    return updates


def same(ours: torch.Tensor, theirs: Any) -> bool:
    """Equal in float32, which byzfl computes in whatever it is given."""
    return torch.allclose(ours.float(), torch.as_tensor(theirs).float(), rtol=1e-5, atol=1e-5)


def mixed(mix: Any, updates: torch.Tensor, weights: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    ones = torch.ones(len(updates)) if weights is None else weights
    matrix = mix(gram_matrix(updates), ones, torch.arange(len(updates)), **options).matrix
    return matrix @ updates


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.4, None])
def test_nnm_is_byzfls(byzfl_mixing: Any, shape: Any, ratio: float | None) -> None:
    updates = random_round(*shape)
    theirs = byzfl_mixing.NNM(f=taken_for_hostile(len(updates), ratio))(updates)
    assert same(mixed(nnm, updates, hostile_ratio=ratio), theirs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.4, None])
def test_arc_is_byzfls(byzfl_mixing: Any, shape: Any, ratio: float | None) -> None:
    updates = random_round(*shape)
    theirs = byzfl_mixing.ARC(f=taken_for_hostile(len(updates), ratio))(updates.clone())
    assert same(mixed(arc, updates, hostile_ratio=ratio), theirs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_bucketing_is_byzfls_with_its_order(
    byzfl_mixing: Any, monkeypatch: pytest.MonkeyPatch, shape: Any, size: int
) -> None:
    updates = random_round(*shape)
    order = torch.randperm(len(updates), generator=torch.Generator().manual_seed(shape[2]))
    drawn = SimpleNamespace(permutation=lambda vectors: vectors[order])
    monkeypatch.setattr(byzfl_mixing, "random_tool", lambda vectors: drawn)
    theirs = byzfl_mixing.Bucketing(s=size)(updates)
    ours = bucketing(gram_matrix(updates), torch.ones(len(updates)), order.argsort(), size)
    assert ours.matrix is not None and same(ours.matrix @ updates, theirs)
    sizes = [min(size, len(updates) - start) for start in range(0, len(updates), size)]
    assert ours.weights.tolist() == sizes


def literal(name: str, updates: np.ndarray, weights: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pre-aggregator by its definition, with its default parameters."""
    n = len(updates)
    f = math.ceil(n / 2) - 1
    if name == "nnm":
        found = []
        for own in updates:
            nearest = sorted(
                range(n), key=lambda j: (not np.array_equal(own, updates[j]), sum((own - updates[j]) ** 2))
            )
            found.append(np.mean([updates[j] for j in nearest[: n - f]], axis=0))
        return np.array(found), weights
    if name == "arc":
        lengths = [math.sqrt(sum(u**2)) for u in updates]
        k = math.floor(2 * f / n * (n - f) + 1e-9)
        longest = sorted(lengths, reverse=True)[k]
        return np.array([u * min(1, longest / length) for u, length in zip(updates, lengths, strict=True)]), weights
    order = np.argsort(places)
    buckets = [order[start : start + 2] for start in range(0, n, 2)]
    means = [sum(weights[c] * updates[c] for c in bucket) / sum(weights[bucket]) for bucket in buckets]
    return np.array(means), np.array([sum(weights[bucket]) for bucket in buckets])


def rule(name: str, mix: str, per_item: bool = False, **changes: Any) -> Aggregator:
    config = AttackConfig(config_dict={"aggregator": name, "pre_aggregator": mix, "per_item": per_item, **changes})
    return configured_aggregator(config.final_config_dict)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in UNMIXED])
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_a_rule_is_given_what_the_definition_makes_of_updates(name: str, mix: str, n: int) -> None:
    if "krum" in name and n < 8:
        pytest.skip("of few updates several have equal scores")
    generator = torch.Generator().manual_seed(n)
    updates, weights = torch.randn(n, 6, generator=generator, dtype=torch.float64), torch.arange(1.0, n + 1)
    places = torch.randperm(n, generator=generator)
    ours = rule(name, mix).apply(updates, weights, places)
    new, new_weights = literal(mix, updates.numpy(), weights.numpy(), places.numpy())
    alone = configured_aggregator({**AttackConfig(config_dict={"aggregator": name}).final_config_dict})
    theirs = alone.apply(torch.from_numpy(new), torch.from_numpy(new_weights))
    if name in ("krum", "multi_krum", "dnc", "bulyan") and mix != "arc":
        return  # nearest neighbours that are mixed alike, and few buckets, have equal scores
    assert torch.allclose(ours.update, theirs.update, rtol=1e-3, atol=1e-3)
    if ours.client_weights is not None:
        assert torch.allclose(ours.client_weights @ updates, ours.update)


def test_krum_is_given_mixed_updates_too() -> None:
    """It returns one of them, and one with the least score."""
    updates = random_round(21, 5, 0)
    for mix in MIXES:
        new, _ = literal(mix, updates.numpy(), np.ones(21), np.arange(21))
        found = rule("krum", mix).apply(updates, torch.ones(21), torch.arange(21)).update
        distances = ((new[:, None] - new[None]) ** 2).sum(axis=2)
        np.fill_diagonal(distances, np.inf)
        m = len(new)
        scores = np.sort(distances, axis=1)[:, : max(m - max((m - 3) // 2, 0) - 2, 1)].sum(axis=1)
        chosen = np.abs(new - found.numpy()).sum(axis=1).argmin()
        assert np.allclose(new[chosen], found) and scores[chosen] == pytest.approx(scores.min(), rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_buckets_of_one_and_nobody_hostile_change_nothing(n: int) -> None:
    updates = random_round(n, 3, n)
    assert torch.allclose(mixed(arc, updates, hostile_ratio=0.0), updates)
    matrix = bucketing(gram_matrix(updates), torch.ones(n), torch.arange(n), 1).matrix
    assert matrix is not None and torch.equal(matrix, torch.eye(n, dtype=torch.float64))
    assert torch.allclose(mixed(nnm, updates, hostile_ratio=0.0), updates.mean(dim=0).expand(n, 3))


@settings(max_examples=30)
@given(n=st.integers(1, 12), seed=st.integers(0, 10**6), size=st.integers(1, 5))
def test_the_mean_of_buckets_is_the_mean_of_clients(n: int, seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    updates, weights = torch.randn(n, 4, generator=generator), 0.5 + torch.rand(n, generator=generator)
    for name in ("mean", "sum"):
        found = rule(name, "bucketing", bucket_size=size).apply(updates, weights).update
        assert torch.allclose(found, rule(name, "none").apply(updates, weights).update, atol=1e-5)


@settings(max_examples=30)
@given(n=st.integers(1, 12), seed=st.integers(0, 10**6), exponent=st.integers(-30, 30), shift=st.floats(-3, 3))
def test_order_scale_and_shift_of_updates(n: int, seed: int, exponent: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    order = torch.randperm(n, generator=generator)
    for mix in (nnm, arc):
        before = mixed(mix, updates)
        assert torch.allclose(mixed(mix, updates[order]), before[order])
        assert torch.allclose(mixed(mix, 2.0**exponent * updates), 2.0**exponent * before)
    for move in (nnm, bucketing):
        assert torch.allclose(mixed(move, updates + shift), mixed(move, updates) + shift, atol=1e-6)
    ones = torch.ones(n)
    a = bucketing(gram_matrix(updates), ones, torch.arange(n)).matrix
    b = bucketing(gram_matrix(updates[order]), ones, order).matrix
    assert a is not None and b is not None and torch.allclose(a @ updates, b @ updates[order])


@pytest.mark.parametrize("mix", ["nnm", "arc"])
def test_a_hostile_minority_does_not_move_the_honest_far(mix: str) -> None:
    for hostile in (1, 4):
        updates = random_round(9, 5, 3)
        updates[:2] -= 20
        honest = updates.clone()
        updates[:hostile] = 1e15
        found = mixed({"nnm": nnm, "arc": arc}[mix], updates)
        assert float(found[hostile:].norm(dim=1).max()) <= float(honest.norm(dim=1).max())
    if mix == "arc":
        assert float(found.norm(dim=1).max()) <= float(honest.norm(dim=1).max())


@pytest.mark.parametrize("name", ["mean", "median", "krum"])
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_what_no_rule_could_bear_is_left_out_before(name: str, mix: str, bad: float) -> None:
    updates, weights = random_round(9, 5, 0).float(), torch.arange(1.0, 10.0)
    hostile = updates.clone()
    hostile[2, 1] = hostile[7] = bad
    honest, places = [0, 1, 3, 4, 5, 6, 8], torch.randperm(9, generator=torch.Generator().manual_seed(0))
    found = rule(name, mix).apply(hostile, weights, places)
    assert found.kept.nonzero().flatten().tolist() == honest
    alone = rule(name, mix).apply(updates[honest], weights[honest], places[honest])
    assert torch.allclose(found.update, alone.update, rtol=1e-4, atol=1e-5)


def test_each_round_has_an_order_of_its_own_which_the_seed_decides() -> None:
    updates, weights = random_round(30, 2, 0), torch.ones(30)
    orders = [rule("median", "bucketing", seed=seed).in_round(*key).places(weights) for seed in (1, 2)
              for key in ((0, 0), (0, 1), (1, 0))]  # fmt: skip
    assert len({tuple(order.tolist()) for order in orders}) == 6
    assert all(sorted(order.tolist()) == list(range(30)) for order in orders)
    again = rule("median", "bucketing", seed=1).in_round(0, 1).apply(updates, weights)
    assert torch.equal(again.update, rule("median", "bucketing").apply(updates, weights, orders[1]).update)


def test_every_parameter_matters_and_no_mixing_rule_is_linear() -> None:
    updates, weights = random_round(9, 3, 4), torch.ones(9)
    for mix, change in (
        ("nnm", {"hostile_ratio": 0.1}),
        ("arc", {"hostile_ratio": 0.1}),
        ("bucketing", {"bucket_size": 3}),
    ):
        before, after = (rule("median", mix, **c).apply(updates, weights).update for c in ({}, change))
        assert not torch.allclose(before, after, rtol=1e-4)
        assert not rule("mean", mix).linear and not rule("sum", mix).one_pass
    with pytest.raises(ValueError, match="linear"):
        Aggregator(weigh=lambda gram, weights: None, linear=True, mixes=(nnm,))  # type: ignore[arg-type, return-value]
