"""UNION: every client's whole table after its step, pair by pair; clusters cut at each place; and a plain example."""

from __future__ import annotations

import copy
import doctest
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from recbole_attack.defense import Known, configured_aggregator, uniformity
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.knowledge import stepped
from recbole_attack.federated.server import aggregate

V, H = 12, 3
RATE = 0.5


def scene(n: int, share: float, seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor, Known]:
    generator = torch.Generator().manual_seed(seed)
    updates = {"body": torch.randn(n, 2, generator=generator), ITEM_TABLE: torch.randn(n, V, H, generator=generator)}
    updates[ITEM_TABLE] *= torch.rand(n, V, 1, generator=generator) < share
    table = torch.randn(V, H, generator=generator)
    known = Known(table, lambda items, rows: table[items] - RATE * rows)
    return updates, 0.5 + torch.rand(n, generator=generator), known


@settings(max_examples=30)
@given(
    n=st.integers(1, 6), share=st.sampled_from([0.0, 0.4, 1.0]), seed=st.integers(0, 10**6), drawn=st.integers(2, 11)
)
def test_a_clients_uniformity_is_that_of_its_own_table(n: int, share: float, seed: int, drawn: int) -> None:
    updates, _, known = scene(n, share, seed)
    items = 1 + np.random.default_rng(seed).permutation(V - 1)[:drawn]
    found = uniformity.uniformities(ClientUpdates.from_stacked(updates), n, known, torch.from_numpy(items))
    for client in range(n):
        table = (known.items - RATE * updates[ITEM_TABLE][client]).double().numpy()
        lengths = [np.linalg.norm(table[a] - table[b]) for a, b in combinations(items, 2)]
        assert float(found[client]) == pytest.approx(np.mean(lengths), rel=1e-6)


def within(values: np.ndarray, k: int) -> tuple[float, np.ndarray]:
    """The least squared distances of values to the means of ``k`` clusters, and who is in the second; by trying."""
    if k == 1:
        return float(((values - values.mean()) ** 2).sum()), np.zeros(len(values), dtype=bool)
    best = (math.inf, np.zeros(0, dtype=bool))
    for bound in np.sort(values)[1:]:
        high = values >= bound
        total = sum(float(((values[part] - values[part].mean()) ** 2).sum()) for part in (high, ~high))
        best = min(best, (total, high), key=lambda found: found[0])
    return best


def literal(values: np.ndarray, references: np.ndarray) -> np.ndarray:
    scaled = (values - values.min()) / (values.max() - values.min())
    gap, spread = {}, {}
    for k in (1, 2):
        logs = [math.log(max(within(reference, k)[0], 1e-12)) for reference in references]
        gap[k] = np.mean(logs) - math.log(max(within(scaled, k)[0], 1e-12))
        spread[k] = np.std(logs) * math.sqrt(1 + 1 / len(references))
    high = within(scaled, 2)[1]
    if gap[1] >= gap[2] - spread[2] or 2 * high.sum() == len(high):
        return np.zeros(len(high), dtype=bool)
    return high if 2 * high.sum() < len(high) else ~high


@settings(max_examples=40)
@given(n=st.integers(3, 12), hostile=st.integers(0, 4), far=st.floats(0.0, 20.0), seed=st.integers(0, 10**6))
def test_the_cluster_is_that_of_a_literal_gap_statistic(n: int, hostile: int, far: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = 5 + rng.normal(size=n)
    values[:hostile] += far
    references = rng.random((10, n))
    found = uniformity.smaller_cluster(torch.from_numpy(values), torch.from_numpy(references))
    assert found.tolist() == literal(values, references).tolist()


def test_two_clusters_are_scikit_learns() -> None:
    values = np.random.default_rng(0).normal(size=40)
    one, two, cut = uniformity._scatter(torch.from_numpy(np.sort(values))[None])
    fits = [KMeans(k, n_init=20, random_state=0).fit(values[:, None]) for k in (1, 2)]
    assert [float(one), float(two)] == pytest.approx([fit.inertia_ for fit in fits])
    assert int(cut) in np.bincount(fits[1].labels_)


def test_clients_that_draw_items_together_are_left_out() -> None:
    updates, weights, known = scene(20, 0.3, 0)
    updates[ITEM_TABLE] *= 0.1
    updates[ITEM_TABLE][:3] = known.items  # a step of half the way to the origin, for all items
    options = {"aggregator": "union", "pre_aggregator": "none", "per_item": False, "seed": 3}
    rule = configured_aggregator({**options, "union_items": 8, "gap_references": 20}).in_round(1, 2)
    rule, honest = replace(rule, known=known), slice(3, None)
    sent = [{name: value[client] for name, value in updates.items()} for client in range(20)]
    shares = weights[honest] / weights[honest].sum()
    for found in (
        aggregate(ClientUpdates.from_stacked(updates), weights, rule),
        aggregate_one_by_one(sent, weights, rule, {name: value[0] for name, value in updates.items()}),
    ):
        assert found.client_weights is not None and not found.client_weights[:3].any()
        for name, value in updates.items():
            expected = torch.tensordot(shares, value[honest], dims=1)
            torch.testing.assert_close(found.update[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0, 3.0, 3.0], [0.0, 0.0, 9.0, 9.0]], ids=str)
def test_where_there_is_no_smaller_cluster_nobody_is_left_out(values: list[float]) -> None:
    found = uniformity.smaller_cluster(torch.tensor(values).double(), torch.rand(9, len(values)).double())
    assert not found.any()


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_a_step_of_a_row_is_that_of_the_servers_optimiser(config: Callable[..., Any], learner: str) -> None:
    """After a round, so that the optimiser has something to remember."""
    settings_ = config(learner=learner, weight_decay=0.01, attack="none", epochs=1)
    experiment = prepare_training(settings_)
    trainer = experiment.trainer(settings_)
    trainer._train_epoch(experiment.train_data, 0)
    table = trainer.model.item_embedding.weight
    before, items = table.detach().clone(), torch.tensor([4, 9, 4])
    rows = 0.01 * torch.randn(3, table.shape[1], generator=torch.Generator().manual_seed(0))
    found = stepped(trainer.optimizer, table, items, rows)
    assert torch.equal(table, before)
    for chosen in ([0, 1], [1, 2]):
        trial = prepare_training(settings_).trainer(settings_)
        trial.model.load_state_dict(trainer.model.state_dict())
        trial.optimizer.load_state_dict(copy.deepcopy(trainer.optimizer.state_dict()))
        gradient = {name: torch.zeros_like(p) for name, p in trial.model.named_parameters()}
        gradient[ITEM_TABLE][items[chosen]] = rows[chosen]
        trial._step(gradient, 1)
        torch.testing.assert_close(found[chosen], trial.model.item_embedding.weight[items[chosen]].detach())


def test_the_documented_example_holds() -> None:
    failed, tried = doctest.testmod(uniformity)
    assert (failed, tried > 0) == (0, True)
