"""Attacks: transforms, objectives and the recipes that wire them."""

from recbole_attack.attack.attack import Attack, AttackContext, Objective, Profile, Transform
from recbole_attack.attack.recipes import ATTACKS

__all__ = ["ATTACKS", "Attack", "AttackContext", "Objective", "Profile", "Transform"]
