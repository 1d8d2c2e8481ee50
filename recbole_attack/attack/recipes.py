"""Published attacks, each wired from parts.

A recipe reads its own parameters from the configuration (``properties/attack/<name>.yaml`` holds the defaults) and
returns an :class:`~recbole_attack.attack.attack.Attack`, or ``None`` for no attack.

DV-FSR: Qin et al., "DV-FSR: A Dual-View Target Attack Framework for Federated Sequential Recommendation", AAAI 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_attack.attack.attack import Attack, Objective, Transform
from recbole_attack.attack.objective import Contrastive, TargetBCE, Total, TrainingLoss
from recbole_attack.attack.transform import Keep, RandomProfile, Substitute


def none(config: Mapping[str, Any]) -> None:
    """No attack: every client is honest."""


def ra(config: Mapping[str, Any]) -> Attack:
    """Random Attack: fake profiles of random items and the targets, trained honestly.

    DV-FSR, "Baseline Attacks", after Kapoor, Kapoor and Kumar 2017.

    Released code differs: it appends the random items to the last real user's own list, which grows with every
    malicious client. We choose the paper's text: a fake profile of its own for each malicious client, as long as the
    history it stands in for.
    """
    return Attack(RandomProfile(), TrainingLoss(), weight=config["attack_weight"])


def dvfsr(config: Mapping[str, Any]) -> Attack:
    """Dual-view attack: substituted sequence with target BCE, plus a contrastive loss on the embeddings.

    DV-FSR, Algorithms 1 and 2, eq. 3-8.

    Released code differs: 10 candidates where the paper's default is 9, and ``s = 10`` repetitions of which the paper
    does not speak. We choose the released values and average the repetitions; the substitution search runs without
    dropout. With several targets, each loss is averaged over them and the repetitions take turns as the target of
    the substitution.
    """
    return _view(config, _substitute(config), Total((TargetBCE(), _contrastive(config))))


def s_fsr(config: Mapping[str, Any]) -> Attack:
    """DV-FSR without the implicit strategy: substitution and target BCE only (DV-FSR, "Ablation Study")."""
    return _view(config, _substitute(config), TargetBCE())


def c_fsr(config: Mapping[str, Any]) -> Attack:
    """DV-FSR without the explicit strategy: the contrastive loss only (DV-FSR, "Ablation Study").

    Released code differs: its C-FSR labels a negative as the positive, so it trains another loss than DV-FSR's. We
    choose DV-FSR's loss. The contrastive loss reads the original sequence, so there is nothing to substitute.
    """
    return _view(config, Keep(), _contrastive(config))


ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "none": none,
    "ra": ra,
    "dvfsr": dvfsr,
    "s_fsr": s_fsr,
    "c_fsr": c_fsr,
}
"""Attacks by the name ``--attack`` takes."""


def _view(config: Mapping[str, Any], transform: Transform, objective: Objective) -> Attack:
    """The frame DV-FSR and its ablations share, so that they differ in the part left out and nothing else."""
    return Attack(transform, objective, repeats=config["attack_repeats"], weight=config["attack_weight"])


def _substitute(config: Mapping[str, Any]) -> Substitute:
    return Substitute(min_cosine=config["min_cosine"], candidates=config["substitution_candidates"])


def _contrastive(config: Mapping[str, Any]) -> Contrastive:
    return Contrastive(negatives=config["contrastive_negatives"])
