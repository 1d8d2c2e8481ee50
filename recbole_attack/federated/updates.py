"""Client updates: what each client sends back, one by one or many in one step.

A client's update is the gradient of its loss at the server's parameters when it trains one local step, and the
difference between the server's parameters and its own when it trains several. Both point the same way, so the server
treats them alike.

:func:`looped_updates` is the obvious reading, a client at a time. :func:`summed_gradient` and
:func:`stacked_updates` give the same numbers for many clients at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from recbole_attack.data.batches import TrainBatch, length_chunks

Update = dict[str, torch.Tensor]
"""Parameter name -> update, shaped like the parameter (stacked: ``[B, ...]``)."""

LossFunction = Callable[[nn.Module, torch.Tensor, int], torch.Tensor]
"""``(model, clients [B], local step) -> [B]`` losses; client ``c``'s loss depends on no other client."""


_STACKED_PARAMETERS = 1 << 26
"""Parameters that stacked clients may hold at once: 256 MiB."""


def looped_updates(
    model: nn.Module, losses: LossFunction, n_clients: int, local_epochs: int, local_learning_rate: float
) -> Iterator[tuple[Update, float]]:
    """Each client's update and first loss, in order.

    Args:
        model: The global model; not changed.
        losses: The clients' losses.
        n_clients: Clients ``0..n_clients-1`` of ``losses``.
        local_epochs: Local steps E, at least 1.
        local_learning_rate: Rate of the local SGD steps; unused when E is 1.
    """
    device = next(model.parameters()).device
    local = copy.deepcopy(model)  # once: it takes longer than a client's training
    parameters, start, own = dict(local.named_parameters()), model.state_dict(), local.state_dict()
    for client in range(n_clients):
        for name, value in start.items():
            own[name].copy_(value)
        first = 0.0
        for step in range(local_epochs):
            loss = losses(local, torch.tensor([client], device=device), step).sum()
            gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
            first = first if step else loss.item()
            with torch.no_grad():
                for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                    parameter.sub_(local_learning_rate * gradient)
        if local_epochs == 1:
            yield dict(zip(parameters, gradients, strict=True)), first
        else:
            yield {name: (p - parameters[name]).detach() for name, p in model.named_parameters()}, first


def summed_gradient(
    model: nn.Module, losses: LossFunction, lengths: torch.Tensor, weights: torch.Tensor, chunk_tokens: int
) -> tuple[Update, torch.Tensor]:
    """``sum_c weights[c] * gradient_c`` by one backward pass per chunk of clients of similar length.

    Args:
        model: The global model; not changed.
        losses: The clients' losses.
        lengths: ``[N]`` length of each client's sequence, on the CPU.
        weights: ``[N]`` factors.
        chunk_tokens: At most about this many padded tokens are in memory at once; without dropout it does not change
            the result, with dropout it changes which masks are drawn.

    Returns:
        The summed gradient and the ``[N]`` losses.
    """
    parameters = dict(model.named_parameters())
    total = [torch.zeros_like(p) for p in parameters.values()]
    values = torch.zeros(len(lengths), device=weights.device)
    for clients in length_chunks(lengths, chunk_tokens):
        clients = clients.to(weights.device)
        loss = losses(model, clients, 0)
        values[clients] = loss.detach()
        gradients = torch.autograd.grad((weights[clients] * loss).sum(), list(parameters.values()), allow_unused=True)
        for accumulated, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                accumulated += gradient
    return dict(zip(parameters, total, strict=True)), values


def stacked_updates(
    model: Any, batches: Sequence[TrainBatch], local_learning_rate: float, chunk_tokens: int
) -> Iterator[tuple[torch.Tensor, Update, torch.Tensor]]:
    """Updates of honest clients after ``len(batches)`` local steps, a chunk of clients at a time.

    Args:
        model: The global model, which ``vmap`` can run; not changed.
        batches: The clients' training data at each local step; ``N`` rows each.
        local_learning_rate: Rate of the local SGD steps.
        chunk_tokens: As in :func:`summed_gradient`; every client of a chunk holds a copy of the parameters.

    Yields:
        The chunk's ``[B]`` clients, their stacked updates and their ``[B]`` first losses.
    """
    start = {name: p.detach() for name, p in model.named_parameters()}
    wrapped = _ClientLoss(model)

    def loss(parameters: Update, row: tuple[torch.Tensor, ...]) -> torch.Tensor:
        one = tuple(field.unsqueeze(0) for field in row)
        return functional_call(wrapped, {f"model.{k}": v for k, v in parameters.items()}, one)

    step_all = vmap(grad_and_value(loss), in_dims=(0, 0), randomness="different")
    size = sum(p.numel() for p in start.values())
    for clients in length_chunks(batches[0].lengths.cpu(), chunk_tokens, _STACKED_PARAMETERS // size):
        local = {name: p.expand(len(clients), *p.shape) for name, p in start.items()}
        first = torch.zeros(len(clients))
        for step, batch in enumerate(batches):
            updates, values = step_all(local, model.loss_inputs(batch.rows(clients)))
            first = first if step else values.detach()
            if len(batches) > 1:
                local = {name: p - local_learning_rate * updates[name] for name, p in local.items()}
                updates = {name: start[name] - p for name, p in local.items()}
        yield clients, updates, first


class _ClientLoss(nn.Module):
    """The model seen as a module whose output is its client's loss, the form ``functional_call`` needs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model.losses(*inputs).squeeze(0)
