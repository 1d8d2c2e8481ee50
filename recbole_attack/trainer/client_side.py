"""What the clients of a round compute, wherever they do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.attack import Attack, AttackContext, Profile, configured_attack
from recbole_attack.data import TrainData
from recbole_attack.data.sequences import Int
from recbole_attack.defense import Aggregator, ClientDefense, Remembering, configured_client_defense
from recbole_attack.federated import ClientGroup
from recbole_attack.federated.budget import claimed
from recbole_attack.federated.crafting import Crafting
from recbole_attack.federated.updates import LossFunction
from recbole_attack.threat import Threat
from recbole_attack.trainer.client_draws import Drawn, honest_draws

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
        self.attack = configured_attack(config.final_config_dict)
        self.defense = configured_client_defense(config.final_config_dict)
        self.targets, self.malicious = torch.from_numpy(threat.targets).to(self.device), threat.malicious_users

    @property
    def remembers(self) -> bool:
        """Whether clients compare the model with an earlier one."""
        return bool(self.attack and self.attack.remembers) or isinstance(self.defense, Remembering)

    def period(self, epoch: int, index: int) -> int:
        """What tells the draws of one round from those of others: no client is asked twice in one.

        Where an epoch asks every client once it is the epoch, and else a round.
        """
        rounds = self.config["rounds_per_epoch"]
        return epoch if rounds is None else epoch * rounds + index

    def grouping(self, train_data: TrainData, period: int, before: torch.Tensor | None = None) -> Grouping:
        """How clients of any round of a period are grouped; ``before`` is what those remember that compare models."""
        drawn = honest_draws(train_data, period, self.config, self.model.needs_draws, self.defense is not None)

        def groups(honest: Int, malicious: Int) -> list[ClientGroup]:
            factors = torch.from_numpy(self.weights(train_data, honest, malicious)).to(self.device)
            of_honest, of_malicious = factors.split([len(honest), len(malicious)])
            found = []
            if len(honest):
                found.append(self._honest_group(train_data, honest, drawn(honest), of_honest, before))
            if len(malicious):
                assert self.attack is not None
                losses, cost = self._hostile(self.attack, train_data, malicious, period, before)
                found.append(ClientGroup(of_malicious, cost, losses, malicious=True))
            return found

        return groups

    def weights(self, train_data: TrainData, honest: Int, malicious: Int) -> NDArray[np.float32]:
        """``[H + M]`` weight of the clients of a round before normalisation, honest ones first.

        By the examples they say they have, which of malicious ones need not be the truth
        (:data:`~recbole_attack.federated.budget.CLAIMS`).
        """
        if self.config["client_weighting"] == "uniform":
            return np.ones(len(honest) + len(malicious), dtype=np.float32)
        known, own = train_data.examples_of(honest), train_data.examples_of(malicious)
        said = claimed(self.config["claimed_interactions"], own, known, int(train_data.examples.max()))
        return np.concatenate([known, said]).astype(np.float32)

    def crafting(
        self,
        train_data: TrainData,
        aggregator: Aggregator,
        epoch: int,
        index: int,
        before: torch.Tensor | None = None,
    ) -> Crafting | None:
        """How malicious clients choose what they upload in one round; ``None`` where it is what they computed.

        Args:
            train_data: The clients' data.
            aggregator: The rule as they know it.
            epoch: From 0.
            index: Of the round in the epoch.
            before: What those remember that compare models.
        """
        if self.attack is None or self.attack.upload is None:
            return None
        context = self._context(train_data, self.period(epoch, index), 0, before)
        uniform = self.config["client_weighting"] == "uniform"
        usual = 1.0 if uniform else float(train_data.examples_of(self.malicious).mean())
        return Crafting(self.attack.upload, context, aggregator, self.config, (epoch, index), usual)

    def candidates(self, train_data: TrainData, users: Int, period: int) -> float | None:
        """See :meth:`~recbole_attack.attack.attack.Attack.candidates`; ``None`` without a malicious client."""
        if self.attack is None or not len(users):
            return None
        context = self._context(train_data, period, 0)
        return self.attack.candidates(self.model, _profile(train_data, users).to(self.device), users, context)

    def _honest_group(
        self,
        train_data: TrainData,
        users: Int,
        drawn: list[Drawn],
        factors: torch.Tensor,
        before: torch.Tensor | None,
    ) -> ClientGroup:
        held = [train_data.aligned_batch(users, step.negatives, step.masks) for step in drawn]
        defense, tokens = self._defense(before), self.model.tokens(held[0].lengths)
        batches = [batch.to(self.device) for batch in held]

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return model.client_losses(batches[step].rows(rows))

        if defense is None:
            return ClientGroup(factors, tokens, losses, batches)
        draws = [torch.from_numpy(step.fate).to(self.device) for step in drawn if step.fate is not None]

        def defended(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return defense(model, batches[step].rows(rows), draws[step][rows])

        return ClientGroup(factors, tokens, defended)

    def _defense(self, before: torch.Tensor | None) -> ClientDefense | None:
        return self.defense.comparing(before) if isinstance(self.defense, Remembering) else self.defense

    def _hostile(
        self, attack: Attack, train_data: TrainData, users: Int, period: int, before: torch.Tensor | None
    ) -> tuple[LossFunction, torch.Tensor]:
        """Losses of malicious clients, and the ``[M]`` tokens each goes through."""
        held = _profile(train_data, users)
        profile = held.to(self.device)

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            clients = rows.cpu()
            width, rows = int(held.item_seq_len[clients].max()), rows.to(self.device)
            part = Profile(profile.item_seq[rows, :width], profile.item_seq_len[rows])
            context = self._context(train_data, period, step, before)
            return attack.losses(model, part, users[clients.numpy()], context)

        return losses, held.item_seq_len * attack.rows(len(self.targets))

    def _context(
        self, train_data: TrainData, period: int, step: int, before: torch.Tensor | None = None
    ) -> AttackContext:
        known = (self.targets, train_data.outside, self.seed, period, step, before)
        return AttackContext(*known, sequences=train_data.sequences)


def _profile(train_data: TrainData, users: Int) -> Profile:
    """What the clients of ``users`` hold."""
    return Profile(*(torch.from_numpy(part) for part in train_data.sequences.last(users, train_data.max_length)))
