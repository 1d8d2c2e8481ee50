"""One round: from groups of clients to the server's update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import torch

from recbole_attack.data import TrainBatch
from recbole_attack.defense import Aggregator
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.budget import upload_factors
from recbole_attack.federated.client_gradients import client_gradients, is_supported, looped_client_updates
from recbole_attack.federated.client_updates import ClientUpdates, concatenate
from recbole_attack.federated.memory import Memory
from recbole_attack.federated.server import Aggregated, aggregate
from recbole_attack.federated.suspicion import client_scores
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
        malicious: Whether the attacker controls these clients.
    """

    weights: torch.Tensor
    lengths: torch.Tensor
    losses: LossFunction
    batches: Sequence[TrainBatch] = field(default=())
    malicious: bool = False


class RoundUpdate(NamedTuple):
    """A round, its clients in the order of their groups.

    Attributes:
        losses: ``[N]`` losses of the clients.
        aggregated: What the server makes of their updates.
        norms: Gives the ``[N]`` lengths of what they sent, until the next round is computed; ``None`` where it was
            summed (:func:`round_path`), even if this backend had it.
        scores: What the configured client detectors say of what they sent, see
            :func:`~recbole_attack.federated.suspicion.client_scores`.
    """

    losses: torch.Tensor
    aggregated: Aggregated
    norms: Callable[[], torch.Tensor] | None = None
    scores: Mapping[str, torch.Tensor] = {}


Craft = Callable[[Any, ClientUpdates, torch.Tensor, torch.Tensor], ClientUpdates]
"""``(model, updates, malicious [N], weights [N]) -> updates``: what clients send, before ``gradient_scale`` and
``norm_budget``; those of honest clients are what they were."""

Backend = Callable[[Any, Sequence[ClientGroup], Aggregator, Any, Memory, Craft | None], RoundUpdate]
"""``(model, groups, aggregator, config, memory, craft) -> RoundUpdate``."""


def loop(
    model: Any,
    groups: Sequence[ClientGroup],
    aggregator: Aggregator,
    config: Any,
    memory: Memory,
    craft: Craft | None = None,
) -> RoundUpdate:
    """One client after the other, whole updates side by side: slow and obvious, the oracle of :func:`vectorised`."""
    weights = torch.cat([group.weights for group in groups])
    sent, losses = [], []
    for group in groups:
        epochs, rate = config["local_epochs"], config["local_learning_rate"]
        for update, loss in looped_updates(model, group.losses, len(group.weights), epochs, rate):
            sent.append(update)
            losses.append(loss)
    if craft is not None:
        sent = craft(model, _side_by_side(sent), _malicious(groups), weights).separate()
    if _is_limited(config):
        factors = _factors(_norms(sent), _malicious(groups), config).tolist()
        sent = [{name: f * u for name, u in update.items()} for f, update in zip(factors, sent, strict=True)]
    found = aggregate_one_by_one(sent, weights, aggregator, dict(model.named_parameters()))
    scores: Mapping[str, torch.Tensor] = {}
    if config["client_detectors"]:
        scores = client_scores(_side_by_side(sent), config["client_detectors"])
    summed = _path(model, aggregator, config, craft) == "summed"
    return RoundUpdate(torch.tensor(losses), found, None if summed else partial(_norms, sent), scores)


def _side_by_side(sent: Sequence[Update]) -> ClientUpdates:
    return concatenate([ClientUpdates.from_stacked({name: u[None] for name, u in one.items()}) for one in sent])


def _norms(sent: Sequence[Update]) -> torch.Tensor:
    return torch.stack([torch.cat([u.flatten().double() for u in update.values()]).norm() for update in sent])


def client_path(model: Any, local_epochs: int) -> PerClient:
    """How the updates of single honest clients are computed."""
    if "layers" in model.per_client and local_epochs == 1 and is_supported(model):
        return "layers"
    return "vmap" if "vmap" in model.per_client else "loop"


def round_path(
    model: Any, aggregator: Aggregator, local_epochs: int, seen: bool = False
) -> PerClient | Literal["summed"]:
    """How :func:`vectorised` computes what honest clients send; ``summed`` if no client's own update has to exist.

    Args:
        model: The victim.
        aggregator: The rule.
        local_epochs: Local steps of a client.
        seen: Whether anything but the rule looks at single updates; see :func:`looks_at_updates`.
    """
    return "summed" if aggregator.one_pass and not seen else client_path(model, local_epochs)


def _path(model: Any, aggregator: Aggregator, config: Any, craft: Craft | None) -> PerClient | Literal["summed"]:
    return round_path(model, aggregator, config["local_epochs"], looks_at_updates(config, craft is not None))


def looks_at_updates(config: Any, crafted: bool) -> bool:
    """Whether a norm budget, attackers who craft their uploads, or client detectors need clients' own updates."""
    return crafted or config["norm_budget"] is not None or bool(config["client_detectors"])


def vectorised(
    model: Any,
    groups: Sequence[ClientGroup],
    aggregator: Aggregator,
    config: Any,
    memory: Memory,
    craft: Craft | None = None,
) -> RoundUpdate:
    """Many clients at once.

    Rules whose factors depend on the weights alone need no client's own update, unless something else does
    (:func:`looks_at_updates`); all others get updates with sparse item rows, by layer or stacked where the model allows
    it.
    """
    if _path(model, aggregator, config, craft) == "summed":
        return _linear(model, groups, aggregator, config)
    weights = torch.cat([group.weights for group in groups])
    updates, losses = single_updates(model, groups, config, memory)
    if craft is not None:
        updates = craft(model, updates, _malicious(groups), weights)
    sent = uploaded(updates, _malicious(groups), config)
    scores = client_scores(sent, config["client_detectors"])
    return RoundUpdate(losses, aggregate(sent, weights, aggregator), sent.norms, scores)


BACKENDS: dict[str, Backend] = {"vectorised": vectorised, "loop": loop}
"""How client updates are computed, by the name ``--backend`` takes."""


def _linear(model: Any, groups: Sequence[ClientGroup], aggregator: Aggregator, config: Any) -> RoundUpdate:
    factors = aggregator.factors(torch.cat([group.weights for group in groups]))
    update, losses = summed_updates(model, groups, factors, config)
    everyone = torch.ones_like(losses, dtype=torch.bool)
    return RoundUpdate(losses, Aggregated(update, everyone, {}, factors.double(), 0, 0.0))


def summed_updates(
    model: Any, groups: Sequence[ClientGroup], factors: torch.Tensor, config: Any
) -> tuple[Update, torch.Tensor]:
    """``sum_c factors[c] * upload_c`` over all clients of a round, and their ``[N]`` losses on the CPU.

    Args:
        model: The global model; not changed.
        groups: The round's clients, at least one.
        factors: ``[N]``, in the order of the groups.
        config: ``gradient_scale``, ``local_epochs``, ``local_learning_rate`` and ``chunk_tokens``.
    """
    shares = list(factors.split([len(group.weights) for group in groups]))
    shares = [config["gradient_scale"] * s if g.malicious else s for g, s in zip(groups, shares, strict=True)]
    parts = [_weighted_sum(model, group, share, config) for group, share in zip(groups, shares, strict=True)]
    update = {name: sum((part[name] for part, _ in parts[1:]), start=value) for name, value in parts[0][0].items()}
    return update, torch.cat([losses.cpu() for _, losses in parts])


def single_updates(
    model: Any, groups: Sequence[ClientGroup], config: Any, memory: Memory
) -> tuple[ClientUpdates, torch.Tensor]:
    """Every client's own update before it is made louder or softer, and their ``[N]`` losses on the CPU.

    Args:
        model: The global model; not changed.
        groups: The round's clients, at least one.
        config: ``local_epochs``, ``local_learning_rate`` and ``chunk_tokens``.
        memory: Where the updates' dense parts may stand.
    """
    sizes = [len(group.weights) for group in groups]
    dense, parts, losses = memory.take(sum(sizes), model), [], []
    for group, rows in zip(groups, dense.split(sizes), strict=True):
        updates, first = _client_updates(model, group, config, rows)
        parts.append(updates.stored_in(rows))
        losses.append(first.cpu())
    return concatenate(parts, dense), torch.cat(losses)


def uploaded(updates: ClientUpdates, malicious: torch.Tensor, config: Any) -> ClientUpdates:
    """What clients send of their updates: ``malicious`` ones (``[N]`` bool) may scale and have to limit theirs."""
    if not _is_limited(config):
        return updates
    return updates.scaled(_factors(updates.norms(), malicious, config))


def _is_limited(config: Any) -> bool:
    """Whether malicious clients upload anything else than their updates."""
    return config["gradient_scale"] != 1 or config["norm_budget"] is not None


def _factors(norms: torch.Tensor, malicious: torch.Tensor, config: Any) -> torch.Tensor:
    """``[N]`` what each client's update is multiplied by before it is uploaded."""
    return upload_factors(norms, malicious.to(norms.device), config["gradient_scale"], config["norm_budget"])


def _malicious(groups: Sequence[ClientGroup]) -> torch.Tensor:
    return torch.cat([torch.full_like(group.weights, group.malicious, dtype=torch.bool) for group in groups])


def _client_updates(
    model: Any, group: ClientGroup, config: Any, memory: torch.Tensor
) -> tuple[ClientUpdates, torch.Tensor]:
    """Updates and first losses of a group's clients; their dense part may stand in ``memory``, ``[N, P]``."""
    epochs, rate, chunk = (config[key] for key in ("local_epochs", "local_learning_rate", "chunk_tokens"))
    path = client_path(model, epochs) if group.batches else "loop"
    if path == "loop":
        return looped_client_updates(model, group.losses, len(group.weights), epochs, rate)
    if path == "layers":
        return client_gradients(model, group.losses, group.lengths, chunk, memory)
    stacked = list(stacked_updates(model, group.batches, rate, chunk))
    order = torch.cat([clients for clients, _, _ in stacked])
    updates = concatenate([ClientUpdates.from_stacked(part) for _, part, _ in stacked]).reordered(order)
    return updates, torch.cat([first for _, _, first in stacked])[order.argsort()]


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
