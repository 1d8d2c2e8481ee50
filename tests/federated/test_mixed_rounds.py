"""Pre-aggregators on sparse rows: side by side against one by one, per item against a literal loop, and in training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS, PRE_AGGREGATORS, Aggregator, configured_aggregator
from recbole_attack.experiment import prepare_training
from recbole_attack.federated import client_updates
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import aggregate

SHAPES = {"first.weight": (2, 3), ITEM_TABLE: (9, 3), "last.bias": (4,)}
PARAMETERS = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
MIXES = [name for name in PRE_AGGREGATORS if name != "none"]
UNMIXED = ("support_shrunk", "exposure_quota", "hics", "fl_trust", "union")
RULES = [
    name for name in AGGREGATORS if "krum" not in name and name not in UNMIXED
]  # mixed updates have equal scores, and rounding decides

either_way = pytest.mark.parametrize("per_item", [False, True], ids=["whole", "per item"])


@cache
def rule(name: str, mix: str, per_item: bool) -> Aggregator:
    if per_item and name == "flame":
        pytest.skip("whole updates only")
    chosen = {"aggregator": name, "pre_aggregator": mix, "per_item": per_item}
    return configured_aggregator(AttackConfig(config_dict=chosen).final_config_dict)


def stacked(n_clients: int, share: float, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    updates = {name: torch.randn(n_clients, *shape, generator=generator) for name, shape in SHAPES.items()}
    updates[ITEM_TABLE] *= torch.rand(n_clients, 9, 1, generator=generator) < share
    return updates


def both(updates: dict[str, torch.Tensor], weights: torch.Tensor, aggregator: Aggregator) -> tuple[Any, Any]:
    sent = [{name: value[client] for name, value in updates.items()} for client in range(len(weights))]
    fast = aggregate(ClientUpdates.from_stacked(updates), weights, aggregator)
    return fast, aggregate_one_by_one(sent, weights, aggregator, PARAMETERS)


@either_way
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", RULES)
@settings(max_examples=4)
@given(n=st.integers(1, 9), share=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 10**6))
def test_side_by_side_is_one_by_one(name: str, mix: str, per_item: bool, n: int, share: float, seed: int) -> None:
    if mix == "nnm" and name in ("dnc", "bulyan"):
        pytest.skip("of few mixed updates several are equal, with equal scores")
    weights = 0.5 + torch.rand(n, generator=torch.Generator().manual_seed(seed))
    fast, slow = both(stacked(n, share, seed), weights, rule(name, mix, per_item).in_round(3, seed))
    for key in SHAPES:
        torch.testing.assert_close(fast.update[key], slow.update[key], rtol=1e-3, atol=2e-3)
    assert fast.kept.tolist() == slow.kept.tolist() and fast.frozen == slow.frozen
    assert (fast.client_weights is None) == (slow.client_weights is None)


@either_way
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", ["median", "mean"])
def test_the_size_of_batches_and_a_hostile_client_change_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, mix: str, per_item: bool
) -> None:
    updates, weights, aggregator = stacked(12, 0.6, 0), torch.ones(12), rule(name, mix, per_item)
    updates[ITEM_TABLE][5, 2] = float("nan")
    expected, slow = both(updates, weights, aggregator)
    assert expected.kept.tolist() == slow.kept.tolist() == [client != 5 for client in range(12)]
    assert dict(expected.rejected) == {"not finite": 1}
    for entries in (1, 40):
        monkeypatch.setattr(client_updates, "_BLOCK_ENTRIES", entries)
        found, _ = both(updates, weights, aggregator)
        for key in SHAPES:
            torch.testing.assert_close(found.update[key], expected.update[key], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found.update[key], slow.update[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mix", MIXES)
def test_per_item_mixes_the_rows_of_those_who_touched_it(mix: str) -> None:
    """Every item is a round of its own with the clients in the round's order."""
    updates, weights, aggregator = stacked(12, 0.6, 1), torch.arange(1.0, 13.0), rule("median", mix, True)
    found, _ = both(updates, weights, aggregator)
    for item in range(9):
        rows = updates[ITEM_TABLE][:, item]
        touching = rows.any(dim=1)
        expected = aggregator.apply(rows[touching], weights[touching], aggregator.places(weights)[touching]).update
        torch.testing.assert_close(found.update[ITEM_TABLE][item], expected, rtol=1e-4, atol=1e-5)


@either_way
@pytest.mark.parametrize("name", ["mean", "median"])
def test_training_with_mixed_updates_is_the_same_client_by_client(
    config: Callable[..., Any], name: str, per_item: bool
) -> None:
    """Two rounds, so that both backends draw each round's buckets alike."""
    weights = []
    for backend in ("vectorised", "loop"):
        settings_ = config(
            backend=backend, aggregator=name, per_item=per_item, pre_aggregator="bucketing", attack="dvfsr",
            hidden_dropout_prob=0.0, attn_dropout_prob=0.0, epochs=1,
        )  # fmt: skip
        experiment = prepare_training(settings_)
        trainer = experiment.trainer(settings_)
        trainer._train_epoch(experiment.train_data, 0)
        assert len(trainer.rounds) > 1
        weights.append({key: value.clone() for key, value in trainer.model.state_dict().items()})
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-3, atol=2e-4)
