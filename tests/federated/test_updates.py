"""Client updates: many at once against one by one, and one by one against PyTorch's own optimiser."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack.data import TrainBatch
from recbole_attack.data.batches import length_chunks
from recbole_attack.federated.updates import (
    LossFunction,
    Update,
    looped_updates,
    stacked_updates,
    summed_gradient,
)

N_ITEMS, MAX_LENGTH = 40, 12
LENGTHS = list(range(1, MAX_LENGTH + 1))
LENGTH_LISTS = st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=8)
CHUNKS = st.sampled_from([1, 5, 13, 24, 60, 10**6])
RATE = 0.3
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def model(victim: Callable[..., Any]) -> Any:
    """A SASRec without dropout whose weights are large enough for every parameter to matter."""
    return victim(scale=0.3)


def batch_of(lengths: list[int], seed: int = 0) -> TrainBatch:
    """One client for each length, with random items."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(1, N_ITEMS, (3, len(lengths), max(lengths)))
    fields[:, np.arange(max(lengths)) >= np.array(lengths)[:, None]] = 0
    return TrainBatch(*torch.from_numpy(fields))


def losses_of(batches: list[TrainBatch]) -> LossFunction:
    return lambda model, clients, step: model.client_losses(batches[step].rows(clients))


def looped(model: Any, batches: list[TrainBatch]) -> tuple[list[Update], list[float]]:
    pairs = list(looped_updates(model, losses_of(batches), len(batches[0].item_seq), len(batches), RATE))
    return [update for update, _ in pairs], [loss for _, loss in pairs]


def weights_of(lengths: list[int], weighting: str) -> torch.Tensor:
    return torch.tensor(lengths, dtype=torch.float32) if weighting == "examples" else torch.ones(len(lengths))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_one_local_step_sends_the_gradient(model: Any) -> None:
    batch = batch_of(LENGTHS)
    updates, losses = looped(model, [batch])
    for client, length in enumerate(LENGTHS):
        model.zero_grad()
        alone = TrainBatch(*(field[client : client + 1, :length] for field in batch[:3]))
        loss = model.client_losses(alone).sum()
        loss.backward()
        assert losses[client] == pytest.approx(loss.item(), rel=1e-5)
        for name, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert close(updates[client][name], expected), name
        assert updates[client]["item_embedding.weight"].norm() > 1e-3
    model.zero_grad()


@pytest.mark.parametrize("local_epochs", [2, 3])
def test_several_local_steps_send_what_sgd_took_away(model: Any, local_epochs: int) -> None:
    batches = [batch_of(LENGTHS, seed) for seed in range(local_epochs)]
    updates, losses = looped(model, batches)
    for client in range(len(LENGTHS)):
        local = copy.deepcopy(model)
        optimizer = torch.optim.SGD(local.parameters(), lr=RATE)
        first = None
        for batch in batches:
            optimizer.zero_grad()
            loss = local.client_losses(batch)[client]
            first = loss.item() if first is None else first
            loss.backward()
            optimizer.step()
        assert losses[client] == pytest.approx(first, rel=1e-5)
        for (name, start), end in zip(model.named_parameters(), local.parameters(), strict=True):
            assert close(updates[client][name], start - end), name
        assert updates[client]["item_embedding.weight"].norm() > 1e-3


@settings(max_examples=20, deadline=None, suppress_health_check=SLOW_FIXTURE)
@given(
    lengths=LENGTH_LISTS,
    chunk_tokens=CHUNKS,
    weighting=st.sampled_from(["uniform", "examples"]),
    seed=st.integers(0, 1000),
)
def test_the_summed_gradient_is_the_weighted_sum_of_the_clients(
    model: Any, lengths: list[int], chunk_tokens: int, weighting: str, seed: int
) -> None:
    batch, weights = batch_of(lengths, seed), weights_of(lengths, weighting)
    updates, losses = looped(model, [batch])
    total, values = summed_gradient(model, losses_of([batch]), torch.tensor(lengths), weights, chunk_tokens)
    assert values.tolist() == pytest.approx(losses, rel=1e-4)
    assert list(total) == [name for name, _ in model.named_parameters()]
    for name, value in total.items():
        expected = sum(w * update[name] for w, update in zip(weights, updates, strict=True))
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-5 * float(weights.sum())), name


@pytest.mark.parametrize("weighting", ["uniform", "examples"])
@pytest.mark.parametrize("chunk_tokens", [1, 30, 10**6])
def test_the_summed_gradient_of_all_lengths(model: Any, chunk_tokens: int, weighting: str) -> None:
    batch, weights = batch_of(LENGTHS), weights_of(LENGTHS, weighting)
    weights = weights / weights.sum()
    updates, _ = looped(model, [batch])
    total, _ = summed_gradient(model, losses_of([batch]), torch.tensor(LENGTHS), weights, chunk_tokens)
    for name, value in total.items():
        expected = sum(w * update[name] for w, update in zip(weights, updates, strict=True))
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-5), name
    assert total["item_embedding.weight"].norm() > 1e-2


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW_FIXTURE)
@given(lengths=LENGTH_LISTS, chunk_tokens=CHUNKS, local_epochs=st.sampled_from([2, 3]), seed=st.integers(0, 1000))
def test_stacked_updates_are_those_of_the_loop(
    model: Any, lengths: list[int], chunk_tokens: int, local_epochs: int, seed: int
) -> None:
    batches = [batch_of(lengths, seed + step) for step in range(local_epochs)]
    updates, losses = looped(model, batches)
    seen = []
    for clients, stacked, first in stacked_updates(model, batches, RATE, chunk_tokens):
        for place, client in enumerate(clients.tolist()):
            seen.append(client)
            assert first[place].item() == pytest.approx(losses[client], rel=1e-4)
            for name, value in stacked.items():
                assert close(value[place], updates[client][name]), name
    assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_not_changed(model: Any, training: bool) -> None:
    model.train(training)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [batch_of(LENGTHS, seed) for seed in range(2)]
    looped(model, batches[:1])
    looped(model, batches)
    summed_gradient(model, losses_of(batches), torch.tensor(LENGTHS), torch.ones(len(LENGTHS)), 30)
    list(stacked_updates(model, batches, RATE, 30))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(module.training == training for module in model.modules())


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 400))
def test_chunks_hold_every_client_once_within_the_budget(lengths: list[int], chunk_tokens: int) -> None:
    chunks = [chunk.tolist() for chunk in length_chunks(torch.tensor(lengths), chunk_tokens)]
    assert sorted(client for chunk in chunks for client in chunk) == list(range(len(lengths)))
    for index, chunk in enumerate(chunks):
        longest = max(lengths[client] for client in chunk)
        assert len(chunk) == 1 or len(chunk) * longest <= chunk_tokens
        if index + 1 < len(chunks):
            following = [lengths[client] for client in chunks[index + 1]]
            assert longest <= min(following), "clients of similar length share a chunk"
            assert (len(chunk) + 1) * min(following) > chunk_tokens, "no chunk is smaller than it has to be"
