"""One round: from groups of clients to the server's update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from recbole_attack.data import TrainBatch
from recbole_attack.defense import Aggregator
from recbole_attack.federated.client_gradients import client_gradients, is_supported, looped_client_updates
from recbole_attack.federated.client_updates import ClientUpdates, concatenate
from recbole_attack.federated.updates import (
    LossFunction,
    Update,
    looped_updates,
    stacked_updates,
    summed_gradient,
)
from recbole_attack.model import PerClient


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


class RoundUpdate(NamedTuple):
    """What the server makes of a round.

    Attributes:
        update: The aggregated update by parameter name.
        losses: ``[N]`` losses of the clients.
        kept: ``[N]``, False for clients whose update was rejected.
        client_weights: ``[N]``, the update being their weighted sum of updates; ``None`` for rules on coordinates.
        iterations: Steps of an iterative rule.
        residual: How far an iterative rule was from its fixed point.

    Clients stand in the order of their groups; within a group of stacked clients the order may differ.
    """

    update: Update
    losses: torch.Tensor
    kept: torch.Tensor
    client_weights: torch.Tensor | None
    iterations: int = 0
    residual: float = 0.0


Backend = Callable[[Any, Sequence[ClientGroup], Aggregator, Any], RoundUpdate]
"""``(model, groups, aggregator, config) -> RoundUpdate``."""


def loop(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> RoundUpdate:
    """One client after the other, whole updates side by side: slow and obvious, the oracle of :func:`vectorised`."""
    weights = torch.cat([group.weights for group in groups])
    flat, losses = [], []
    for group in groups:
        epochs, rate = config["local_epochs"], config["local_learning_rate"]
        for update, loss in looped_updates(model, group.losses, len(group.weights), epochs, rate):
            flat.append(torch.cat([u.flatten() for u in update.values()]))
            losses.append(loss)
    found = aggregator.apply(torch.stack(flat), weights)
    parameters = dict(model.named_parameters())
    pieces = found.update.split([p.numel() for p in parameters.values()])
    update = {n: piece.view_as(p) for (n, p), piece in zip(parameters.items(), pieces, strict=True)}
    return RoundUpdate(update, torch.tensor(losses), found.kept, found.client_weights, found.iterations, found.residual)


def client_path(model: Any, local_epochs: int) -> PerClient:
    """How the updates of single honest clients are computed."""
    if model.per_client == "layers" and local_epochs == 1 and is_supported(model):
        return "layers"
    return "loop" if model.per_client == "loop" else "vmap"


def round_path(model: Any, aggregator: Aggregator, local_epochs: int) -> PerClient | Literal["summed"]:
    """How :func:`vectorised` computes what honest clients send; ``summed`` if no client's own update has to exist."""
    if aggregator.linear:
        return "summed"
    return client_path(model, local_epochs) if aggregator.weigh is not None else "loop"


def vectorised(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> RoundUpdate:
    """Many clients at once.

    Rules whose factors depend on the weights alone need no client's own update. Rules on the Gram matrix get updates
    with sparse item rows, by layer or stacked where the model allows it. Rules on single coordinates run in
    :func:`loop`.
    """
    if aggregator.linear:
        return _linear(model, groups, aggregator, config)
    if aggregator.weigh is not None:
        return _by_gram(model, groups, aggregator, config)
    return loop(model, groups, aggregator, config)


BACKENDS: dict[str, Backend] = {"vectorised": vectorised, "loop": loop}
"""How client updates are computed, by the name ``--backend`` takes."""


def _linear(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> RoundUpdate:
    factors = aggregator.factors(torch.cat([group.weights for group in groups]))
    shares = factors.split([len(group.weights) for group in groups])
    parts = [_weighted_sum(model, group, share, config) for group, share in zip(groups, shares, strict=True)]
    update = {name: sum((part[name] for part, _ in parts[1:]), start=value) for name, value in parts[0][0].items()}
    losses = torch.cat([losses.cpu() for _, losses in parts])
    return RoundUpdate(update, losses, torch.ones_like(losses, dtype=torch.bool), factors)


def _by_gram(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> RoundUpdate:
    parts, weights, losses = zip(*(_client_updates(model, group, config) for group in groups), strict=True)
    updates = concatenate(parts)
    kept, found = aggregator.weighting(updates.gram(), torch.cat(weights))
    update = updates.select(kept).weighted_sum(found.client_weights[kept])
    everyone = torch.cat([loss.cpu() for loss in losses])
    return RoundUpdate(update, everyone, kept, found.client_weights, found.iterations, found.residual)


def _client_updates(model: Any, group: ClientGroup, config: Any) -> tuple[ClientUpdates, torch.Tensor, torch.Tensor]:
    """Updates, weights and first losses of a group's clients, all in one order."""
    epochs, rate, chunk = (config[key] for key in ("local_epochs", "local_learning_rate", "chunk_tokens"))
    path = client_path(model, epochs) if group.batches else "loop"
    if path == "loop":
        updates, losses = looped_client_updates(model, group.losses, len(group.weights), epochs, rate)
        return updates, group.weights, losses
    if path == "layers":
        updates, losses = client_gradients(model, group.losses, group.lengths, chunk)
        return updates, group.weights, losses
    stacked = list(stacked_updates(model, group.batches, rate, chunk))
    order = torch.cat([clients for clients, _, _ in stacked])
    updates = concatenate([ClientUpdates.from_stacked(part) for _, part, _ in stacked])
    return updates, group.weights[order], torch.cat([first for _, _, first in stacked])


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
    if group.batches and client_path(model, config["local_epochs"]) == "vmap":
        yield from stacked_updates(model, group.batches, rate, config["chunk_tokens"])
        return
    looped = looped_updates(model, group.losses, len(group.weights), config["local_epochs"], rate)
    for client, (update, loss) in enumerate(looped):
        stacked = {name: value.unsqueeze(0) for name, value in update.items()}
        yield torch.tensor([client]), stacked, torch.tensor([loss])
