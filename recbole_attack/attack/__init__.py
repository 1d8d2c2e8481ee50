"""Attacks: transforms, objectives and the recipes that wire them; replacement by providers of models."""

from recbole_attack.attack.attack import LEVELS, Attack, AttackContext, Objective, Profile, Transform
from recbole_attack.attack.backdoors import BACKDOORS
from recbole_attack.attack.recipes import ATTACKS
from recbole_attack.attack.replacement import NEGATIVES, Replacement

__all__ = [
    "ATTACKS",
    "BACKDOORS",
    "LEVELS",
    "NEGATIVES",
    "Attack",
    "AttackContext",
    "Objective",
    "Profile",
    "Replacement",
    "Transform",
]
