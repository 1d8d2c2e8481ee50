"""Parameters of the engine: which federation, and what is done when a node is lost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from recbole_attack.config.checks import check_each
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.reading import read_text, read_value
from recbole_attack.utils.errors import ConfigError, lookup


def engine_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """All of them: those given, as values or as texts, and the defaults of ``properties/engine/flower.yaml``.

    Raises:
        ConfigError: One is unknown or not valid, or Flower is not installed.
    """
    if find_spec("flwr") is None:
        raise ConfigError(
            "engine 'flower' needs the package flwr, which is not installed: pip install 'recbole_attack[flower]'"
        )
    values = load_defaults("engine/flower")
    for name, value in given.items():
        lookup(values, name, "parameter of engine 'flower'")
        values[name] = read_value(name, read_text(name, value) if isinstance(value, str) else value)
    check_each({name: OPTIONS[name] for name in values}, values)
    return values
