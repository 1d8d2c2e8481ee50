"""What the clients of a round compute, wherever they do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recbole_attack.attack import ATTACKS, Attack, AttackContext, Profile
from recbole_attack.data import TrainData
from recbole_attack.data.batches import Float
from recbole_attack.data.sequences import Int
from recbole_attack.defense import CLIENT_DEFENSES
from recbole_attack.federated import ClientGroup
from recbole_attack.threat import Threat

Sampled = tuple[Int, Float | None, Float | None]
"""Of all training interactions at one local step: negatives, and what models and client defences draw, if they do."""

Grouping = Callable[[Int, Int], list[ClientGroup]]
"""``(honest users, malicious users) -> groups``: a round's clients by what they compute, honest ones first."""


class ClientSide:
    """The clients of one arm: their data, their losses, and what some of them do instead.

    Args:
        config: The arm's configuration.
        model: The global model.
        threat: Who is malicious, and what for.

    Attributes:
        attack: What malicious clients do; ``None`` without one.
    """

    def __init__(self, config: Any, model: Any, threat: Threat) -> None:
        self.config, self.model = config, model
        self.seed, self.device = int(config["seed"]), config["device"]
        self.attack = ATTACKS[config["attack"]](config.final_config_dict)
        self.defense = CLIENT_DEFENSES[config["client_defense"]](config.final_config_dict)
        self.targets = torch.from_numpy(threat.targets).to(self.device)

    def grouping(self, train_data: TrainData, epoch: int) -> Grouping:
        """How the clients of any round of an epoch are grouped; what the epoch draws at random is drawn once."""
        sampled = [self._sampled(train_data, epoch, step) for step in range(self.config["local_epochs"])]

        def groups(honest: Int, malicious: Int) -> list[ClientGroup]:
            weights, found = self.weights(train_data), []
            if len(honest):
                found.append(self._honest_group(train_data, honest, weights[honest], sampled))
            if len(malicious):
                assert self.attack is not None
                found.append(self._malicious_group(self.attack, train_data, malicious, weights[malicious], epoch))
            return found

        return groups

    def weights(self, train_data: TrainData) -> Any:
        """``[n_users]`` float32 weight of each user's client, before normalisation."""
        examples = self.config["client_weighting"] == "examples"
        return train_data.examples.astype(np.float32) if examples else np.ones(train_data.sequences.n_users, "f4")

    def candidates(self, train_data: TrainData, users: Int, epoch: int) -> float | None:
        """See :meth:`~recbole_attack.attack.attack.Attack.candidates`; ``None`` without a malicious client."""
        if self.attack is None or not len(users):
            return None
        context = self._context(train_data, epoch, 0)
        return self.attack.candidates(self.model, self._profile(train_data, users), users, context)

    def _sampled(self, train_data: TrainData, epoch: int, step: int) -> Sampled:
        draws = train_data.draws("masks", epoch, step) if self.model.needs_draws else None
        fate = train_data.draws("client defense", epoch, step) if self.defense else None
        negatives = train_data.shared_negatives if self.config["shared_negatives"] else train_data.negatives
        return negatives(epoch, step), draws, fate

    def _honest_group(self, train_data: TrainData, users: Int, weights: Any, sampled: list[Sampled]) -> ClientGroup:
        batches = [train_data.batch(users, negatives, masks).to(self.device) for negatives, masks, _ in sampled]
        fates = [fate for _, _, fate in sampled if fate is not None]
        defense, tokens = self.defense, self.model.tokens(batches[0].lengths).cpu()
        factors = torch.from_numpy(weights).to(self.device)

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return model.client_losses(batches[step].rows(rows))

        if defense is None:
            return ClientGroup(factors, tokens, losses, batches)
        draws = [train_data.aligned(values, users).to(self.device) for values in fates]

        def defended(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return defense(model, batches[step].rows(rows), draws[step][rows])

        return ClientGroup(factors, tokens, defended)

    def _malicious_group(
        self, attack: Attack, train_data: TrainData, users: Int, weights: Any, epoch: int
    ) -> ClientGroup:
        profile = self._profile(train_data, users)

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            width = int(profile.item_seq_len[rows].max())
            part = Profile(profile.item_seq[rows, :width], profile.item_seq_len[rows])
            return attack.losses(model, part, users[rows.cpu().numpy()], self._context(train_data, epoch, step))

        cost = profile.item_seq_len.cpu() * attack.rows(len(self.targets))
        return ClientGroup(torch.from_numpy(weights).to(self.device), cost, losses, malicious=True)

    def _profile(self, train_data: TrainData, users: Int) -> Profile:
        """What the clients of ``users`` hold."""
        items, lengths = train_data.sequences.last(users, train_data.max_length)
        return Profile(torch.from_numpy(items).to(self.device), torch.from_numpy(lengths).to(self.device))

    def _context(self, train_data: TrainData, epoch: int, step: int) -> AttackContext:
        return AttackContext(self.targets, train_data.outside, self.seed, epoch, step)
