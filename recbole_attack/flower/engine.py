"""Parameters of the engine: where clients are computed, and what is done when a node is lost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from recbole_attack.config.checks import Option, check_each
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.values import parse_value
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown

ENGINE_OPTIONS: dict[str, Option] = {
    "superlink": Option("a running SuperLink", str, optional=True, form="HOST:PORT, or a connection's name"),
    "flower_nodes": Option("SuperNodes of a local federation", int, low=1, high=256),
    "node_failure": Option("what becomes of a lost node's clients", str, ("repeat", "accept")),
    "node_timeout": Option("seconds to wait for a node", float, above=0.0),
}
"""What ``--engine=flower`` takes besides, in the order ``docs/flower.md`` explains it."""


def engine_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """All of them: those given, as values or as texts, and the defaults of the others.

    Raises:
        ConfigError: One is unknown or not valid, or Flower is not installed.
    """
    if find_spec("flwr") is None:
        raise ConfigError(
            "engine 'flower' needs the package flwr, which is not installed: pip install 'recbole_attack[flower]'"
        )
    for name in given:
        if name not in ENGINE_OPTIONS:
            raise ConfigError(
                f"unknown parameter {shown(name)} of engine 'flower': expected one of {', '.join(ENGINE_OPTIONS)}"
                f"{did_you_mean(name, ENGINE_OPTIONS)}"
            )
    read = {name: _read(ENGINE_OPTIONS[name], name, value) for name, value in given.items()}
    values = {**load_defaults("engine/flower"), **read}
    check_each(ENGINE_OPTIONS, values)
    return values


def _read(option: Option, name: str, value: Any) -> Any:
    given = option.value(name, value)
    return parse_value(given) if option.literal and isinstance(given, str) else given
