"""Malicious clients that choose what they upload after all updates of a round are computed.

What they get to see is an :class:`~recbole_attack.attack.attack.Uploading`; what they do with it is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from recbole_attack.attack import AttackContext, Clients, Profile, Upload, Uploading
from recbole_attack.defense import Aggregator
from recbole_attack.federated.client_updates import ClientUpdates, concatenate
from recbole_attack.federated.knowledge import informed, training_group
from recbole_attack.federated.memory import Memory
from recbole_attack.federated.rounds import single_updates, uploaded
from recbole_attack.federated.server import aggregate
from recbole_attack.federated.updates import Update
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import torch_stream


@dataclass(frozen=True)
class Crafting:
    """What the attacker makes of its clients' updates in one round; see :data:`~recbole_attack.federated.rounds.Craft`.

    Attributes:
        upload: How.
        context: What it sees.
        aggregator: The rule of the server with what it remembers, without what it draws and knows.
        config: The run's configuration.
        round: Epoch, and number of the round in it.
        honest_weight: Of an honest client, as far as the attacker can tell: the mean of what its own have without a
            claim.
    """

    upload: Upload
    context: AttackContext
    aggregator: Aggregator
    config: Any
    round: tuple[int, int]
    honest_weight: float

    def __call__(
        self, model: Any, updates: ClientUpdates, malicious: torch.Tensor, weights: torch.Tensor
    ) -> ClientUpdates:
        malicious = malicious.to(updates.client.device)
        if not malicious.any():
            return updates
        everyone = Clients(updates, weights.to(updates.client.device))
        honest, own = everyone.only(~malicious), everyone.only(malicious)

        def trained(profile: Profile) -> Clients:
            return self._trained(model, profile)

        rule = cache(lambda: informed(self.aggregator, model, self.config))

        def served(honest: Clients, own: Clients) -> Update:
            return self._served(rule(), honest, own)

        crafted = self.upload(Uploading(model, own, honest, self.context, self.round, trained, served))
        if not isinstance(crafted, ClientUpdates) or len(crafted) != len(own.updates):
            found = f"{len(crafted)}" if isinstance(crafted, ClientUpdates) else type(crafted).__name__
            raise ConfigError(f"the attack's upload must return updates of {len(own.updates)} clients: found {found}")
        order = torch.cat([(~malicious).nonzero().squeeze(1), malicious.nonzero().squeeze(1)])
        return concatenate([honest.updates, crafted]).reordered(order)

    def _trained(self, model: Any, profile: Profile) -> Clients:
        seed, steps = self.context.seed, self.config["local_epochs"]
        group = training_group(model, profile, steps, seed, "simulated", self.round)
        weights = torch.full_like(group.weights, self.honest_weight)
        group = replace(group, weights=weights)
        with torch_stream(weights.device, seed, "simulated dropout", *self.round):
            updates, _ = single_updates(model, [group], self.config, Memory())
        return Clients(updates.to(weights.device), weights)

    def _served(self, rule: Aggregator, honest: Clients, own: Clients) -> Update:
        updates = concatenate([honest.updates, own.updates])
        weights = torch.cat([honest.weights, own.weights])
        malicious = torch.arange(len(updates), device=weights.device) >= len(honest.updates)
        return dict(aggregate(uploaded(updates, malicious, self.config), weights, rule).update)
