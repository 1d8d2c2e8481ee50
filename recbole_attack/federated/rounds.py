"""One round: from groups of clients to the server's update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from recbole_attack.data import TrainBatch
from recbole_attack.defense import Aggregator
from recbole_attack.federated.updates import (
    LossFunction,
    Update,
    looped_updates,
    stacked_updates,
    summed_gradient,
)


@dataclass(frozen=True)
class ClientGroup:
    """Clients of one round that compute the same kind of loss.

    Attributes:
        weights: ``[N]`` weight of each client in the aggregation, before normalisation.
        lengths: ``[N]`` tokens each client's loss goes through, on the CPU.
        losses: See :data:`~recbole_attack.federated.updates.LossFunction`.
        batches: Honest clients' data at each local step; empty for clients whose steps cannot be stacked.
    """

    weights: torch.Tensor
    lengths: torch.Tensor
    losses: LossFunction
    batches: Sequence[TrainBatch] = field(default=())


Backend = Callable[[Any, Sequence[ClientGroup], Aggregator, Any], tuple[Update, torch.Tensor]]
"""``(model, groups, aggregator, config) -> (update, losses of all clients in order)``."""


def loop(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> tuple[Update, torch.Tensor]:
    """One client after the other, whole updates side by side: slow and obvious, the oracle of :func:`vectorised`."""
    weights = torch.cat([group.weights for group in groups])
    flat, losses = [], []
    for group in groups:
        epochs, rate = config["local_epochs"], config["local_learning_rate"]
        for update, loss in looped_updates(model, group.losses, len(group.weights), epochs, rate):
            flat.append(torch.cat([u.flatten() for u in update.values()]))
            losses.append(loss)
    combined = aggregator.apply(torch.stack(flat), weights).update
    parameters = dict(model.named_parameters())
    pieces = combined.split([p.numel() for p in parameters.values()])
    return {n: piece.view_as(p) for (n, p), piece in zip(parameters.items(), pieces, strict=True)}, torch.tensor(losses)


def vectorised(
    model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any
) -> tuple[Update, torch.Tensor]:
    """Many clients at once, for aggregators that are a weighted sum; no client's own update is kept.

    Other aggregators need every client's own update, so for them it is :func:`loop`.
    """
    if not aggregator.linear:
        return loop(model, groups, aggregator, config)
    factors = aggregator.factors(torch.cat([group.weights for group in groups]))
    shares = factors.split([len(group.weights) for group in groups])
    parts = [_weighted_sum(model, group, share, config) for group, share in zip(groups, shares, strict=True)]
    update = {name: sum((part[name] for part, _ in parts[1:]), start=value) for name, value in parts[0][0].items()}
    return update, torch.cat([losses.cpu() for _, losses in parts])


BACKENDS: dict[str, Backend] = {"vectorised": vectorised, "loop": loop}
"""How client updates are computed, by the name ``--backend`` takes."""


def _weighted_sum(model: Any, group: ClientGroup, weights: torch.Tensor, config: Any) -> tuple[Update, torch.Tensor]:
    if config["local_epochs"] == 1:
        return summed_gradient(model, group.losses, group.lengths, weights, config["chunk_tokens"])
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    losses = torch.zeros(len(weights))
    for clients, updates, first in _local_updates(model, group, config):
        losses[clients] = first.cpu()
        for name, value in updates.items():
            total[name] += torch.tensordot(weights[clients], value, dims=1)
    return total, losses


def _local_updates(model: Any, group: ClientGroup, config: Any) -> Iterator[tuple[torch.Tensor, Update, torch.Tensor]]:
    """Parameter differences of a group's clients, stacked where their steps can be, one by one otherwise."""
    rate = config["local_learning_rate"]
    if group.batches:
        yield from stacked_updates(model, group.batches, rate, config["chunk_tokens"])
        return
    looped = looped_updates(model, group.losses, len(group.weights), config["local_epochs"], rate)
    for client, (update, loss) in enumerate(looped):
        stacked = {name: value.unsqueeze(0) for name, value in update.items()}
        yield torch.tensor([client]), stacked, torch.tensor([loss])
