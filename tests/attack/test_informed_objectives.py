"""Attacks of those who know popularity or interactions: their formulas written out by loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from victims import score, state_of

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, LEVELS, Attack, AttackContext, Profile
from recbole_attack.attack.informed_objectives import (
    KnownUsers,
    PopularityBoost,
    class_scores,
    known_prefixes,
    popularity_classes,
    trained_estimator,
)
from recbole_attack.attack.informed_recipes import INFORMED_ATTACKS
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.transform import keep
from recbole_attack.data.sequences import from_pairs
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.rng import stream

SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "BERT4Rec": {
        **{"hidden_size": 8, "inner_size": 16, "mask_ratio": 0.8},
        **{"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    },
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8, "dropout_prob": 0.0},
}
USERS = np.array([4, 9, 11])
PROFILE = Profile(torch.tensor([[5, 2, 9, 12], [1, 7, 3, 0], [8, 30, 0, 0]]), torch.tensor([4, 3, 2]))

Scene = tuple[Any, AttackContext]


@pytest.fixture
def scene(small: Callable[..., dict[str, Any]]) -> Callable[..., Scene]:
    """A victim in double precision and in training mode, and what an attacker sees who promotes two items."""

    def build(name: str = "SASRec") -> Scene:
        common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
        experiment = prepare_training(AttackConfig(name, config_dict={**common, **SIZES[name]}))
        victim = experiment.model(experiment.config).double().train()
        with torch.no_grad():
            for parameter in victim.parameters():
                parameter.normal_(0.0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
        data = experiment.train_data
        return victim, AttackContext(torch.tensor([7, 31]), data.outside, 1, 2, sequences=data.sequences)

    return build


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


# PipAttack


def test_classes_by_hand() -> None:
    counts = np.array([99, 3, 0, 8, 8, 1, 0, 5, 2, 2, 1])
    assert popularity_classes(counts).tolist() == [1, 2, 0, 1, 2, 2, 1, 2, 2, 2]
    assert popularity_classes(np.array([0, 1, 1])).tolist() == [0, 2]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_classes_are_stretches_of_a_ranking(counts: list[int]) -> None:
    found = popularity_classes(np.array([0, *counts])).tolist()
    ranked = sorted(range(len(counts)), key=lambda item: (-counts[item], item))
    assert [found[item] for item in ranked] == sorted(found)
    assert found.count(0) == max(len(counts) // 10, 1)
    assert found.count(0) + found.count(1) == max(int(0.45 * len(counts)), 1)


def test_the_estimator_is_that_of_a_plain_network_and_learns(scene: Callable[..., Scene]) -> None:
    model, context = scene()
    rng = stream(1, "popularity estimator", 2, 0)
    network = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).double()
    with torch.no_grad():
        for layer in (network[0], network[2], network[4]):
            for parameter in (layer.weight, layer.bias):
                width = layer.in_features**-0.5
                parameter.copy_(torch.from_numpy(rng.uniform(-width, width, tuple(parameter.shape))))
    others = [item for item in range(1, model.n_items) if item not in (7, 31)]
    rows = model.item_embedding.weight.detach()[others]
    classes = torch.from_numpy(popularity_classes(context.outside.popularity))[[item - 1 for item in others]]
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=0.01), []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(network(rows), classes))
        losses[-1].backward()
        optimizer.step()
    state = torch.get_rng_state()
    found = trained_estimator(model, 40, context)
    assert torch.equal(torch.get_rng_state(), state), "nothing else is drawn"
    torch.testing.assert_close(class_scores(found, rows), network(rows).detach(), rtol=1e-9, atol=1e-9)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("distance", [0.3, 1e9])
def test_pip_attack_is_its_formula_at_a_distance_from_an_honest_update(
    scene: Callable[..., Scene], name: str, distance: float
) -> None:
    model, context = scene(name)
    objective = PopularityBoost(strength=3.0, steps=20, distance=distance)
    losses = objective(model, PROFILE, PROFILE, USERS, 1, context)
    estimator = trained_estimator(model, 20, context)
    for row, user in enumerate(USERS):
        length = int(PROFILE.item_seq_len[row])
        history = PROFILE.item_seq[row : row + 1, :length]
        own = Profile(history, PROFILE.item_seq_len[row : row + 1])
        state = model.forward(*own)[0]
        hostile = torch.zeros(())
        for target in (7, 31):
            embedding = model.item_embedding.weight[target]
            bias = model.output_bias[target] if hasattr(model, "output_bias") else 0.0
            logits = class_scores(estimator, embedding[None])[0]
            popular = -math.log(1.0) - (logits[0] - torch.log(torch.exp(logits).sum()))
            hostile = hostile + (torch.log1p(torch.exp(-(state @ embedding + bias))) + 3.0 * popular) / 2
        honest = gradient(model, training_loss(model, own, own, np.array([user]), 1, context).sum())
        way = gradient(model, hostile) - honest
        c = min(1.0, distance * float(honest.norm()) / float(way.norm()))
        torch.testing.assert_close(gradient(model, losses[row]), honest + c * way, rtol=1e-6, atol=1e-9)
        assert (gradient(model, losses[row]) - honest).norm() <= distance * honest.norm() * (1 + 1e-9)
        assert (c == 1.0) == (distance == 1e9), "the constraint binds where it is meant to"


# FedRecAttack


def test_prefixes_hold_a_share_of_the_interactions(scene: Callable[..., Scene]) -> None:
    _, context = scene()
    sequences = context.sequences
    assert sequences is not None
    found = np.stack([known_prefixes(sequences, 0.07, seed) for seed in range(400)])
    assert (found <= sequences.lengths).all()
    assert (np.abs(found - 0.07 * sequences.lengths) < 1).all(), "rounded up or down"
    assert found.sum(axis=1).mean() == pytest.approx(0.07 * len(sequences.items), rel=0.02)
    assert known_prefixes(sequences, 1.0, 3).tolist() == sequences.lengths.tolist()
    assert known_prefixes(sequences, 0.07, 5).tolist() == found[5].tolist()


def known_loss(model: Any, context: AttackContext, objective: KnownUsers, rows: torch.Tensor) -> torch.Tensor:
    """The summed loss by loops, differentiable in ``rows`` (``[n_items, H]``)."""
    sequences, total = context.sequences, torch.zeros(())
    assert sequences is not None
    lengths = known_prefixes(sequences, objective.share, context.seed)
    order = stream(context.seed, "approximated users", context.epoch, context.step).permutation(np.flatnonzero(lengths))
    for user in order[: objective.users].tolist():
        prefix = sequences[user][: lengths[user]].tolist()
        state = state_of(model, prefix[-model.max_seq_length :])
        open_ones = [item for item in range(1, model.n_items) if item not in prefix and item not in (7, 31)]
        best = sorted(open_ones, key=lambda item: -float(score(model, state, item)))[: objective.competitors]
        for item in best:
            for target in (7, 31):
                delta = score(model, state, item, rows[item]) - score(model, state, target, rows[target])
                total = total + (delta if float(delta.detach()) >= 0 else torch.expm1(delta))
    return total


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("share", "users"), [(0.2, 6), (0.05, 500), (1.0, 500)])
def test_fed_rec_attack_has_the_gradient_of_its_formula(
    scene: Callable[..., Scene], name: str, share: float, users: int
) -> None:
    model, context = scene(name)
    objective = KnownUsers(share, users, competitors=4, rows=9, limit=1.0)
    rows = model.item_embedding.weight.detach()[: model.n_items].clone().requires_grad_()
    (expected,) = torch.autograd.grad(known_loss(model, context, objective, rows), rows)
    torch.testing.assert_close(objective.gradient(model, context), expected, rtol=1e-9, atol=1e-9)
    assert expected[7].any() and model.training


def test_clients_upload_targets_and_a_few_clipped_rows_of_that(scene: Callable[..., Scene]) -> None:
    model, context = scene()
    objective = KnownUsers(0.2, 50, competitors=4, rows=6, limit=1.5)
    wanted = objective.gradient(model, context)
    losses = objective(model, PROFILE, PROFILE, USERS, 1, context)
    seen = []
    for loss in losses:
        names, parameters = zip(*model.named_parameters(), strict=True)
        found = dict(
            zip(names, torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True), strict=True)
        )
        table = found.pop("item_embedding.weight")
        assert not any(part is not None and part.any() for part in found.values())
        touched = table.any(dim=1).nonzero().flatten().tolist()
        assert len(touched) == 6 and {7, 31} <= set(touched)
        for item in touched:
            clip = min(1.0, 1.5 / float(wanted[item].norm()))
            torch.testing.assert_close(table[item], clip * wanted[item])
        seen.append(tuple(touched))
    assert len(set(seen)) > 1, "clients differ"
    again = objective(model, PROFILE, PROFILE, USERS, 1, replace(context, step=1))
    assert not torch.equal(again, losses)


def test_long_rows_are_drawn_more_often(scene: Callable[..., Scene]) -> None:
    model, context = scene()
    objective = KnownUsers(0.2, 50, competitors=4, rows=3, limit=1.0)
    rows = torch.zeros(model.n_items, 8, dtype=torch.float64)
    rows[[5, 6], 0] = torch.tensor([3.0, 1.0]).double()
    drawn = []
    for user in range(400):
        loss = objective._loss(model, rows, user, context)
        (table,) = torch.autograd.grad(loss, [model.item_embedding.weight])
        drawn += [item for item in table.any(dim=1).nonzero().flatten().tolist() if item not in (7, 31)]
    assert len(drawn) == 400 and drawn.count(5) == pytest.approx(300, abs=35)


def test_who_knows_nobody_uploads_nothing(scene: Callable[..., Scene]) -> None:
    model, context = scene()
    nobody = from_pairs(np.array([1]), np.array([3]), 3, model.n_items)
    objective = KnownUsers(0.01, 50, 4, 6, 1.0)
    losses = objective(model, PROFILE, PROFILE, USERS, 1, replace(context, sequences=nobody))
    assert not gradient(model, losses.sum()).any()


# Recipes


PARAMETERS = {
    **{"popularity_weight": 7.0, "estimator_steps": 3, "upload_distance": 0.5, "attack_weight": 2.5},
    **{"known_share": 0.25, "approximated_users": 11, "paired_items": 13, "uploaded_rows": 17, "row_limit": 0.75},
}
WIRED = {
    "pip_attack": Attack(keep, PopularityBoost(7.0, 3, 0.5), knowledge=(LEVELS["K1"],)),
    "fed_rec_attack": Attack(keep, KnownUsers(0.25, 11, 13, 17, 0.75), weight=2.5, knowledge=(LEVELS["K2"],)),
}


def test_recipes_of_the_informed_are_wired_from_their_parameters() -> None:
    assert set(WIRED) == set(INFORMED_ATTACKS) <= set(ATTACKS)
    assert {name: ATTACKS[name](PARAMETERS) for name in WIRED} == WIRED
