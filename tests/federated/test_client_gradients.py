"""Each client's gradient out of one batched pass, against one client at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from recbole_attack.data import TrainBatch
from recbole_attack.federated.client_gradients import client_gradients, is_supported, looped_client_updates
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.updates import LossFunction, looped_updates, summed_gradient

MAX_LENGTH = 12
LENGTHS = list(range(1, MAX_LENGTH + 1))
CHUNKS = st.sampled_from([1, 5, 13, 24, 60, 10**6])
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


def losses_of(batch: TrainBatch) -> LossFunction:
    return lambda model, clients, step: model.client_losses(batch.rows(clients))


def batched(model: Any, batch: TrainBatch, chunk_tokens: int = 30) -> tuple[ClientUpdates, torch.Tensor]:
    return client_gradients(model, losses_of(batch), batch.lengths, chunk_tokens)


def one_by_one(model: Any, batch: TrainBatch) -> tuple[torch.Tensor, list[float]]:
    """``[N, P]`` dense gradients and losses by the oracle."""
    pairs = list(looped_updates(model, losses_of(batch), len(batch.item_seq), 1, 0.0))
    flat = [torch.cat([value.flatten() for value in update.values()]) for update, _ in pairs]
    return torch.stack(flat), [loss for _, loss in pairs]


def touched(batch: TrainBatch) -> list[tuple[int, int]]:
    """(client, item) of all items that occur in the client's data."""
    rows = zip(*(field.tolist() for field in batch[:3]), strict=True)
    return [(c, item) for c, fields in enumerate(rows) for item in sorted({i for f in fields for i in f} - {0})]


def every_parameter_matters(model: nn.Module, gradients: torch.Tensor) -> None:
    """Gradients are well above the tolerance; not those of a key's bias, which a softmax does not see."""
    pieces = gradients.abs().amax(0).split([p.numel() for p in model.parameters()])
    largest = {name: piece.max() for (name, _), piece in zip(model.named_parameters(), pieces, strict=True)}
    assert [n for n, value in largest.items() if value < 1e-4 and not n.endswith("key.bias")] == []


def check(model: Any, batch: TrainBatch, chunk_tokens: int) -> None:
    updates, values = batched(model, batch, chunk_tokens)
    expected, losses = one_by_one(model, batch)
    assert values.tolist() == pytest.approx(losses, rel=1e-4)
    assert list(updates.shapes) == [name for name, _ in model.named_parameters()]
    torch.testing.assert_close(updates.to_dense(), expected, rtol=1e-4, atol=1e-5)
    assert list(zip(updates.client.tolist(), updates.item.tolist(), strict=True)) == touched(batch)
    gram = expected.double() @ expected.double().T
    torch.testing.assert_close(updates.gram(), gram, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk_tokens", [1, 30, 10**6])
def test_clients_of_all_lengths(victim: Any, clients_of: Callable[..., TrainBatch], chunk_tokens: int) -> None:
    model, batch = victim(), clients_of(LENGTHS)
    check(model, batch, chunk_tokens)
    every_parameter_matters(model, one_by_one(model, batch)[0])


@settings(max_examples=20, deadline=None, suppress_health_check=SLOW_FIXTURE)
@given(
    lengths=st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=8),
    chunk_tokens=CHUNKS,
    n_items=st.sampled_from([2, 4, 40]),
    seed=st.integers(0, 1000),
)
def test_any_clients_in_any_chunks(
    victim: Any, clients_of: Any, lengths: list[int], chunk_tokens: int, n_items: int, seed: int
) -> None:
    """With ``n_items`` 2 all clients share the one item there is, and repeat it at every position."""
    check(victim(), clients_of(lengths, seed, n_items), chunk_tokens)


def test_weighted_gradients_sum_to_the_batched_one(victim: Any, clients_of: Any) -> None:
    model, batch = victim(), clients_of(LENGTHS)
    weights = torch.linspace(0.1, 1.0, len(LENGTHS))
    expected, _ = summed_gradient(model, losses_of(batch), batch.lengths, weights, 30)
    for name, value in batched(model, batch)[0].weighted_sum(weights).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_dropout_is_that_of_the_summed_gradient(victim: Any, clients_of: Any) -> None:
    model, batch, weights = victim(dropout=0.4), clients_of(LENGTHS), torch.ones(len(LENGTHS))
    torch.manual_seed(3)
    expected, losses = summed_gradient(model, losses_of(batch), batch.lengths, weights, 30)
    torch.manual_seed(3)
    updates, values = batched(model, batch)
    torch.testing.assert_close(values, losses)
    for name, value in updates.weighted_sum(weights).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(batched(model, batch)[1], values, rtol=1e-2)


def test_clients_with_the_same_data_draw_their_own_dropout(victim: Any, clients_of: Any) -> None:
    twins = TrainBatch(*(field.repeat(2, 1) for field in clients_of([8])[:3]))
    assert torch.equal(*batched(victim(), twins)[0].to_dense())
    first, second = batched(victim(dropout=0.4), twins)[0].to_dense()
    assert not torch.allclose(first, second, rtol=1e-2, atol=1e-3)


def test_no_clients(victim: Any, clients_of: Any) -> None:
    model = victim()
    updates, values = client_gradients(model, losses_of(clients_of([3])), torch.zeros(0, dtype=torch.int64), 30)
    assert len(updates) == len(values) == 0
    assert not any(value.any() for value in updates.weighted_sum(torch.zeros(0)).values())


def test_memory_is_used_again(victim: Any, clients_of: Any) -> None:
    model, batch = victim(), clients_of(LENGTHS)
    fresh = batched(model, batch)[0]
    memory = torch.full((20, fresh.dense.shape[1]), float("nan"))
    reused, _ = client_gradients(model, losses_of(batch), batch.lengths, 30, memory)
    assert reused.dense.data_ptr() == memory.data_ptr()
    assert torch.equal(reused.to_dense(), fresh.to_dense())


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_not_changed(victim: Any, clients_of: Any, training: bool) -> None:
    model = victim().train(training)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    batched(model, clients_of(LENGTHS))
    looped_client_updates(model, losses_of(clients_of(LENGTHS)), 3, 2, 0.1)
    with pytest.raises(RuntimeError, match="in the middle"):
        client_gradients(model, _failing, torch.tensor([2]), 30)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


def _failing(model: Any, clients: torch.Tensor, step: int) -> torch.Tensor:
    model.embed(torch.tensor([[1, 2]]))
    raise RuntimeError("in the middle")


@pytest.mark.parametrize("local_epochs", [1, 3])
def test_looped_updates_are_kept_sparse(victim: Any, clients_of: Any, local_epochs: int) -> None:
    """Whatever the losses: here they also touch item 39 of every client, and reach the table without a layer."""

    def losses(model: Any, clients: torch.Tensor, step: int) -> torch.Tensor:
        return model.client_losses(batch.rows(clients)) + model.item_embedding.weight[39].sum()

    model, batch = victim(), clients_of([1, 5, 9], n_items=20)
    updates, values = looped_client_updates(model, losses, 3, local_epochs, 0.1)
    pairs = list(looped_updates(model, losses, 3, local_epochs, 0.1))
    expected = torch.stack([torch.cat([v.flatten() for v in update.values()]) for update, _ in pairs])
    assert torch.equal(updates.to_dense(), expected)
    assert values.tolist() == pytest.approx([loss for _, loss in pairs])
    assert {39} < set(updates.item.tolist()) < set(range(1, 40))
    assert len(updates.rows) == len(touched(batch)) + 3


class Pooled(nn.Module):
    """A model whose layers are used in ways SASRec's are not: twice, on vectors, on three axes, without bias."""

    def __init__(self, padding_idx: int | None = None) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(10, 4, padding_idx=padding_idx)
        self.kind = nn.Embedding(3, 4, padding_idx=1)
        self.norm = nn.LayerNorm(4, bias=False)
        self.twice = nn.Linear(4, 4, bias=False)
        self.out = nn.Linear(4, 1)

    def client_losses(self, batch: TrainBatch) -> torch.Tensor:
        hidden = self.norm(self.item_embedding(batch.item_seq)) + self.kind(batch.item_seq % 3)
        hidden = torch.tanh(self.twice(torch.tanh(self.twice(hidden[:, :, None]))))
        real = batch.item_seq != 0
        return self.out(self.norm((hidden.squeeze(2) * real[..., None]).sum(1))).squeeze(1) ** 2


@pytest.mark.parametrize("padding_idx", [None, 0])
def test_layers_of_other_models(clients_of: Any, padding_idx: int | None) -> None:
    torch.manual_seed(0)
    model, batch = Pooled(padding_idx), clients_of([1, 2, 5, 5], n_items=10)
    assert is_supported(model)
    updates, _ = batched(model, batch, 12)
    expected, _ = one_by_one(model, batch)
    torch.testing.assert_close(updates.to_dense(), expected, rtol=1e-4, atol=1e-5)
    every_parameter_matters(model, expected)


def test_an_unused_layer_has_no_gradient(clients_of: Any) -> None:
    model, batch = Pooled(), clients_of([3, 4], n_items=10)
    model.unused = nn.Linear(2, 2)
    memory = torch.full((2, 43), float("nan"))
    updates, _ = client_gradients(model, losses_of(batch), batch.lengths, 30, memory)
    assert updates.is_finite().all() and not updates.dense[:, -6:].any() and updates.dense[:, -7].all()


class Tied(Pooled):
    """Scores by the embedding table itself: every item's gradient is dense."""

    def client_losses(self, batch: TrainBatch) -> torch.Tensor:
        return (self.item_embedding(batch.item_seq).sum(1) @ self.item_embedding.weight.T).logsumexp(1)


class Shared(Pooled):
    """Calls a layer on what is no client's own."""

    def client_losses(self, batch: TrainBatch) -> torch.Tensor:
        return super().client_losses(batch) + self.kind(torch.arange(3)).sum()


class Recurrent(Pooled):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 4)


class Twins(Pooled):
    def __init__(self) -> None:
        super().__init__()
        self.twin = nn.Linear(4, 4, bias=False)
        self.twin.weight = self.twice.weight


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Tied, rf"\['{ITEM_TABLE}'\] are used outside the layers"),
        (Shared, "kind was called on 3 rows for 2 clients"),
        (Recurrent, "Recurrent has .* layers with parameters other than Linear, LayerNorm, Embedding"),
        (Twins, "shared parameters"),
        (lambda: nn.Linear(2, 2), f"Linear has no {ITEM_TABLE}"),
    ],
)
def test_gradients_that_cannot_be_told_apart_are_refused(clients_of: Any, kind: Any, message: str) -> None:
    model = kind()
    with pytest.raises(ValueError, match=message):
        batched(model, clients_of([2, 2], n_items=10))
    assert all(parameter.requires_grad for parameter in model.parameters())
