"""An attack is a value: a transform of the malicious clients' sequences and an objective on the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from recbole_attack.data.histories import Profile
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.rng import without_dropout

LEVELS = {
    "K0": "global model of every round",
    "K1": "popularity of the items",
    "K2": "interactions of other users",
    "K3": "the aggregation rule",
    "K4": "honest updates of the round",
}
"""What an attacker knows besides its own clients, from what the least powerful one has to what hardly any can have."""


def lowest_level(knowledge: Iterable[str]) -> str | None:
    """The lowest of :data:`LEVELS` that has all of it; ``None`` where none of them has a part of it."""
    known = {LEVELS["K0"], *knowledge}
    return max(level for level, what in LEVELS.items() if what in known) if known <= {*LEVELS.values()} else None


@dataclass(frozen=True)
class AttackContext:
    """What an attacker sees besides the global model and its clients' own sequences.

    Attributes:
        targets: ``[T]`` ids of the promoted items.
        outside: Sampler of items outside a malicious client's own history.
        seed: The run's seed.
        epoch: Current epoch.
        step: Current local step, 0 unless clients train more than one local epoch.
        before: ``[V, H]`` item rows of the model as it was at the start of the epoch before, for attacks that remember
            it; ``None`` in the first epoch.
        sequences: What users had in training; how much of it an attack may look at is said by its level.
    """

    targets: torch.Tensor
    outside: NonInteracted
    seed: int
    epoch: int = 0
    step: int = 0
    before: torch.Tensor | None = None
    sequences: UserSequences | None = None


class Transform(Protocol):
    """Changes malicious sequences before they are trained on."""

    def __call__(
        self, model: Any, profile: Profile, users: Int, targets: torch.Tensor, context: AttackContext
    ) -> Profile:
        """Return the new profile of each row.

        Args:
            model: The global model as distributed; not changed.
            profile: ``B`` rows of original sequences.
            users: ``[B]`` the user each row belongs to.
            targets: ``[B]`` the target each row works for.
            context: See :class:`AttackContext`.
        """


@runtime_checkable
class Searches(Protocol):
    """A transform that chooses among items it finds valid."""

    def valid_candidates(
        self, model: Any, profile: Profile, targets: torch.Tensor, context: AttackContext
    ) -> torch.Tensor:
        """``[B]`` number of valid items of each row; arguments as for :class:`Transform`."""


class Objective(Protocol):
    """The loss a malicious client takes the gradient of."""

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        """Return ``[B]`` losses.

        Args:
            model: The global model, gradients recorded.
            profile: ``B`` transformed sequences: ``repeats`` rows in a row for each client.
            original: The ``B`` sequences before the transform.
            users: ``[B]`` the user each row belongs to.
            repeats: Rows per client.
            context: See :class:`AttackContext`.
        """


class Clients(NamedTuple):
    """Clients of one round and what they send.

    Attributes:
        updates: :class:`~recbole_attack.federated.client_updates.ClientUpdates` of ``N`` clients.
        weights: ``[N]`` the weight each asks for.
    """

    updates: Any
    weights: torch.Tensor

    def only(self, chosen: torch.Tensor) -> Clients:
        """Those where ``chosen`` (``[N]`` bool) holds."""
        return Clients(self.updates.select(chosen), self.weights[chosen])


@dataclass(frozen=True)
class Uploading:
    """What attackers may use who choose what they upload; ``knowledge`` says how much of it they do.

    Attributes:
        model: The model as received.
        own: Malicious clients of the round with their updates as computed.
        honest: The honest ones. How many there are is no secret, what they send is (K4).
        context: See :class:`AttackContext`.
        round: Epoch, and number of the round in it.
        trained: Histories -> the clients that honest users with these would be.
        served: ``(honest, malicious) -> update``: what the server makes of a round, by parameter name (K3).
    """

    model: Any
    own: Clients
    honest: Clients
    context: AttackContext
    round: tuple[int, int]
    trained: Callable[[Profile], Clients]
    served: Callable[[Clients, Clients], dict[str, torch.Tensor]]


class Upload(Protocol):
    """What malicious clients upload in place of their updates."""

    @property
    def knowledge(self) -> tuple[str, ...]:
        """As of :class:`Attack`."""

    def __call__(self, at: Uploading) -> Any:
        """Return the updates of the malicious clients, in their order, as :attr:`Clients.updates` are.

        ``gradient_scale`` and ``norm_budget`` are applied afterwards.
        """


@dataclass(frozen=True)
class Attack:
    """A targeted model-poisoning attack on federated training.

    Attributes:
        transform: What happens to the malicious client's sequence.
        objective: What it optimises on the result.
        repeats: Repetitions ``s`` whose losses are averaged; they differ by dropout, sampled items and, with several
            targets, by the target the transform works for.
        tried: Sequences the transform has in memory for each that it changes.
        weight: ``alpha`` of DV-FSR, eq. 3: factor on the malicious loss.
        knowledge: What the attacker must know besides its own clients' histories and the model they train; of
            :data:`LEVELS`, where they have it.
        besides: Objective on the original sequence that is added to the upload once, and unweighted.
        remembers: Whether it compares models, and so reads ``AttackContext.before``.
        upload: What is uploaded in place of the gradients; ``None`` uploads them.
    """

    transform: Transform
    objective: Objective
    repeats: int = 1
    tried: int = 1
    weight: float = 1.0
    knowledge: tuple[str, ...] = ()
    besides: Objective | None = None
    remembers: bool = False
    upload: Upload | None = None

    @property
    def level(self) -> str | None:
        """See :func:`lowest_level`."""
        return lowest_level(self.knowledge)

    def rows(self, n_targets: int) -> int:
        """Most sequences a client has in memory at once when there are ``n_targets`` targets."""
        return max(self.repeats, self.tried * min(self.repeats, n_targets))

    def losses(self, model: Any, profile: Profile, users: Int, context: AttackContext) -> torch.Tensor:
        """``[M]`` losses of ``M`` malicious clients, whose gradients are what they upload.

        Args:
            model: The global model; its mode decides whether the objective sees dropout.
            profile: ``M`` original sequences.
            users: ``[M]`` users behind the clients.
            context: See :class:`AttackContext`.
        """
        targets = self._served(len(users), context)
        distinct = len(targets) // len(users)
        with without_dropout(model):
            changed = self.transform(model, profile.repeat(distinct), np.repeat(users, distinct), targets, context)
        slots = torch.arange(self.repeats, device=targets.device) % distinct
        rows = (torch.arange(len(users), device=targets.device)[:, None] * distinct + slots).flatten()
        losses = self.objective(
            model,
            Profile(*(field[rows] for field in changed)),
            profile.repeat(self.repeats),
            np.repeat(users, self.repeats),
            self.repeats,
            context,
        )
        total = self.weight * losses.view(len(users), self.repeats).mean(dim=1)
        return total if self.besides is None else total + self.besides(model, profile, profile, users, 1, context)

    def candidates(self, model: Any, profile: Profile, users: Int, context: AttackContext) -> float | None:
        """How many items the search of the transform has to choose from, the median over clients and targets.

        ``None`` for a transform that does not search. Arguments as for :meth:`losses`; nothing is drawn.
        """
        if not isinstance(self.transform, Searches):
            return None
        targets = self._served(len(users), context)
        with without_dropout(model):
            counts = self.transform.valid_candidates(
                model, profile.repeat(len(targets) // len(users)), targets, context
            )
        return float(np.median(counts.cpu().numpy()))

    def _served(self, clients: int, context: AttackContext) -> torch.Tensor:
        """The targets the transform works for, the same for every client and one client's in a row.

        Repetitions for the same target would transform alike, so each distinct target is there once.
        """
        distinct = min(self.repeats, len(context.targets))
        shift = torch.arange(distinct, device=context.targets.device) + context.epoch * self.repeats
        return context.targets[shift % len(context.targets)].repeat(clients)
