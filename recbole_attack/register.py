"""Attacks, aggregation rules and models of one's own, by name: for ``--attack``, ``--aggregator`` and ``--model``.

What is registered lives as long as the process, so resuming a run or loading its checkpoint asks for the same call
first. Registering a name again replaces what was registered under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_attack.attack import ATTACKS, Attack
from recbole_attack.config.defaults import REGISTERED
from recbole_attack.defense import AGGREGATORS, Aggregator
from recbole_attack.model import MODELS, find_model
from recbole_attack.utils.errors import ConfigError


def register_attack(
    name: str, recipe: Callable[[Mapping[str, Any]], Attack], defaults: Mapping[str, Any] | None = None
) -> None:
    """Make an attack of clients known by name.

    Args:
        name: What ``attack`` will say.
        recipe: Reads parameters from the configuration and returns the attack; the first line of its docstring is
            what ``--list`` shows.
        defaults: Parameters of its own with their default values, whose types are checked.

    Raises:
        ConfigError: The name belongs to an attack of this package.
    """
    _register(ATTACKS, "attack", "attack", name, recipe, defaults)


def register_aggregator(
    name: str, recipe: Callable[[Mapping[str, Any]], Aggregator], defaults: Mapping[str, Any] | None = None
) -> None:
    """Make an aggregation rule known by name; see :func:`register_attack`.

    Raises:
        ConfigError: The name belongs to a rule of this package.
    """
    _register(AGGREGATORS, "aggregator", "defense", name, recipe, defaults)


def register_model(model: type[Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Make a model known by the name of its class.

    Args:
        model: A class derived from :class:`~recbole_attack.model.Victim` or one of this package's models, or a
            sequential model of RecBole's kind, which the adapter has to take.
        defaults: Parameters of its own with their default values.

    Raises:
        ConfigError: It cannot be attacked, or the name belongs to a model of this package.
    """
    _register(MODELS, "model", "model", model.__name__, find_model(model), defaults)


def _register(
    table: dict[str, Any], kind: str, folder: str, name: str, part: Any, defaults: Mapping[str, Any] | None
) -> None:
    key = f"{folder}/{name}"
    if name in table and key not in REGISTERED:
        raise ConfigError(f"{kind} '{name}' exists already: choose another name")
    table[name] = part
    REGISTERED[key] = dict(defaults or {})
