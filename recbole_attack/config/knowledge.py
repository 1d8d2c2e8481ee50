"""What the attacks of clients have to know, by name."""

from __future__ import annotations

from recbole_attack.attack import ATTACKS
from recbole_attack.config.attack_config import AttackConfig
from recbole_attack.config.defaults import load_defaults


def knowledge_levels() -> dict[str, str | None]:
    """Attack -> its level in :data:`~recbole_attack.attack.LEVELS` with its default parameters.

    ``None`` for no attack, and for one from outside that knows something else.
    """
    common = AttackConfig().final_config_dict
    made = {name: recipe({**common, **load_defaults(f"attack/{name}")}) for name, recipe in ATTACKS.items()}
    return {name: attack.level if attack else None for name, attack in made.items()}
