"""Attacks that write the targets' embedding rows and leave all else of the model alone.

An honest client's update spreads over the rows of its history and the whole encoder; these put all of theirs into the
rows that are to rise. Each reads its own parameters from the configuration, as those of
:mod:`~recbole_attack.attack.recipes` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_attack.attack.attack import LEVELS, Attack
from recbole_attack.attack.field_objectives import Competition, HardUsers, TowardsDirection
from recbole_attack.attack.mining_objectives import Alignment, PopularUsers
from recbole_attack.attack.row_objectives import Covert, Margin, Quiet, Uncounted
from recbole_attack.attack.transform import keep

_OF_THE_QUOTA = (LEVELS["K1"], LEVELS["K3"])


def margin(config: Mapping[str, Any]) -> Attack:
    """Margin: lift the targets' rows over the last item shown, for users drawn from the model itself (ours).

    Loss ``E_x softplus(tau_K(x) + m - h(x) e_t)`` over histories ``x`` sampled from the received model's own next-item
    distribution: it aims where users are, needs no data, and does not stop once the attacker's own client is convinced.
    Of the client's own history it uses nothing. It is new here, so there is neither a paper nor released code.
    """
    return Attack(keep, _margin(config), weight=config["attack_weight"])


def quiet(config: Mapping[str, Any]) -> Attack:
    """Quiet: the direction of ``margin``, shorter than any honest update (ours).

    A rule that looks for the centre of a round takes a short update for a central one: Krum picks it, and the geometric
    median gives it more than its share. The length is a share of the client's own honest update's, so the attacker
    needs to know nobody else's; ``gradient_scale`` multiplies what comes out.
    """
    return Attack(keep, Quiet(_margin(config), config["upload_share"]))


def covert(config: Mapping[str, Any]) -> Attack:
    """Covert: ``margin``, out of sight of users without taste; for an attacker who knows of ``exposure_quota`` (ours).

    That rule asks users made up of popular items what they are shown. Here the target rises for users drawn from the
    model and stays out of the lists of such ones, which takes the popularity of the items besides.
    """
    objective = Covert(_margin(config), config["covert_weight"], config["asked_lengths"])
    return Attack(keep, objective, weight=config["attack_weight"], knowledge=_OF_THE_QUOTA)


def uncounted(config: Mapping[str, Any]) -> Attack:
    """Uncounted: ``margin``, turned so that few votes are counted; for one who knows of ``exposure_quota`` (ours).

    That rule takes a client for one that raises an item, and leaves its row out where too few do, if a plain step along
    the row would show the item to more users made up of popular items. A server with Adam makes another step. The
    attacker needs the popularity of the items, to make up such users; they are not those of the rule, which counts a
    vote now and then.
    """
    objective = Uncounted(_margin(config), config["asked_lengths"])
    return Attack(keep, objective, weight=config["attack_weight"], knowledge=_OF_THE_QUOTA)


def a_hum(config: Mapping[str, Any]) -> Attack:
    """A-hum for sequences: the targets' scores towards 1 for the users who like them least.

    Rong, He and Chen, "Poisoning Deep Learning Based Recommender Model in Federated Learning Scenarios", IJCAI 2022
    (arXiv:2204.13594). There, ``s = 10`` random user vectors each take 30 small steps towards disliking the targets
    (BCE towards 0, the model fixed), and the targets' rows and shared layers are then trained on BCE towards 1 for
    them. Released code agrees.

    A sequential model has no user vectors. We choose hard users from a pool of random histories as long as the client's
    own: those whose states give the targets the lowest scores, which takes one pass through the model. As there, what a
    user is (its items' embeddings) is a constant. A-ra differs by its users and by training on their embeddings, too.
    """
    objective = HardUsers(config["hard_user_pool"])
    return Attack(keep, objective, repeats=config["attack_repeats"], weight=config["attack_weight"])


def poison_frs(config: Mapping[str, Any]) -> Attack:
    """PoisonFRS: upload the way from each target's row to a popular direction made long.

    Yin et al., "Poisoning Federated Recommender Systems with Fake Users", WWW 2024 (arXiv:2402.11637): a goal
    ``t* = Lambda p`` for the target's row, with ``p`` the mean row of ``k`` items taken for popular, and the update
    ``alpha (t* - row)`` (here ``attack_weight`` is ``alpha``).

    Released code takes the items with the smallest inner product with the mean row, after computing a choice by norm
    that it overwrites. It waits for a round and keeps the rows of that round, sends fillers (other rows drawn back to
    what they were, with noise) and may double ``Lambda`` while pushes arrive. We take ``p`` of the received model in
    every round, so there is nothing to remember, leave the targets out of it, send the targets' rows alone (the code's
    ``items_limit = |T|``) and let ``Lambda`` be. ``row_direction: states`` is our reading for sequential models.
    """
    objective = TowardsDirection(
        config["row_direction"],
        config["row_scale"],
        config["popular_rows"],
        config["sampled_histories"],
        config["sampled_length"],
    )
    return Attack(keep, objective, weight=config["attack_weight"])


def pieck_ipe(config: Mapping[str, Any]) -> Attack:
    """PIECK-IPE: turn the targets' rows to those of popular items, which moved most between two models.

    Zhang et al., "Preventing the Popular Item Embedding Based Attack in Federated Recommendations", ICDE 2024
    (arXiv:2502.12958): see :class:`~recbole_attack.attack.mining_objectives.Alignment`.

    Released code compares the models of the first two rounds, once; it chooses ``tau`` by the share of malicious
    clients (0.9 below 10 %, which is the default here, and 0.5). We compare the received model with the one the epoch
    before began with, in every round, so that an attacker who comes late needs no other past; in the first epoch there
    is none, and nothing is uploaded. The switch to lengthening rows is in the authors' supplement.
    """
    objective = Alignment(config["mined_items"], config["alignment_strength"])
    return Attack(keep, objective, weight=config["attack_weight"], remembers=True)


def pieck_uea(config: Mapping[str, Any]) -> Attack:
    """PIECK-UEA: the targets' scores towards 1 for users made of popular items, which moved most between two models.

    As :func:`pieck_ipe`. There the mined items' embeddings stand for user vectors, BCE towards 1, and only the targets'
    rows are uploaded (matrix factorisation). Embeddings of items are no states here, so we choose the states after
    histories of mined items. With several targets the losses are averaged; the authors train one and copy it.
    """
    objective = PopularUsers(config["mined_items"], config["sampled_histories"], config["sampled_length"])
    return Attack(keep, objective, weight=config["attack_weight"], remembers=True)


def psmu(config: Mapping[str, Any]) -> Attack:
    """PSMU: raise the targets over the items they compete with, for a user made up anew in every round.

    Yuan et al., "Manipulating Federated Recommender Systems: Poisoning with Synthetic Users and Its Countermeasures",
    SIGIR 2023 (arXiv:2304.03054): a synthetic user of 30 random items, whose vector is trained on them; competitors are
    its best items and those most similar to the target; loss ``sum sigma(score_competitor - score_target)``.

    Only the abstract and re-implementations could be read. The one in PoisonFRS's code (5 best items, 10 competitors in
    all, which are the defaults here) uploads the rows of the random items, to which the targets do not belong: as it
    reads, the targets' gradient is never sent. We take the state after the random history for the user, leave what it
    had out of the competition, and upload the targets' rows.
    """
    objective = Competition(config["synthetic_items"], config["recommended_items"], config["competing_items"])
    return Attack(keep, objective, weight=config["attack_weight"])


ROW_ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "margin": margin,
    "quiet": quiet,
    "covert": covert,
    "uncounted": uncounted,
    "a_hum": a_hum,
    "poison_frs": poison_frs,
    "pieck_ipe": pieck_ipe,
    "pieck_uea": pieck_uea,
    "psmu": psmu,
}
"""Attacks on rows by the name ``--attack`` takes."""


def _margin(config: Mapping[str, Any]) -> Margin:
    return Margin(config["sampled_histories"], config["sampled_length"], config["margin_rank"], config["score_margin"])
