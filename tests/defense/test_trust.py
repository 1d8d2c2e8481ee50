"""FLTrust against its formula, client by client, and the server's own update against clients that send it."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data.histories import sampled_histories, training_batch
from recbole_attack.defense import AGGREGATORS, Known, configured_aggregator, trust
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.knowledge import informed, root_update
from recbole_attack.federated.server import aggregate
from recbole_attack.federated.updates import looped_updates
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream

SHAPES = {"body": (4,), ITEM_TABLE: (7, 3)}
PARAMETERS = {name: torch.zeros(shape) for name, shape in SHAPES.items()}


def literal(updates: list[np.ndarray], root: np.ndarray) -> np.ndarray:
    """Algorithm 2 of the paper, lines 11 to 14."""
    total, trust = np.zeros_like(root), 0.0
    for update in updates:
        length = np.linalg.norm(update) * np.linalg.norm(root)
        score = max(0.0, float(update @ root) / length) if length else 0.0
        trust += score
        if score:
            total += score * np.linalg.norm(root) / np.linalg.norm(update) * update
    return total / trust if trust else total


@settings(max_examples=40)
@given(
    n=st.integers(1, 9), share=st.sampled_from([0.0, 0.4, 1.0]), seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3)
)
def test_it_is_the_formula(n: int, share: float, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    updates = {name: torch.randn(n + 1, *shape, generator=generator) for name, shape in SHAPES.items()}
    updates[ITEM_TABLE] *= torch.rand(n + 1, 7, 1, generator=generator) < share
    root = {name: scale * value[n] for name, value in updates.items()}
    clients = {name: value[:n] for name, value in updates.items()}
    known = Known(PARAMETERS[ITEM_TABLE], lambda items, rows: rows, root)
    options = {"aggregator": "fl_trust", "pre_aggregator": "none", "per_item": False, "seed": 1}
    rule = configured_aggregator({**options, "root_histories": 3, "root_length": 3})
    rule = replace(rule, known=known)
    weights = 0.5 + torch.rand(n, generator=generator)
    flat = [torch.cat([clients[name][c].flatten() for name in SHAPES]).double().numpy() for c in range(n)]
    expected = literal(flat, torch.cat([root[name].flatten() for name in SHAPES]).double().numpy())
    sent = [{name: value[c] for name, value in clients.items()} for c in range(n)]
    for found in (
        aggregate(ClientUpdates.from_stacked(clients), weights, rule),
        aggregate_one_by_one(sent, weights, rule, PARAMETERS),
    ):
        ours = torch.cat([found.update[name].flatten() for name in SHAPES]).double().numpy()
        assert np.allclose(ours, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("local_epochs", [1, 2])
def test_the_servers_update_is_what_clients_with_sampled_histories_send(
    config: Callable[..., Any], local_epochs: int
) -> None:
    settings_ = config(
        aggregator="fl_trust", attack="none", root_histories=5, root_length=6, local_epochs=local_epochs,
        local_learning_rate=0.1, hidden_dropout_prob=0.0, attn_dropout_prob=0.0,
    )  # fmt: skip
    experiment = prepare_training(settings_)
    model = experiment.model(settings_).train()
    key = (settings_["seed"], 2, 1)
    found = root_update(model, settings_, (5, 6), key)
    nobody = torch.zeros(0, dtype=torch.int64)
    histories = sampled_histories(model, 5, 6, nobody, stream(key[0], "root histories", 2, 1))

    def losses(local: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
        keys = [(2, 1, step, row, 0) for row in range(5)]
        return local.client_losses(training_batch(histories, model.n_items, False, key[0], "root", keys).rows(rows))

    sent = [update for update, _ in looped_updates(model, losses, 5, local_epochs, 0.1)]
    for name, value in found.items():
        expected = torch.stack([update[name] for update in sent]).mean(dim=0)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    other = root_update(model, settings_, (5, 6), (key[0], 2, 2))
    assert not torch.equal(other[ITEM_TABLE], found[ITEM_TABLE]), "drawn anew in each round"


def test_an_attack_against_the_servers_update_does_nothing(config: Callable[..., Any]) -> None:
    settings_ = config(aggregator="fl_trust", root_histories=5, root_length=6)
    experiment = prepare_training(settings_)
    model = experiment.model(settings_).train()
    rule = informed(configured_aggregator(settings_.final_config_dict), model, settings_)
    assert rule.known is not None and rule.known.root is not None
    root = rule.known.root
    updates = {n: torch.stack([-50 * v, v, v]) for n, v in root.items()}
    found = aggregate(ClientUpdates.from_stacked(updates), torch.ones(3), rule)
    assert found.client_weights is not None and found.client_weights[0] == 0
    for name, value in root.items():
        torch.testing.assert_close(found.update[name], value, rtol=1e-4, atol=1e-6)
    nothing = aggregate(ClientUpdates.from_stacked({n: u[:1] for n, u in updates.items()}), torch.ones(1), rule)
    assert not any(value.any() for value in nothing.update.values())


def test_what_it_does_not_go_with() -> None:
    options = {"aggregator": "fl_trust", "seed": 1, "root_histories": 3, "root_length": 3}
    with pytest.raises(ConfigError, match="expected pre_aggregator 'none', found 'nnm'"):
        configured_aggregator({**options, "per_item": False, "pre_aggregator": "nnm", "hostile_ratio": None})
    with pytest.raises(ConfigError, match="'fl_trust' needs whole updates"):
        configured_aggregator({**options, "per_item": True, "pre_aggregator": "none"})
    with pytest.raises(ValueError, match="needs to know its server"):
        aggregate(ClientUpdates.from_stacked({n: v[None] for n, v in PARAMETERS.items()}), torch.ones(1),
                  AGGREGATORS["fl_trust"](options))  # fmt: skip


def test_the_documented_example_holds() -> None:
    failed, tried = doctest.testmod(trust)
    assert (failed, tried > 0) == (0, True)
