"""What a layer's parameters get back from each client, against one backward pass a client."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recbole_attack.federated.layer_gradients import RULES, has_rule


def layers(size: int, out: int, bias: bool) -> list[nn.Module]:
    return [
        nn.Linear(size, out, bias=bias),
        nn.LayerNorm(size, bias=bias),
        nn.Embedding(6, size),
        nn.Embedding(6, size, padding_idx=0),
        nn.GRU(size, out, batch_first=True, bias=bias),
    ]


def output(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    found = layer(inputs)
    return found[0] if isinstance(found, tuple) else found


@settings(max_examples=25, deadline=None)
@given(
    clients=st.integers(1, 4),
    length=st.integers(1, 7),
    size=st.integers(1, 5),
    out=st.integers(1, 5),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_each_client_gets_what_it_gets_alone(
    clients: int, length: int, size: int, out: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    for layer in layers(size, out, bias):
        layer.double()
        lookup = isinstance(layer, nn.Embedding)
        shape = (clients, length) if lookup else (clients, length, size)
        inputs = torch.randint(6, shape) if lookup else torch.randn(shape, dtype=torch.float64)
        back = torch.randn_like(output(layer, inputs))
        back[0, length // 2 :] = 0.0  # a shorter client's padding
        found = RULES[type(layer)](layer, inputs, back)
        assert set(found) == {name for name, _ in layer.named_parameters()}
        for client in range(clients):
            loss = (output(layer, inputs[client : client + 1]) * back[client : client + 1]).sum()
            alone = torch.autograd.grad(loss, list(layer.parameters()))
            for (name, _), expected in zip(layer.named_parameters(), alone, strict=True):
                torch.testing.assert_close(found[name][client], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 2, 1),
        nn.LSTM(2, 2, batch_first=True),
        nn.GRU(2, 2),
        nn.GRU(2, 2, batch_first=True, num_layers=2),
        nn.GRU(2, 2, batch_first=True, bidirectional=True),
    ],
)
def test_what_no_rule_was_written_for_has_none(layer: nn.Module) -> None:
    assert not has_rule(layer)
