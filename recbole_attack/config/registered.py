"""Parameters of parts from outside the package, filled by :mod:`recbole_attack.register`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.config.checks import Option

REGISTERED: dict[str, dict[str, Any]] = {}
"""Default parameters of each part, by the name of the file they stand in for, such as ``attack/louder``."""

REGISTERED_OPTIONS: dict[str, dict[str, Option]] = {}
"""What these parameters may hold, by the same names."""


REGISTERED_CODE: dict[str, tuple[str, str]] = {}
"""The module each part is of, and the hash of its code when it was registered, by the same names."""


def defended_from_outside(values: Mapping[str, Any]) -> bool:
    """Whether a run's rule or client defence is registered: it may read any parameter."""
    return any(f"defense/{values.get(key)}" in REGISTERED for key in ("aggregator", "client_defense"))


def registered_options() -> dict[str, Option]:
    """Every registered parameter with a check; parts that share one have the same check for it."""
    return {name: option for options in REGISTERED_OPTIONS.values() for name, option in options.items()}
