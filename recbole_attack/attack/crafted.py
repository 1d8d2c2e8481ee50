"""Untargeted attacks of those who see the honest updates of the round, and upload something made of their moments.

The federated-learning literature writes them for dense vectors. Here an upload has honest support: of the item rows it
holds those alone that the malicious client's own honest update touches. Moments are over all honest clients of the
round, with zeros for what a client did not touch, and all clients alike, whatever their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from recbole_attack.attack.attack import LEVELS, Attack, Clients, Uploading
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.transform import keep

Direction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``(mean, standard deviation) -> direction``, coordinate by coordinate."""


def against(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Where the mean does not go."""
    return -mean


def against_sign(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """The same with all coordinates alike."""
    return -mean.sign()


def outwards(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Up in every coordinate, by how much clients differ in it."""
    return deviation


def downwards(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Down in every coordinate."""
    return -deviation


PERTURBATIONS: dict[str, Direction] = {"unit": against, "sign": against_sign, "std": downwards}
"""Directions of Min-Max and Min-Sum, by the name ``perturbation`` takes; how long they are does not matter."""


class Strength(Protocol):
    """How far along the direction an upload goes."""

    def __call__(self, at: Uploading, base: Any, way: Any) -> torch.Tensor:
        """``[M]`` factors on the direction ``way`` of ``M`` malicious clients, which start at ``base``."""


@dataclass(frozen=True)
class Crafted:
    """``base mean + tau direction`` in place of the client's update, where that is not zero.

    Without an honest client in the round, updates are uploaded as computed.

    Attributes:
        base: Factor on the mean.
        direction: See :data:`Direction`.
        strength: tau.
        knowledge: As of :class:`~recbole_attack.attack.attack.Attack`.
    """

    base: float
    direction: Direction
    strength: Strength
    knowledge: tuple[str, ...] = (LEVELS["K4"],)

    def __call__(self, at: Uploading) -> Any:
        if not len(at.honest.updates):
            return at.own.updates
        means, deviations = at.honest.updates.moments()
        base = at.own.updates.filled(*(self.base * mean for mean in means))
        way = at.own.updates.filled(*map(self.direction, means, deviations))
        return base.plus(way.times(self.strength(at, base, way)))


@dataclass(frozen=True)
class Fixed:
    """The same tau for all."""

    tau: float

    def __call__(self, at: Uploading, base: Any, way: Any) -> torch.Tensor:
        return torch.full_like(at.own.weights, self.tau)


@dataclass(frozen=True)
class Searched:
    """The tau that moves the aggregate farthest from the honest mean, the same for all; the rule is known.

    byzfl's line search: from 0 on, steps of 10 that double while they get farther, then of 0.8 times the one before,
    each taken where it gets farther.

    Attributes:
        evaluations: Aggregations in all.
    """

    evaluations: int

    def __call__(self, at: Uploading, base: Any, way: Any) -> torch.Tensor:
        count = len(at.honest.updates)
        mean = at.honest.updates.weighted_sum(torch.full_like(at.honest.weights, 1 / count))
        best, step, expanding = 0.0, 10.0, True
        far = self._distance(at, base, mean)
        for _ in range(self.evaluations - 1):
            found = self._distance(at, base.plus(way.times(torch.full_like(at.own.weights, best + step))), mean)
            farther = found > far
            expanding &= farther
            best, far = (best + step, found) if farther else (best, far)
            step *= 2 if expanding else 0.8
        return torch.full_like(at.own.weights, best)

    def _distance(self, at: Uploading, uploads: Any, mean: Mapping[str, torch.Tensor]) -> float:
        found = at.served(at.honest, Clients(uploads, at.own.weights))
        return float(torch.cat([(found[name] - value).flatten().double() for name, value in mean.items()]).norm())


@dataclass(frozen=True)
class Within:
    """The largest tau that keeps each upload as near to honest updates as these are to each other; 0 if none does at 0.

    With squared distances ``D``: either the largest from any of them is at most the largest between two of them, or
    their sum is at most the largest sum from one of them to all.

    Attributes:
        summed: Whether sums are compared.
    """

    summed: bool

    def __call__(self, at: Uploading, base: Any, way: Any) -> torch.Tensor:
        n, m = len(at.honest.updates), len(base)
        gram = at.honest.updates.followed_by(base, way).gram()
        lengths = gram.diagonal()
        between = lengths[:n, None] + lengths[None, :n] - 2 * gram[:n, :n]
        starts, ways, place = slice(n, n + m), slice(n + m, None), torch.arange(m, device=gram.device)
        square = lengths[ways, None].expand(m, n)
        half = gram[starts, ways][place, place][:, None] - gram[ways, :n]
        start = lengths[starts, None] + lengths[None, :n] - 2 * gram[starts, :n]
        if self.summed:
            square, half, start = (part.sum(dim=1, keepdim=True) for part in (square, half, start))
            between = between.sum(dim=1)
        spare = between.max() - start
        roots = ((half.square() + square * spare).clamp(min=0).sqrt() - half) / square
        return torch.where((square > 0) & (spare > 0), roots, 0.0).amin(dim=1)


def sign_flip(config: Mapping[str, Any]) -> Attack:
    """Sign flip: minus the mean of the round's honest updates, which byzfl has; untargeted.

    As :func:`ipm` with a factor of 1.
    """
    return _crafted(Crafted(0.0, against, Fixed(1.0)))


def ipm(config: Mapping[str, Any]) -> Attack:
    """IPM: ``-tau`` times the mean of the round's honest updates; untargeted.

    Xie, Koyejo and Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation", UAI 2019
    (arXiv:1903.03936). A small factor passes rules such as Krum, a large one hurts means.
    """
    return _crafted(Crafted(0.0, against, Fixed(config["ipm_scale"])))


def alie(config: Mapping[str, Any]) -> Attack:
    """ALIE: the mean of the round's honest updates and ``z`` of their standard deviations; untargeted.

    Baruch, Baruch and Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed Learning", NeurIPS 2019
    (arXiv:1902.06156). The paper takes ``z`` from the numbers of clients; byzfl has 1.5, which is the default here.
    """
    return _crafted(Crafted(1.0, outwards, Fixed(config["alie_deviations"])))


def opt_ipm(config: Mapping[str, Any]) -> Attack:
    """Opt-IPM: IPM with the factor that moves the known rule's aggregate farthest; untargeted.

    As in byzfl, after the line search of Shejwalkar and Houmansadr (NDSS 2021); see
    :class:`~recbole_attack.attack.crafted.Searched`.
    """
    return _crafted(Crafted(0.0, against, Searched(config["search_evaluations"]), _RULE_TOO))


def opt_alie(config: Mapping[str, Any]) -> Attack:
    """Opt-ALIE: ALIE with the factor that moves the known rule's aggregate farthest; untargeted. As Opt-IPM."""
    return _crafted(Crafted(1.0, outwards, Searched(config["search_evaluations"]), _RULE_TOO))


def min_max(config: Mapping[str, Any]) -> Attack:
    """Min-Max: as far from the mean as the farthest two honest updates are apart; untargeted.

    Shejwalkar and Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning", NDSS 2021. The largest ``gamma`` with ``max_i |mean - gamma d - x_i| <= max_ij |x_i - x_j|``.
    There it is searched for by halving steps from 10 on, to 1e-5; a bound on distances is quadratic in ``gamma``, so we
    solve it.
    """
    return _crafted(Crafted(1.0, PERTURBATIONS[config["perturbation"]], Within(summed=False)))


def min_sum(config: Mapping[str, Any]) -> Attack:
    """Min-Sum: Min-Max with sums of squared distances, which keeps it nearer; untargeted."""
    return _crafted(Crafted(1.0, PERTURBATIONS[config["perturbation"]], Within(summed=True)))


_RULE_TOO = (LEVELS["K3"], LEVELS["K4"])

CRAFTED_ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "sign_flip": sign_flip,
    "ipm": ipm,
    "alie": alie,
    "min_max": min_max,
    "min_sum": min_sum,
    "opt_ipm": opt_ipm,
    "opt_alie": opt_alie,
}
"""Untargeted attacks made of the round's honest updates, by the name ``--attack`` takes."""


def _crafted(upload: Crafted) -> Attack:
    """Clients train honestly, which gives the upload its support."""
    return Attack(keep, training_loss, knowledge=upload.knowledge, upload=upload)
