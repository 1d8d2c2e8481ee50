"""Adversarial training against a literal reading of Yue et al. 2022, one user and one position at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack.data import TrainBatch
from recbole_attack.defense.client_defenses import AdversarialTraining
from recbole_attack.experiment import prepare_training

N_ITEMS = 40


@pytest.fixture
def model(config: Callable[..., Any]) -> Any:
    """A SASRec with dropout, in double precision and training mode, all weights large."""
    parameters = config(hidden_dropout_prob=0.3, attn_dropout_prob=0.3)
    victim = prepare_training(parameters).trainer(parameters).model.double().train()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in victim.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    assert victim.n_items == N_ITEMS
    return victim


def batch_of(lengths: list[int], seed: int = 0) -> tuple[TrainBatch, torch.Tensor]:
    """Users with training positions, and one draw for each of their inputs and the last item."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(1, N_ITEMS, (3, len(lengths), max(lengths)))
    fields[:, np.arange(max(lengths)) >= np.array(lengths)[:, None]] = 0
    return TrainBatch(*torch.from_numpy(fields)), torch.from_numpy(rng.random((len(lengths), max(lengths) + 1)))


def hostile_by_loops(
    model: Any, batch: TrainBatch, draws: torch.Tensor, defense: AdversarialTraining
) -> dict[tuple[int, int], torch.Tensor]:
    """(user, position) -> the distribution over items ``1..n_items-1`` that its item became."""
    table = model.item_embedding.weight.detach()[1:N_ITEMS]
    found = {}
    for user in range(len(batch.item_seq)):
        one = TrainBatch(*(field[user : user + 1] for field in (batch.item_seq, batch.pos_items, batch.neg_items)))
        items = [item for item in one.item_seq[0].tolist() if item]
        places = [place for place in range(len(items)) if draws[user, place] < defense.ratio]
        mixture = {place: torch.eye(N_ITEMS - 1, dtype=torch.float64)[items[place] - 1] for place in places}
        for _ in range(defense.steps):
            rows = [model.item_embedding.weight.detach()[item] for item in one.item_seq[0]]
            for place in places:
                rows[place] = sum(mixture[place][v] * table[v] for v in range(N_ITEMS - 1))
            rows = [row.clone().requires_grad_() for row in rows]
            gradients = torch.autograd.grad(model.client_losses(one, torch.stack(rows)[None])[0], rows)
            for place in places:
                slope = torch.stack([(gradients[place] * table[v]).sum() for v in range(N_ITEMS - 1)])
                moved = mixture[place] + defense.step_size * slope / slope.pow(2).sum().sqrt()
                moved = torch.where(moved > 0, moved, 0.0)
                mixture[place] = moved / moved.sum()
        found.update({(user, place): mixture[place] for place in places})
    return found


@pytest.mark.parametrize("defense", [AdversarialTraining(3, 1.0, 0.5), AdversarialTraining(1, 0.2, 1.0)], ids=str)
def test_losses_are_the_mean_over_plain_and_hostile_sequences(model: Any, defense: AdversarialTraining) -> None:
    batch, draws = batch_of([1, 4, 7, 3])
    model.eval()
    item_emb = model.embed(batch.item_seq).detach()
    for (user, place), mixture in hostile_by_loops(model, batch, draws, defense).items():
        item_emb[user, place] = mixture @ model.item_embedding.weight.detach()[1:N_ITEMS]
    expected = (model.client_losses(batch) + model.client_losses(batch, item_emb)) / 2
    torch.testing.assert_close(defense(model, batch, draws), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(expected, model.client_losses(batch), rtol=1e-5)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=5), seed=st.integers(0, 999), steps=st.integers(1, 4))
def test_the_ascent_gives_distributions(model: Any, lengths: list[int], seed: int, steps: int) -> None:
    batch, draws = batch_of(lengths, seed)
    defense = AdversarialTraining(steps, 0.05, 0.7)
    changed = (draws[:, :-1] < 0.7) & (batch.item_seq != 0)
    model.eval()
    mixture = defense._ascend(model, batch, batch.item_seq, changed)
    assert mixture.shape == (int(changed.sum()), N_ITEMS - 1)
    assert (mixture >= 0).all()
    torch.testing.assert_close(mixture.sum(1), torch.ones(len(mixture), dtype=torch.float64))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_ascent_hurts_most_users(model: Any, steps: int) -> None:
    """Not all: what is negative is cut off and the rest normalised, so a single step may also go down."""
    batch, draws = batch_of([1 + user % 8 for user in range(200)], seed=1)
    defense = AdversarialTraining(steps, 0.05, 0.7)
    model.eval()
    plain = model.client_losses(batch)
    hostile = 2 * defense(model, batch, draws) - plain
    touched = (hostile - plain).abs() > 1e-12
    assert touched.sum() > 150
    assert (hostile > plain)[touched].float().mean() > 0.7
    assert hostile.sum() > plain.sum()


@pytest.mark.parametrize("defense", [AdversarialTraining(0, 1.0, 0.5), AdversarialTraining(3, 1.0, 0.0)], ids=str)
def test_nothing_to_change_is_plain_training(model: Any, defense: AdversarialTraining) -> None:
    batch, draws = batch_of([3, 5])
    model.eval()
    torch.testing.assert_close(defense(model, batch, draws), model.client_losses(batch))


def test_items_that_lead_nowhere_stay_as_they_are(model: Any) -> None:
    """No item's embedding lies along the slope: none is better than another, and there is nothing to divide by."""
    batch, draws = batch_of([3, 5])
    with torch.no_grad():
        model.item_embedding.weight.zero_()
    changed = (draws[:, :-1] < 0.7) & (batch.item_seq != 0)
    mixture = AdversarialTraining(3, 1.0, 0.7)._ascend(model.eval(), batch, batch.item_seq, changed)
    own = torch.nn.functional.one_hot(batch.item_seq[changed] - 1, N_ITEMS - 1)
    torch.testing.assert_close(mixture, own.to(mixture))


def test_users_do_not_change_each_other(model: Any) -> None:
    batch, draws = batch_of([6, 2, 5])
    defense = AdversarialTraining(3, 1.0, 0.5)
    together = defense(model.eval(), batch, draws)
    for user in range(3):
        rows = torch.tensor([user])
        alone = defense(model, batch.rows(rows), draws[rows])
        torch.testing.assert_close(alone, together[rows])


def test_the_search_sees_no_dropout_the_training_does_and_no_gradient_leaks_into_parameters(model: Any) -> None:
    batch, draws = batch_of([6, 2, 5])
    losses = AdversarialTraining(2, 1.0, 0.5)(model, batch, draws)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    again = AdversarialTraining(2, 1.0, 0.5)(model, batch, draws)
    assert not torch.allclose(losses, again)


def test_training_reaches_every_item_through_the_mixture(model: Any) -> None:
    batch, draws = batch_of([6, 2, 5])
    losses = AdversarialTraining(3, 1.0, 1.0)(model.eval(), batch, draws)
    (gradient,) = torch.autograd.grad(losses.sum(), model.item_embedding.weight)
    plain = torch.autograd.grad(model.client_losses(batch).sum(), model.item_embedding.weight)[0]
    assert (gradient[1:].abs().sum(1) > 0).sum() > (plain[1:].abs().sum(1) > 0).sum()
