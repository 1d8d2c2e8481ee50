"""How long malicious updates are beside honest ones, against gradients taken one by one."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_attack.data import TrainBatch
from recbole_attack.defense import AGGREGATORS, configured_aggregator
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.budget import upload_factors
from recbole_attack.federated.loudness import SAMPLE, Loudness, loudness, measure, medians, sample
from recbole_attack.federated.rounds import ClientGroup, looks_at_updates, round_path

CONFIG = {"local_epochs": 1, "local_learning_rate": 0.1, "gradient_scale": 1.0}
KEY = (2020, 1, 0)


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
@pytest.mark.parametrize("lengths", [[3, 5, 1, 8, 2], [3, 5, 1, 8]], ids=["odd", "even"])
def test_norms_are_those_of_single_clients(
    victim: Callable[..., Any], clients_of: Callable[..., TrainBatch], lengths: list[int], scale: float
) -> None:
    model, honest, hostile = victim(), clients_of(lengths), clients_of([4, 4, 6], seed=1)
    found = measure(model, [group(honest, False), group(hostile, True, 3.0)], {**CONFIG, "gradient_scale": scale}, KEY)
    assert found.honest == pytest.approx(median(norms(model, honest)), rel=1e-5)
    assert found.malicious == pytest.approx(scale * median(norms(model, hostile, 3.0)), rel=1e-5)


def test_medians_are_of_what_is_sent() -> None:
    lengths, malicious = torch.tensor([*range(1, 9), 100]).double(), torch.arange(9) == 8
    assert loudness(lengths, malicious, 3.0) == Loudness(4.5, 300.0)


def test_a_budget_at_the_median_is_a_ratio_of_one() -> None:
    lengths, malicious = torch.tensor([*range(1, 9), 100]).double(), torch.arange(9) == 8
    assert medians(lengths * upload_factors(lengths, malicious, 3.0, 0.5), malicious) == Loudness(4.5, 4.5)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_nothing_is_summed_under_a_norm_budget(config: Callable[..., Any], aggregator: str) -> None:
    """So that nobody is measured who has one."""
    settings = config(attack="a_ra", norm_budget=0.5, aggregator=aggregator)
    victim, rule = SimpleNamespace(per_client=()), configured_aggregator(settings.final_config_dict)
    assert round_path(victim, rule, 1, looks_at_updates(settings, False)) != "summed"


def test_at_most_a_few_of_a_kind_are_measured(
    victim: Callable[..., Any], clients_of: Callable[..., TrainBatch]
) -> None:
    model, batch = victim(), clients_of(list(range(1, SAMPLE + 5)))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    found, every = measure(model, [group(batch, False)], CONFIG, KEY), np.array(norms(model, batch))
    assert found == Loudness(pytest.approx(median(every[:SAMPLE]), rel=1e-5), None)
    hostile = measure(model, [group(batch, True)], CONFIG, KEY)
    assert hostile == Loudness(None, pytest.approx(median(every[sample(len(every), True, KEY)]), rel=1e-5))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_malicious_clients_are_drawn_though_they_come_by_user() -> None:
    drawn = [sample(20, True, (2020, epoch, index)) for epoch in range(25) for index in range(20)]
    assert all(len(set(one)) == SAMPLE and sorted(one) == list(one) for one in drawn)
    often = np.bincount(np.concatenate(drawn), minlength=20)
    assert len(often) == 20 and (abs(often - 200) < 60).all(), "200 each, by 5 standard deviations"
    assert list(sample(20, True, KEY)) == list(sample(20, True, KEY)) != list(sample(20, True, (2021, 1, 0)))
    assert list(sample(20, False, KEY)) == list(range(SAMPLE)), "honest clients come in random order"
    assert list(sample(5, True, KEY)) == list(range(5)) and not len(sample(0, True, KEY))


@pytest.mark.parametrize("backend", ["vectorised", "loop"])
@pytest.mark.parametrize(
    "changes", [{"norm_budget": 0.5}, {"client_detectors": {"norm": 2.0}}, {"aggregator": "median"}], ids=str
)
def test_where_updates_are_looked_at_nobody_is_measured_again(
    config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], backend: str
) -> None:
    def refuse(*_: Any) -> Loudness:
        raise AssertionError("measured again")

    monkeypatch.setattr("recbole_attack.trainer.federated.measure", refuse)
    settings = config(
        attack="a_ra", malicious_ratio=0.3, gradient_scale=50.0, epochs=1, clients_per_round=30, backend=backend
    ).replace(**changes)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    (row,) = (row for row in trainer.rounds if row["malicious_norm"] is not None)
    if "norm_budget" in changes:
        assert row["malicious_norm"] == pytest.approx(row["honest_norm"], rel=1e-6)
    else:
        assert row["malicious_norm"] > 5 * row["honest_norm"]
