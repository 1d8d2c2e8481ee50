"""Published attacks, each wired from parts.

A recipe reads its own parameters from the configuration (``properties/attack/<name>.yaml`` holds the defaults) and
returns an :class:`~recbole_attack.attack.attack.Attack`, or ``None`` for no attack.

DV-FSR: Qin et al., "DV-FSR: A Dual-View Target Attack Framework for Federated Sequential Recommendation", AAAI 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from recbole_attack.attack.attack import LEVELS, Attack, Objective, Transform
from recbole_attack.attack.crafted import CRAFTED_ATTACKS
from recbole_attack.attack.informed_recipes import INFORMED_ATTACKS
from recbole_attack.attack.objective import Contrastive, Total, search_loss, target_bce, training_loss
from recbole_attack.attack.row_recipes import ROW_ATTACKS
from recbole_attack.attack.transform import FakeProfile, Substitute, keep


def none(config: Mapping[str, Any]) -> None:
    """No attack: every client is honest."""


def ra(config: Mapping[str, Any]) -> Attack:
    """Random Attack: fake profiles of random items and the targets, trained honestly.

    DV-FSR, "Baseline Attacks", after Kapoor, Kapoor and Kumar 2017.

    Released code differs: it appends the random items to the last real user's own list, which grows with every
    malicious client. We choose the paper's text: a fake profile of its own for each malicious client, as long as
    what the model reads of the history it stands in for.
    """
    return Attack(FakeProfile(), training_loss, weight=config["attack_weight"])


def bandwagon(config: Mapping[str, Any]) -> Attack:
    """Bandwagon attack: fake profiles of the targets, some popular items and random ones, trained honestly.

    Kapoor, Kapoor and Kumar 2017. DV-FSR leaves it out because it needs the items' popularity, which we grant. We
    choose the shares of the code of FedRecAttack (Rong et al. 2022): a tenth of the profile from the most popular
    tenth of the catalogue. There profiles have a fixed size; here it is what the model reads of a history.
    """
    profile = FakeProfile(config["popular_share"], config["popular_items"])
    return Attack(profile, training_loss, weight=config["attack_weight"], knowledge=(LEVELS["K1"],))


def popular(config: Mapping[str, Any]) -> Attack:
    """Popular attack: fake profiles of the targets and the most popular items, trained honestly.

    Gunes et al. 2014; as in the code of FedRecAttack (Rong et al. 2022), where all malicious clients hold the same
    profile. Here they do but for its length and order.
    """
    profile = FakeProfile(popular_share=1.0)
    return Attack(profile, training_loss, weight=config["attack_weight"], knowledge=(LEVELS["K1"],))


def eb(config: Mapping[str, Any]) -> Attack:
    """Explicit Boosting: raise the targets' predicted scores for malicious users, ``-log sigma(score)``.

    One part of PipAttack (Zhang et al. 2022), the part that needs no knowledge of popularity (DV-FSR, "Baseline
    Attacks"). A sequential model has no user embedding to train along: the user's vector is the model's state after the
    client's own history.

    Released code agrees, in the client that runs: the negative logarithm of the target's sigmoid score, no negative
    item. So EB is A-ra without repetitions, and the two agree in expectation, as the paper's rows of them nearly do.
    """
    return Attack(keep, target_bce, weight=config["attack_weight"])


def a_ra(config: Mapping[str, Any]) -> Attack:
    """A-ra: the targets' scores towards 1 for approximated users (Rong, He and Chen 2022).

    The original approximates users by ``s = 10`` random normal vectors. DV-FSR, "Baseline Attacks", replaces them by
    interaction sequences, since sequential models have no user vectors: we take the client's own sequence ``s`` times,
    which differ by dropout.

    Released code agrees, in the client on sequences that runs: the mean over ten draws of dropout.
    """
    return _view(config, keep, target_bce)


def dvfsr(config: Mapping[str, Any]) -> Attack:
    """Dual-view attack: substituted sequence with target BCE, plus a contrastive loss on the embeddings.

    DV-FSR, Algorithms 1 and 2, eq. 3-8.

    Released code differs in what it uploads, of which the paper does not speak: its substitution calls backward on the
    very model whose gradients it sends, and clears them before but not after, so the upload holds the cross-entropy
    towards the target as well (:func:`~recbole_attack.attack.objective.search_loss`; over all items, once and not
    averaged with the repetitions). ``upload_search_gradient: True`` does the same and comes to the paper's numbers;
    the default is the paper's text. With several targets, that loss is averaged over them, too.

    It also tries 10 candidates where the paper's default is 9, and has ``s = 10`` repetitions of which the paper does
    not speak; we choose these values and average the repetitions. There the model stays in evaluation mode after the
    substitution and one set of negatives serves all repetitions, so that they are alike; ours differ by dropout and
    negatives, because a client that trains honestly has both, and an average over draws is what repetitions are for.
    With several targets, each loss is averaged over them and the repetitions take turns as the target of the
    substitution.
    """
    return _search(config, Total((target_bce, _contrastive(config))))


def s_fsr(config: Mapping[str, Any]) -> Attack:
    """DV-FSR without the implicit strategy: substitution and target BCE only (DV-FSR, "Ablation Study").

    Released code differs as that of :func:`dvfsr` does; ``upload_search_gradient`` is for both.
    """
    return _search(config, target_bce)


def c_fsr(config: Mapping[str, Any]) -> Attack:
    """DV-FSR without the explicit strategy: the contrastive loss only (DV-FSR, "Ablation Study").

    Released code differs: its C-FSR labels a negative as the positive, so it trains another loss than DV-FSR's. We
    choose DV-FSR's loss. The contrastive loss reads the original sequence, so there is nothing to substitute.
    """
    return _view(config, keep, _contrastive(config))


ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "none": none,
    "ra": ra,
    "bandwagon": bandwagon,
    "popular": popular,
    "eb": eb,
    "a_ra": a_ra,
    "dvfsr": dvfsr,
    "s_fsr": s_fsr,
    "c_fsr": c_fsr,
    **ROW_ATTACKS,
    **INFORMED_ATTACKS,
    **CRAFTED_ATTACKS,
}
"""Attacks by the name ``--attack`` takes."""


def _view(config: Mapping[str, Any], transform: Transform, objective: Objective) -> Attack:
    """The frame DV-FSR, its ablations and A-ra share, so that they differ in the part left out and nothing else."""
    return Attack(transform, objective, repeats=config["attack_repeats"], weight=config["attack_weight"])


def _search(config: Mapping[str, Any], objective: Objective) -> Attack:
    """The same with the substitution, which tries several sequences for each."""
    tried = config["substitution_candidates"]
    besides = search_loss if config["upload_search_gradient"] else None
    return replace(_view(config, Substitute(config["min_cosine"], tried), objective), tried=tried, besides=besides)


def _contrastive(config: Mapping[str, Any]) -> Contrastive:
    return Contrastive(negatives=config["contrastive_negatives"])
