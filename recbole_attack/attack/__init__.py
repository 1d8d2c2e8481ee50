"""Attacks: transforms, objectives and the recipes that wire them; replacement by providers of models; fake users."""

from recbole_attack.attack.attack import (
    LEVELS,
    Attack,
    AttackContext,
    Clients,
    Objective,
    Transform,
    Upload,
    Uploading,
)
from recbole_attack.attack.backdoors import BACKDOORS, configured_backdoor
from recbole_attack.attack.recipes import ATTACKS
from recbole_attack.attack.replacement import NEGATIVES, Replacement
from recbole_attack.attack.shilling import PROFILES, FakeUsers, Log
from recbole_attack.attack.uploads import UPLOADS, configured_attack
from recbole_attack.data.histories import Profile

__all__ = [
    "ATTACKS",
    "BACKDOORS",
    "LEVELS",
    "NEGATIVES",
    "PROFILES",
    "UPLOADS",
    "Attack",
    "AttackContext",
    "Clients",
    "FakeUsers",
    "Log",
    "Objective",
    "Profile",
    "Replacement",
    "Transform",
    "Upload",
    "Uploading",
    "configured_attack",
    "configured_backdoor",
]
