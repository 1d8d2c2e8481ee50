"""What the attacks of clients have to know, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.attack import ATTACKS, LEVELS, Attack
from recbole_attack.config.attack_config import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.registered import REGISTERED


def knowledge_levels() -> dict[str, str | None]:
    """Attack -> its level in :data:`~recbole_attack.attack.LEVELS` with its default parameters.

    ``None`` for no attack, and for one from outside that knows something else or is not made with default parameters.
    """
    common = AttackConfig().final_config_dict
    made = {name: _attack(name, common) for name in ATTACKS}
    return {name: attack.level if attack else None for name, attack in made.items()}


def known_to(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The level of an attack with its default parameters, and what it knows besides its own clients."""
    attack = _attack(name, AttackConfig().final_config_dict)
    return (attack.level, (LEVELS["K0"], *attack.knowledge)) if attack else (None, ())


def _attack(name: str, common: Mapping[str, Any]) -> Attack | None:
    recipe = f"attack/{name}"
    try:
        return ATTACKS[name]({**common, **load_defaults(recipe)})
    except Exception:
        if recipe not in REGISTERED:
            raise
        return None  # one from outside that is not made with the default parameters of others
