"""How the server combines client updates: what every rule keeps, and how the rules are wired."""

from __future__ import annotations

import doctest
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_attack.config.defaults import YamlLoader, properties
from recbole_attack.config.options import OPTIONS
from recbole_attack.defense import (
    AGGREGATORS,
    Aggregator,
    configured_aggregator,
    coordinates,
    mixing,
    rfa,
    screening,
    weighting,
)
from recbole_attack.defense.bank import Bank
from recbole_attack.defense.quota import Quota
from recbole_attack.utils.errors import ConfigError

Round = tuple[torch.Tensor, torch.Tensor]
ROBUST = [
    "geometric_median",
    "median",
    "krum",
    "multi_krum",
    "norm_clipping",
    "trimmed_mean",
    "centered_clipping",
]
RULES = [name for name in AGGREGATORS if name not in ("fl_trust", "union")]  # those judge: see test_trust.py and others
NUMBERS = st.floats(-1e3, 1e3)
EXAMPLE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)


def defaults(name: str, **changes: Any) -> dict[str, Any]:
    text = (properties() / "defense" / f"{name}.yaml").read_text(encoding="utf-8")
    return {**(yaml.load(text, Loader=YamlLoader) or {}), **changes}


def rule(name: str, **changes: Any) -> Aggregator:
    return AGGREGATORS[name](defaults(name, **changes))


def aggregate(name: str, updates: torch.Tensor, weights: torch.Tensor, **changes: Any) -> torch.Tensor:
    return rule(name, **changes).apply(updates, weights).update


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    """Updates of 1 to 9 clients over 1 to 4 parameters, and positive weights; clients differ."""
    n, p = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    spread = 10 ** draw(st.floats(-3, 3))
    updates = spread * torch.randn(n, p, generator=generator, dtype=torch.float64)
    weights = draw(st.lists(st.floats(0.5, 5), min_size=n, max_size=n))
    return updates, torch.tensor(weights, dtype=torch.float64)


def unique(updates: torch.Tensor) -> bool:
    """Whether the geometric median is the only one, and not only nearly so: clients do not stand on one line."""
    shape = torch.linalg.svdvals(updates - updates.mean(dim=0))
    return len(updates) == 1 or (len(shape) > 1 and bool(shape[1] > 0.05 * shape[0]))


def close(name: str, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor | float) -> bool:
    """Equal up to rounding; up to the tolerance of the iteration for the geometric median."""
    share = 1e-3 if name in ("geometric_median", "mixed_rfa") else 1e-7
    return bool((a - b).abs().max() <= share * float(scale))


def size(updates: torch.Tensor) -> float:
    return float(updates.abs().max()) + 1e-9


SHRINKING = ("norm_clipping", "support_shrunk", "exposure_quota", "centered_clipping", "flame")
AVERAGES = [name for name in RULES if name != "sum"]
each = pytest.mark.parametrize("name", RULES)
each_average = pytest.mark.parametrize("name", AVERAGES)


# By hand, and the wiring


def test_rules_give_different_results_on_the_documented_example() -> None:
    results = {name: aggregate(name, EXAMPLE, torch.ones(5)) for name in RULES}
    expected = {
        "mean": [2.8, 2.4],
        "sum": [14.0, 12.0],
        "geometric_median": [1.59885, 0.90896],  # found by scipy.optimize.minimize
        "mixed_rfa": [0.3 * 2.8 + 0.7 * 1.59885, 0.3 * 2.4 + 0.7 * 0.90896],
        "median": [2.0, 1.0],
        "trimmed_mean": [5 / 3, 1.0],
        "krum": [0.0, 0.0],
        "multi_krum": [0.0, 0.5],
        "norm_clipping": [(2 + 6 / 13**0.5 + 2**0.5) / 5, (1 + 4 / 13**0.5 + 2**0.5) / 5],
        "centered_clipping": [1.3085, 0.8825],  # by the loop of test_centered_clipping.py
        "dnc": [5 / 3, 1.0],  # without the first and the last
        "flame": results["flame"].tolist(),  # see test_flame.py
    }
    same = {"support_shrunk": "norm_clipping", "exposure_quota": "norm_clipping"}  # where nothing is an item
    same |= {"hics": "mean"}
    same |= {"caf": "mean", "bulyan": "mean"}  # among so few clients, none is taken for hostile
    for name, other in same.items():
        assert torch.allclose(results.pop(name), results[other])
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        assert results[name].tolist() == pytest.approx(value, abs=1e-4), name


@pytest.mark.parametrize("module", [weighting, rfa, coordinates, screening, mixing])
def test_the_documented_examples_hold(module: Any) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_mean_and_sum_alone_have_fixed_factors() -> None:
    assert [name for name in AGGREGATORS if rule(name).linear] == ["mean", "sum"]
    weights = torch.tensor([2.0, 1.0, 1.0])
    assert rule("mean").factors(weights).tolist() == [0.5, 0.25, 0.25]
    assert rule("sum").factors(weights).tolist() == [2.0, 1.0, 1.0]


def test_an_aggregator_is_one_kind_of_rule() -> None:
    for wrong in ({}, {"weigh": weighting.mean, "combine": coordinates.median}):
        with pytest.raises(ValueError, match="exactly one"):
            Aggregator(**wrong)
    with pytest.raises(ValueError, match="linear"):
        Aggregator(combine=coordinates.median, linear=True)
    with pytest.raises(ValueError, match="additive"):
        Aggregator(weighting.krum, additive=True)
    for part in (
        {"bank": Bank(None, 0.1)},
        {"quota": Quota(2.0, 8, None)},
        {"items": rule("median")},
        {"mixes": (abs,)},
    ):
        with pytest.raises(ValueError, match=f"a weighted sum alone: found {next(iter(part))}"):
            replace(rule("mean"), **part)


def test_one_pass_is_enough_where_no_clients_own_update_decides() -> None:
    per_item = {name: replace(rule(name), per_item=True).one_pass for name in AGGREGATORS}
    assert [name for name, enough in per_item.items() if enough] == ["sum"]
    assert [name for name in AGGREGATORS if rule(name).one_pass] == ["mean", "sum"]


@pytest.mark.parametrize("per_item", [False, True])
@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_configuration_names_the_rule(name: str, per_item: bool) -> None:
    if rule(name).whole_only and per_item:
        with pytest.raises(ConfigError, match=f"'{name}' needs whole updates: expected per_item False, found True"):
            configured_aggregator(
                {**defaults(name), "aggregator": name, "per_item": True, "pre_aggregator": "none", "seed": 1}
            )
        return
    found = configured_aggregator(
        {**defaults(name), "aggregator": name, "per_item": per_item, "pre_aggregator": "none", "seed": 1}
    )
    assert found.per_item is per_item and found.linear == rule(name).linear


@pytest.mark.parametrize("clients", [1, 2, 5, 8])
@pytest.mark.parametrize("name", [name for name in RULES if name != "flame"])
def test_rows_of_many_items_are_each_a_round_of_its_own(name: str, clients: int) -> None:
    generator = torch.Generator().manual_seed(clients)
    rows = torch.randn(20, clients, 3, generator=generator)
    weights = 0.5 + torch.rand(20, clients, generator=generator)
    places = torch.rand(20, clients, generator=generator).argsort(dim=1)
    found, iterations, residual = rule(name).rows(rows, weights, places)
    own = rule(name).items or rule(name)
    alone = [own.apply(row.double(), w, order) for row, w, order in zip(rows, weights, places, strict=True)]
    torch.testing.assert_close(found, torch.stack([one.update for one in alone]).float(), rtol=1e-4, atol=1e-5)
    assert iterations == max(one.iterations for one in alone)
    assert residual == pytest.approx(max(one.residual for one in alone), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("geometric_median", {"weiszfeld_iterations": 1}),
        ("geometric_median", {"weiszfeld_tolerance": 0.5}),
        ("geometric_median", {"weiszfeld_smoothing": 1.0}),
        ("geometric_median", {"weiszfeld_start": "mean", "weiszfeld_iterations": 1}),
        ("mixed_rfa", {"mean_share": 0.9}),
        ("mixed_rfa", {"mean_weights": "uniform"}),
        ("mixed_rfa", {"weiszfeld_iterations": 1}),
        ("trimmed_mean", {"trim_ratio": 0.4}),
        ("krum", {"byzantine_ratio": 0.0}),
        ("multi_krum", {"byzantine_ratio": 0.0}),
        ("multi_krum", {"krum_selected": 2}),
        ("norm_clipping", {"clip_norm": 0.5}),
        ("centered_clipping", {"clip_norm": 0.5}),
        ("centered_clipping", {"clipping_steps": 1}),
        ("dnc", {"byzantine_ratio": 0.2}),
        ("dnc", {"dnc_removed": 0.5}),
        ("caf", {"byzantine_ratio": 0.4}),
        ("bulyan", {"byzantine_ratio": 0.0}),
    ],
)
def test_every_parameter_matters(name: str, changes: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(4)
    updates = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    updates[:3] += 4
    weights = torch.arange(1.0, 10.0)
    before, after = aggregate(name, updates, weights), aggregate(name, updates, weights, **changes)
    assert not torch.allclose(before, after, rtol=1e-4)
    for key, value in changes.items():
        OPTIONS[key].check(key, value)


def test_extreme_parameters_are_other_rules() -> None:
    generator = torch.Generator().manual_seed(5)
    for n in (1, 2, 7, 8):
        updates, ones = torch.randn(n, 3, generator=generator, dtype=torch.float64), torch.ones(n)
        mean = updates.mean(dim=0)
        assert torch.allclose(aggregate("trimmed_mean", updates, ones, trim_ratio=0.0), mean)
        assert torch.allclose(
            aggregate("trimmed_mean", updates, ones, trim_ratio=0.5), aggregate("median", updates, ones)
        )
        assert torch.allclose(aggregate("mixed_rfa", updates, ones, mean_share=1.0), mean)
        assert torch.equal(
            aggregate("mixed_rfa", updates, ones, mean_share=0.0), aggregate("geometric_median", updates, ones)
        )
        assert torch.allclose(aggregate("norm_clipping", updates, ones, clip_norm=1e6), mean)
        assert torch.allclose(aggregate("multi_krum", updates, ones, krum_selected=n), mean)
        assert torch.equal(aggregate("multi_krum", updates, ones, krum_selected=1), aggregate("krum", updates, ones))


# What every rule keeps


@each
@given(data=rounds())
def test_the_result_is_the_weighted_sum_it_says(name: str, data: Round) -> None:
    updates, weights = data
    result = rule(name).apply(updates, weights)
    assert result.update.shape == updates.shape[1:] and result.update.dtype == updates.dtype
    assert result.kept.all()
    if result.client_weights is None:
        assert name in ("median", "trimmed_mean", "bulyan")
        return
    assert (result.client_weights >= 0).all()
    total = float(result.client_weights.sum()) / (float(weights.sum()) if name == "sum" else 1)
    assert total <= 1 + 1e-9 if name in SHRINKING else total == pytest.approx(1)
    assert torch.allclose(result.client_weights @ updates, result.update, rtol=1e-9, atol=1e-9 * size(updates))


@each
@given(data=rounds(), seed=st.integers(0, 1000))
def test_the_order_of_clients_does_not_matter(name: str, data: Round, seed: int) -> None:
    updates, weights = data
    assume(name not in ("krum", "multi_krum") or len(updates) > 3)  # two or three clients have equal scores
    assume(name != "flame" or updates.shape[1] > 1)  # on a line there are two directions, and clusters of equal size
    assume(name != "bulyan" or len(updates) < 7)  # so have the last ones of few: test_bulyan.py has more
    order = random.Random(seed).sample(range(len(weights)), len(weights))
    moved = aggregate(name, updates[order], weights[order])
    assume(name not in ("geometric_median", "mixed_rfa") or unique(updates))
    assert close(name, moved, aggregate(name, updates, weights), size(updates))


@pytest.mark.parametrize("name", [name for name in AVERAGES if name not in SHRINKING])
@given(data=rounds(), shift=st.floats(-1, 1))
def test_the_result_moves_along_when_all_updates_move(name: str, data: Round, shift: float) -> None:
    updates, weights = data
    assume(unique(updates) and (name not in ("krum", "multi_krum") or len(updates) > 3))
    by = shift * size(updates)
    assert close(name, aggregate(name, updates + by, weights), aggregate(name, updates, weights) + by, size(updates))


@each
@given(data=rounds(), exponent=st.integers(-40, 40), sign=st.sampled_from([-1, 1]))
def test_the_result_scales_with_the_updates(name: str, data: Round, exponent: int, sign: int) -> None:
    updates, weights = data
    factor = sign * 2.0**exponent
    scaled = aggregate(name, factor * updates, weights)
    assert torch.allclose(scaled, factor * aggregate(name, updates, weights), rtol=1e-9, atol=1e-9 * abs(factor))


@each_average
@given(data=rounds(), factor=st.floats(0.01, 100))
def test_the_scale_of_weights_does_not_matter(name: str, data: Round, factor: float) -> None:
    updates, weights = data
    assume(unique(updates))
    assert close(name, aggregate(name, updates, factor * weights), aggregate(name, updates, weights), size(updates))


@each_average
@given(data=rounds())
def test_the_result_lies_between_the_smallest_and_the_largest_update(name: str, data: Round) -> None:
    updates, weights = data
    result, slack = aggregate(name, updates, weights), 1e-9 * size(updates)
    with_zero = torch.cat([updates, torch.zeros_like(updates[:1])]) if name in SHRINKING else updates
    assert (result >= with_zero.min(dim=0).values - slack).all()
    assert (result <= with_zero.max(dim=0).values + slack).all()


@each_average
@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("value", [0.0, 1.0, -3e-4, 7e5])
def test_equal_updates_give_that_update(name: str, n: int, value: float) -> None:
    update = value * torch.tensor([1.0, -2.0, 0.5])
    result = aggregate(name, update.expand(n, 3).contiguous(), torch.arange(1.0, n + 1))
    assert torch.allclose(result, update, rtol=1e-6)


@each
def test_two_updates_give_something_between_them(name: str) -> None:
    updates = torch.tensor([[0.0, 0.0], [4.0, 2.0]])
    x, y = aggregate(name, updates, torch.ones(2)).tolist()
    assert 0 <= x <= 4 and x == pytest.approx(2 * y)


# Hostile clients


@st.composite
def attacked(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Honest float64 updates, and a minority of hostile ones anywhere."""
    honest_count = draw(st.integers(1, 12))
    hostile_count = draw(st.integers(0, honest_count - 1))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    honest = torch.randn(honest_count, 3, generator=generator, dtype=torch.float64)
    hostile = torch.randn(hostile_count, 3, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        hostile = hostile[:1].expand(hostile_count, 3)
    return honest, draw(st.sampled_from([1e3, 1e30])) * hostile


@pytest.mark.parametrize("name", ROBUST)
@given(data=attacked(), iterations=st.sampled_from([1, 4, 100]))
def test_a_hostile_minority_does_not_move_robust_rules_far(name: str, iterations: int, data: Any) -> None:
    honest, hostile = data
    changes = {
        "geometric_median": {"weiszfeld_iterations": iterations},
        "trimmed_mean": {"trim_ratio": len(hostile) / (len(hostile) + len(honest))},
    }.get(name, {})
    updates = torch.cat([hostile, honest])
    result = rule(name, **changes).apply(updates, torch.ones(len(updates)))
    radius = float(honest.norm(dim=1).max())
    majority = len(honest) - len(hostile)
    assert float(result.update.norm()) <= 3 * radius * len(updates) / majority


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("name", [*ROBUST, "mixed_rfa"])
def test_what_no_rule_could_bear_is_left_out(name: str, bad: float) -> None:
    updates, weights = torch.randn(7, 50, generator=torch.Generator().manual_seed(0)), torch.arange(1.0, 8.0)
    hostile = updates.clone()
    hostile[1, 2] = hostile[4] = hostile[6, 0] = bad
    honest = [0, 2, 3, 5]
    result = rule(name).apply(hostile, weights)
    assert result.kept.nonzero().flatten().tolist() == honest
    expected = rule(name).apply(updates[honest], weights[honest])
    assert torch.allclose(result.update, expected.update, rtol=1e-4, atol=1e-5)  # with them, products are in float64
    if result.client_weights is not None:
        assert torch.allclose(result.client_weights[honest], expected.client_weights, rtol=1e-4)
        assert float(result.client_weights[[1, 4, 6]].abs().sum()) == 0


@pytest.mark.parametrize("name", [*ROBUST, "mixed_rfa"])
def test_without_any_bearable_update_the_result_is_zero(name: str) -> None:
    result = rule(name).apply(torch.full((3, 2), float("nan")), torch.ones(3))
    assert result.update.tolist() == [0, 0]
    assert not result.kept.any()


def test_the_mean_rejects_nobody() -> None:
    result = rule("mean").apply(torch.tensor([[1.0], [float("nan")]]), torch.ones(2))
    assert result.kept.all() and result.update.isnan().all()


# The mean


@given(data=rounds())
def test_mean_is_the_loop_over_clients(data: Round) -> None:
    updates, weights = data
    expected = [
        sum(float(w) * float(row[p]) for w, row in zip(weights, updates, strict=True)) / float(sum(weights))
        for p in range(updates.shape[1])
    ]
    assert aggregate("mean", updates, weights).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9 * size(updates))
