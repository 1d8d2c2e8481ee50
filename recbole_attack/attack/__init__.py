"""Attacks: transforms, objectives and the recipes that wire them; replacement by providers of models; fake users."""

from recbole_attack.attack.attack import LEVELS, Attack, AttackContext, Objective, Profile, Transform
from recbole_attack.attack.backdoors import BACKDOORS
from recbole_attack.attack.recipes import ATTACKS
from recbole_attack.attack.replacement import NEGATIVES, Replacement
from recbole_attack.attack.shilling import PROFILES, FakeUsers, Log

__all__ = [
    "ATTACKS",
    "BACKDOORS",
    "LEVELS",
    "NEGATIVES",
    "PROFILES",
    "Attack",
    "AttackContext",
    "FakeUsers",
    "Log",
    "Objective",
    "Profile",
    "Replacement",
    "Transform",
]
