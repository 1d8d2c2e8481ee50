"""PIECK's regularisation against a literal reading, one user, item and dimension at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.data import TrainBatch
from recbole_attack.defense import CLIENT_DEFENSES
from recbole_attack.defense.regularization import PopularityRegularization, rank_weights
from recbole_attack.experiment import prepare_training

N_ITEMS = 40
DEFENSE = PopularityRegularization(6, 0.7, 0.3)
PARAMETERS = {"regularized_items": 4, "item_regularization": 0.5, "user_regularization": 0.25}


TRANSFORMER = {"hidden_size": 8, "inner_size": 16, "n_heads": 2, "n_layers": 1}
RECURRENT, SHORT = {"hidden_size": 6, "embedding_size": 8}, {"embedding_size": 8}
SIZES: dict[str, dict[str, Any]] = {
    **{"SASRec": TRANSFORMER, "BERT4Rec": TRANSFORMER, "LightSANs": TRANSFORMER},
    **{"GRU4Rec": RECURRENT, "NARM": RECURRENT, "STAMP": SHORT, "SINE": SHORT},
}


@pytest.fixture
def made(small: Callable[..., dict[str, Any]]) -> Callable[[str], Any]:
    """``made(name)``: a victim in training mode, all weights large."""

    def victim(name: str) -> Any:
        common = {key: value for key, value in small(attack="none").items() if key not in TRANSFORMER}
        parameters = AttackConfig(name, config_dict={**common, **SIZES[name]})
        model = prepare_training(parameters).trainer(parameters).model.train()
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, 0.5, generator=generator)
        assert model.n_items == N_ITEMS
        return model

    return victim


def earlier(model: Any) -> torch.Tensor:
    """Item rows of another model, padding and a model's own tokens included."""
    return model.item_embedding.weight.detach() + torch.randn(
        model.item_embedding.weight.shape, generator=torch.Generator().manual_seed(5)
    )


def batch_of(lengths: list[int], seed: int = 0) -> TrainBatch:
    rng = np.random.default_rng(seed)
    history = rng.integers(1, N_ITEMS, (len(lengths), max(lengths) + 1))
    history[np.arange(max(lengths) + 1) > np.array(lengths)[:, None]] = 0
    negatives = np.where(history[:, 1:] != 0, rng.integers(1, N_ITEMS, history[:, 1:].shape), 0)
    inputs = np.where(history[:, 1:] != 0, history[:, :-1], 0)
    fields = (torch.from_numpy(field) for field in (inputs, history[:, 1:], negatives))
    return TrainBatch(*fields, draws=torch.from_numpy(rng.random(history.shape)))


def softmax(row: list[torch.Tensor]) -> list[torch.Tensor]:
    total = sum(value.exp() for value in row)
    return [value.exp() / total for value in row]


def terms_by_loops(model: Any, batch: TrainBatch, before: torch.Tensor, defense: PopularityRegularization) -> Any:
    """``(L_items, L_users)`` of each user, differentiable."""
    weight, size = model.item_embedding.weight, model.item_embedding.weight.shape[1]
    moved = {i: math.dist(weight[i].tolist(), before[i].tolist()) for i in range(1, N_ITEMS)}
    popular = sorted(moved, key=lambda item: -moved[item])[: defense.items]
    n = defense.items
    kappa = [(n + 1 - rank) ** 2 / (n * (n + 1) * (2 * n + 1) / 6) for rank in range(1, n + 1)]
    found = []
    for user in range(len(batch.item_seq)):
        inputs, positives, negatives = ([i for i in field[user].tolist() if i] for field in batch[:3])
        others = [item for item in [inputs[0], *positives, *negatives] if item not in popular]
        alike = model.item_embedding.weight.new_zeros(())
        for share, star in zip(kappa, popular, strict=True):
            for item in others:
                a, b = weight[star].detach(), weight[item]
                alike = alike - share * (a @ b) / (a.norm() * b.norm()) / len(others)
        state = model.eval().forward(torch.tensor([inputs]), torch.tensor([len(inputs)]))[0]
        model.train()
        u, far = softmax(list(state)), model.item_embedding.weight.new_zeros(())
        for share, star in zip(kappa, popular, strict=True):
            e = softmax(list(weight[star].detach()))
            far = far - share * sum(u[d] * (u[d] / e[d]).log() for d in range(size)) / size
        found.append((alike, far))
    return found


@pytest.mark.parametrize("name", sorted(SIZES))
def test_both_terms_and_their_gradients_are_those_of_a_literal_reading(made: Callable[[str], Any], name: str) -> None:
    model, batch = made(name), batch_of([1, 4, 7, 3])
    before, none = earlier(model), torch.zeros(0)
    torch.manual_seed(8)
    plain = model.client_losses(batch)
    torch.manual_seed(8)
    found = DEFENSE.comparing(before)(model, batch, none)
    assert model.training
    terms = terms_by_loops(model, batch, before, DEFENSE)
    added = torch.stack([0.7 * alike + 0.3 * far for alike, far in terms])
    torch.testing.assert_close(found, plain + added, rtol=1e-4, atol=1e-4)
    assert all(abs(alike.item()) > 1e-3 and far.item() < -1e-3 for alike, far in terms)
    parameters = list(model.parameters())
    of_loops, ours = (torch.autograd.grad(x.sum(), parameters, materialize_grads=True) for x in (plain + added, found))
    torch.testing.assert_close(ours, of_loops, rtol=1e-3, atol=1e-4)


def test_users_do_not_change_each_other(made: Callable[[str], Any]) -> None:
    model, batch = made("SASRec").eval(), batch_of([6, 2, 5])
    losses = DEFENSE.comparing(earlier(model))
    together = losses(model, batch, torch.zeros(0))
    for user in range(3):
        alone = losses(model, batch.rows(torch.tensor([user])), torch.zeros(0))
        torch.testing.assert_close(alone, together[user : user + 1])


def test_without_an_earlier_model_there_is_no_term(made: Callable[[str], Any]) -> None:
    model, batch = made("SASRec").eval(), batch_of([3, 5])
    assert torch.equal(DEFENSE.comparing(None)(model, batch, torch.zeros(0)), model.client_losses(batch))


def test_a_user_of_popular_items_alone_has_one_term(made: Callable[[str], Any]) -> None:
    model, batch = made("SASRec").eval(), batch_of([3])
    everything = PopularityRegularization(10 * N_ITEMS, 1.0, 0.0).comparing(earlier(model))
    assert torch.equal(everything(model, batch, torch.zeros(0)), model.client_losses(batch))


def test_weights_fall_with_the_rank() -> None:
    weights = rank_weights(5)
    assert float(weights.sum()) == pytest.approx(1.0) and (weights.diff() < 0).all()
    assert float(weights[0] / weights[-1]) == pytest.approx(25.0)


def test_weights_of_zero_are_no_defence(small: Callable[..., dict[str, Any]]) -> None:
    nothing = {"client_defense": "popularity_regularization", "item_regularization": 0.0, "user_regularization": 0.0}
    assert CLIENT_DEFENSES["popularity_regularization"]({**PARAMETERS, **nothing}) is None
    given = {"attack": "pieck_ipe", "malicious_ratio": 0.1, "epochs": 2}
    runs = [run_recbole_attack(config_dict=small(**given, **more), saved=False) for more in ({}, nothing)]
    plain, zero = ({arm: run[arm] for arm in ("clean", "attacked", "delta")} for run in runs)
    assert json.dumps(plain) == json.dumps(zero)
