"""How long malicious updates are beside honest ones, against gradients taken one by one."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low
from typing import Any

import pytest
import torch

from recbole_attack.data import TrainBatch
from recbole_attack.federated.loudness import SAMPLE, Loudness, measure
from recbole_attack.federated.rounds import ClientGroup

CONFIG = {"local_epochs": 1, "local_learning_rate": 0.1, "gradient_scale": 1.0, "norm_budget": None}


def group(batch: TrainBatch, malicious: bool, factor: float = 1.0) -> ClientGroup:
    def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
        return factor * model.client_losses(batch.rows(rows))

    return ClientGroup(torch.ones(len(batch.lengths)), batch.lengths, losses, malicious=malicious)


def norms(model: Any, batch: TrainBatch, factor: float = 1.0) -> list[float]:
    found = []
    for row in range(len(batch.lengths)):
        loss = factor * model.client_losses(batch.rows(torch.tensor([row]))).sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
        found.append(sum(float((g.double() ** 2).sum()) for g in gradients) ** 0.5)
    return found


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_norms_are_those_of_single_clients(
    victim: Callable[..., Any], clients_of: Callable[..., TrainBatch], scale: float
) -> None:
    model, honest, hostile = victim(), clients_of([3, 5, 1, 8, 2]), clients_of([4, 4, 6], seed=1)
    found = measure(model, [group(honest, False), group(hostile, True, 3.0)], {**CONFIG, "gradient_scale": scale})
    assert found.honest == pytest.approx(median_low(norms(model, honest)), rel=1e-5)
    assert found.malicious == pytest.approx(scale * median_low(norms(model, hostile, 3.0)), rel=1e-5)


def test_a_norm_budget_holds_malicious_clients_to_the_honest_quantile(
    victim: Callable[..., Any], clients_of: Callable[..., TrainBatch]
) -> None:
    model, honest, hostile = victim(), clients_of([3, 5, 1]), clients_of([4, 4], seed=1)
    found = measure(model, [group(honest, False), group(hostile, True, 1e3)], {**CONFIG, "norm_budget": 0.5})
    assert found.malicious == pytest.approx(sorted(norms(model, honest))[1], rel=1e-5)


def test_at_most_the_first_few_of_a_kind_are_measured(
    victim: Callable[..., Any], clients_of: Callable[..., TrainBatch]
) -> None:
    model, batch = victim(), clients_of(list(range(1, SAMPLE + 5)))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    found = measure(model, [group(batch, False)], CONFIG)
    assert found == Loudness(pytest.approx(median_low(norms(model, batch)[:SAMPLE]), rel=1e-5), None)
    assert measure(model, [group(batch, True)], CONFIG).honest is None
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
