"""Published attacks of those who know more than the model. They read parameters as those of
:mod:`~recbole_attack.attack.recipes` do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_attack.attack.attack import LEVELS, Attack
from recbole_attack.attack.informed_objectives import KnownUsers, PopularityBoost
from recbole_attack.attack.transform import keep


def pip_attack(config: Mapping[str, Any]) -> Attack:
    """PipAttack: explicit boosting, rows that look popular, and a bounded distance from an honest update.

    Zhang et al., "PipAttack: Poisoning Federated Recommender Systems for Manipulating Item Promotion", WSDM 2022
    (arXiv:2110.10926). Its code was not found; the paper's body was not at hand, so classes (a tenth, 35 %, the rest),
    the estimator (16 and 8 hidden units) and ``alpha = 60`` are those of re-implementations.

    There an estimator of an item's popularity class is trained along with the federation; here it is trained anew on
    the model of each local step (``estimator_steps``), so that there is nothing to remember. As remembered, the paper
    adds the distance from an honest gradient to the loss; we hold it to a bound that is exact but for dropout
    (``upload_distance``, a multiple of the honest gradient's length), see
    :class:`~recbole_attack.attack.informed_objectives.PopularityBoost`. A sequential model has no user vector to train
    along. Re-implementations in other papers' code align the most popular item in place of the target, or leave the
    alignment out.
    """
    parts = (config["popularity_weight"], config["estimator_steps"], config["upload_distance"])
    return Attack(keep, PopularityBoost(*parts), knowledge=(LEVELS["K1"],))


def fed_rec_attack(config: Mapping[str, Any]) -> Attack:
    """FedRecAttack: raise the targets over what approximated users are shown, from a share of their interactions.

    Rong et al., "FedRecAttack: Model Poisoning Attack to Federated Recommendation", ICDE 2022 (arXiv:2204.01499): see
    :class:`~recbole_attack.attack.informed_objectives.KnownUsers`.

    Released code trains a vector for each user on a share ``xi`` of all interactions. A sequential model needs none: we
    take its states after a prefix of each user's history, and these have ``xi`` of all interactions. There a client's
    rows are drawn once, tiny noise is added, and the attacker's centre subtracts what its clients sent, so that they
    share the work; here rows are drawn anew in every step and every client sends its own, so there is nothing to
    remember and no order of clients.
    """
    objective = KnownUsers(
        config["known_share"],
        config["approximated_users"],
        config["paired_items"],
        config["uploaded_rows"],
        config["row_limit"],
    )
    return Attack(keep, objective, weight=config["attack_weight"], knowledge=(LEVELS["K2"],))


INFORMED_ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "pip_attack": pip_attack,
    "fed_rec_attack": fed_rec_attack,
}
"""Attacks of those who know more, by the name ``--attack`` takes."""
