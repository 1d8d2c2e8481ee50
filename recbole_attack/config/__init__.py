"""Parameters: where they come from, what each may hold, and what they ask of the data's files."""

from recbole_attack.config.attack_config import AttackConfig
from recbole_attack.config.checks import Option

__all__ = ["AttackConfig", "Option"]
