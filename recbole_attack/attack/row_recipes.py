"""Attacks that write the targets' embedding rows and leave all else of the model alone.

An honest client's update spreads over the rows of its history and the whole encoder; these put all of theirs into the
rows that are to rise. Each reads its own parameters from the configuration, as those of
:mod:`~recbole_attack.attack.recipes` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_attack.attack.attack import Attack
from recbole_attack.attack.row_objectives import Margin, Quiet
from recbole_attack.attack.transform import keep


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


ROW_ATTACKS: dict[str, Callable[[Mapping[str, Any]], Attack | None]] = {
    "margin": margin,
    "quiet": quiet,
}
"""Attacks on rows by the name ``--attack`` takes."""


def _margin(config: Mapping[str, Any]) -> Margin:
    return Margin(
        config["sampled_histories"], config["sampled_length"], config["margin_rank"], config["score_margin"]
    )
