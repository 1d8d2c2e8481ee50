"""Attacks on item rows: what they are wired from."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_attack.attack import ATTACKS, LEVELS, Attack
from recbole_attack.attack.field_objectives import Competition, HardUsers, TowardsDirection
from recbole_attack.attack.mining_objectives import Alignment, PopularUsers
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.row_objectives import Covert, Margin, Quiet, Uncounted
from recbole_attack.attack.row_recipes import ROW_ATTACKS
from recbole_attack.attack.transform import keep

PARAMETERS = {
    "attack_weight": 2.5,
    "attack_repeats": 3,
    "sampled_histories": 5,
    "sampled_length": 7,
    "margin_rank": 11,
    "score_margin": 1.5,
    "covert_weight": 0.5,
    "asked_lengths": "even",
    "upload_share": 0.25,
    "hard_user_pool": 13,
    "row_direction": "states",
    "row_scale": 17.0,
    "popular_rows": 19,
    "mined_items": 23,
    "alignment_strength": 0.75,
    "synthetic_items": 29,
    "recommended_items": 31,
    "competing_items": 37,
}
WIRED = {
    "margin": Attack(keep, Margin(5, 7, 11, 1.5), weight=2.5),
    "quiet": Attack(keep, Quiet(Margin(5, 7, 11, 1.5), 0.25)),
    "covert": Attack(
        keep, Covert(Margin(5, 7, 11, 1.5), 0.5, "even"), weight=2.5, knowledge=(LEVELS["K1"], LEVELS["K3"])
    ),
    "uncounted": Attack(
        keep, Uncounted(Margin(5, 7, 11, 1.5), "even"), weight=2.5, knowledge=(LEVELS["K1"], LEVELS["K3"])
    ),
    "a_hum": Attack(keep, HardUsers(13), repeats=3, weight=2.5),
    "poison_frs": Attack(keep, TowardsDirection("states", 17.0, 19, 5, 7), weight=2.5),
    "pieck_ipe": Attack(keep, Alignment(23, 0.75), weight=2.5, remembers=True),
    "pieck_uea": Attack(keep, PopularUsers(23, 5, 7), weight=2.5, remembers=True),
    "psmu": Attack(keep, Competition(29, 31, 37), weight=2.5),
}


def test_every_recipe_is_here() -> None:
    assert set(WIRED) == set(ROW_ATTACKS) <= set(ATTACKS)


@pytest.mark.parametrize("name", WIRED)
def test_recipes_are_wired_from_their_parameters(name: str) -> None:
    assert ATTACKS[name](PARAMETERS) == WIRED[name]


@pytest.mark.parametrize(
    ("knowledge", "level"),
    [
        ((), "K0"),
        ((LEVELS["K0"],), "K0"),
        ((LEVELS["K1"],), "K1"),
        ((LEVELS["K3"], LEVELS["K1"]), "K3"),
        (tuple(LEVELS.values()), "K4"),
        (("the weather",), None),
        ((LEVELS["K4"], "the weather"), None),
    ],
)
def test_the_level_is_that_of_the_most_it_knows(knowledge: Any, level: str | None) -> None:
    assert Attack(keep, training_loss, knowledge=knowledge).level == level
