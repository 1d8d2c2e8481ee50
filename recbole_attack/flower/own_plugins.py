"""Plug-ins where the apps of a federation run: on SuperNodes, and where the SuperLink is.

A run names modules, and no run has anything imported that is not there for its own sake: whoever starts a SuperNode or
a SuperLink installs them, or names them in the environment variable :data:`PLUGINS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from recbole_attack.config.plugins import check_saved_plugins, load_plugins, plugin_hashes
from recbole_attack.utils.errors import ConfigError, shown

PLUGINS = "RECBOLE_ATTACK_PLUGINS"
"""The variable: modules or ``.py`` files, separated by commas."""


def load_own_plugins(named: Any) -> dict[str, str]:
    """Import the plug-ins of this place.

    Args:
        named: The run's parameter ``plugins``.

    Returns:
        Module -> hash of its source, of those the run names.

    Raises:
        ConfigError: The run names one that is neither installed here nor named by the variable.
    """
    load_plugins(os.environ.get(PLUGINS) or None)
    remedy = f"install it, or start flower-supernode or flower-superlink with {PLUGINS}=<module or .py file>"
    check_saved_plugins(named, "this run", remedy)
    return plugin_hashes(load_plugins(named))


def check_same_plugins(who: str, expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Refuse code that differs.

    Args:
        who: Whose code was found.
        expected: Module -> hash of its source.
        found: The same of those that were found.

    Raises:
        ConfigError: One differs.
    """
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if differing:
        raise ConfigError(f"{who} has other plug-ins: expected the same source, found another: {shown(differing)}")
