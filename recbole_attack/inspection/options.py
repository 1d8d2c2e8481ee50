"""What an inspection is asked besides the parameters of a configuration; its defaults stand in ``inspect.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.config.checks import Option, check_each
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.values import parse_value
from recbole_attack.defense import DETECTORS
from recbole_attack.utils.errors import lookup

INSPECTION: dict[str, Option] = {
    "items": Option("file of the items' tokens, row 1 first; the dataset's order without", str, optional=True),
    "local": Option("model file of the platform's own model; trained without", str, optional=True),
    "detector": Option("the detector that decides", str, DETECTORS),
    "clean_models": Option("clean models by which scores are judged", int, low=1, high=10_000),
    "false_alarms": Option("share of clean models that may be flagged", float, above=0.0, high=0.5),
    "output": Option("folder for flagged.csv and inspection.json; a new one without", str, optional=True),
}


def inspection_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """All of them: those given, as values or as texts, and the defaults of the others.

    Raises:
        ConfigError: One is unknown or not valid.
    """
    values = load_defaults("inspect")
    for name, value in given.items():
        option = lookup(INSPECTION, name, "option of inspect")
        read = parse_value(value) if isinstance(value, str) and option.literal else value
        values[name] = option.value(name, read)
    check_each(INSPECTION, values)
    return values
