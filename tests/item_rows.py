"""Updates of a small model whose item rows are sparse, what it shows, and the server's two ways to aggregate them."""

from __future__ import annotations

import torch

from recbole_attack.defense import Aggregator
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import Aggregated, aggregate

V, H = 7, 3
PARAMETERS = {"body": torch.zeros(4), ITEM_TABLE: torch.zeros(V, H)}
Updates = dict[str, torch.Tensor]


def stacked(n: int, share: float, seed: int) -> tuple[Updates, torch.Tensor]:
    """Updates of ``n`` clients, each touching an item with probability ``share``, and their weights."""
    generator = torch.Generator().manual_seed(seed)
    updates = {name: torch.randn(n, *p.shape, generator=generator) for name, p in PARAMETERS.items()}
    updates[ITEM_TABLE] *= torch.rand(n, V, 1, generator=generator) < share
    return updates, 0.5 + torch.rand(n, generator=generator)


def asked(table: torch.Tensor, items: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A model whose users are the means of the items they had: its states, and scores of all but these."""
    states = table[items].masked_fill((items == 0)[..., None], 0.0).sum(dim=1) / lengths[:, None]
    scores = (states @ table.T).scatter(1, items, -torch.inf)
    return states, scores.index_fill(1, torch.tensor([0]), -torch.inf)


def fast(updates: Updates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    """On sparse rows."""
    return aggregate(ClientUpdates.from_stacked(updates), weights, aggregator)


def slow(updates: Updates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    """One by one."""
    sent = [{name: value[client] for name, value in updates.items()} for client in range(len(weights))]
    return aggregate_one_by_one(sent, weights, aggregator, PARAMETERS)
