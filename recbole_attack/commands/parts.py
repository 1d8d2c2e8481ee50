"""One part in full: its description and its own parameters, as a plain record and as text."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import recbole
from recbole.evaluator.register import metrics_dict

from recbole_attack.commands.catalogue import described, first_line, sections
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.reading import find_option
from recbole_attack.defense import AGGREGATORS, PRE_AGGREGATORS
from recbole_attack.model import base_name, find_model
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown
from recbole_attack.utils.files import plain
from recbole_attack.utils.yaml_files import load_yaml


def parts_called(name: str) -> list[dict[str, Any]]:
    """Every part of a name, any case: kind, name, summary, description, and default, expected and help by parameter.

    Raises:
        ConfigError: There is none.
    """
    tables = {kind: section.table for kind, section in sections().items()}
    own = {metric.lower() for metric in tables["metric"]}
    tables["metric"] = {**{key: metric for key, metric in metrics_dict.items() if key not in own}, **tables["metric"]}
    found = [
        _record(kind, known, part)
        for kind, table in tables.items()
        for known, part in table.items()
        if known.lower() == name.lower()
    ]
    if not found:
        near = did_you_mean(name, [known for table in tables.values() for known in table])
        raise ConfigError(f"unknown part {shown(name)}: expected a name that 'recbole_attack list' shows{near}")
    return found


def _record(kind: str, name: str, part: Any) -> dict[str, Any]:
    rule = {"aggregator": _rule, "pre_aggregator": _mixing}.get(kind)
    texts = [described(part).partition("\n")[2].strip(), described(rule(name)) if rule else ""]
    return {
        "kind": kind,
        "name": name,
        "summary": first_line(part),
        "description": "\n\n".join(filter(None, texts)),
        "parameters": {
            key: {"default": plain(default), "expected": expected(key, default), "help": help_of(key)}
            for key, default in _own_parameters(sections()[kind].folder, name).items()
        },
    }


def _rule(name: str) -> Any:
    """The function an aggregator's recipe wires, with which its formula and example stand."""
    aggregator = AGGREGATORS[name](AttackConfig(config_dict={"aggregator": name}).final_config_dict)
    return _wired(aggregator.bank or aggregator.support or aggregator.judge or aggregator.weigh or aggregator.combine)


def _mixing(name: str) -> Any:
    """The function of a pre-aggregator, or no description where there is none."""
    rule = PRE_AGGREGATORS[name](AttackConfig(config_dict={"pre_aggregator": name}).final_config_dict)
    return _wired(rule) if rule else ""


def _wired(rule: Any) -> Any:
    """The function or value that is wired with parameters."""
    while isinstance(rule, partial):
        rule = rule.func
    return rule


def _own_parameters(folder: str, name: str) -> dict[str, Any]:
    own = {"model": model_parameters, "baseline": _recbole_parameters}
    if folder in own:
        return own[folder](name)
    return load_defaults(f"{folder}/{name}") if folder else {}


def model_parameters(name: str) -> dict[str, Any]:
    """A model's parameters with their default values, RecBole's own among them."""
    model = find_model(name)
    values = _recbole_parameters(base_name(model))
    for cls in reversed(model.__mro__):
        values |= load_defaults(f"model/{cls.__name__}")
    return values


def _recbole_parameters(name: str) -> dict[str, Any]:
    """What RecBole itself sets for a model."""
    file = Path(recbole.__file__).parent / "properties" / "model" / f"{name}.yaml"
    return load_yaml(file) if file.is_file() and file.stat().st_size else {}


def help_of(key: str) -> str:
    """What a parameter is, in one line; nothing of those that only RecBole knows."""
    option = find_option(key)
    return option.help if option else ""


def expected(key: str, default: Any) -> str:
    """What a parameter may hold, in words."""
    option = find_option(key)
    if option is None:
        return "anything" if default is None else f"a value like {default!r}"
    return " | ".join(option.choices) if option.choices else option.expected


def parameter_line(name: str, text: str, holds: str, default: str) -> str:
    """One line of help."""
    return f"  --{name:<27}{f'{text} ' if text else ''}({holds}; default {default})"


def as_text(part: dict[str, Any]) -> str:
    """A record of :func:`parts_called` as text."""
    parameters = [
        parameter_line(name, about["help"], about["expected"], written(about["default"]))
        for name, about in part["parameters"].items()
    ]
    blocks = [
        f"{part['kind'].replace('_', ' ')} {part['name']}\n{part['summary']}",
        part["description"],
        "\n".join(["parameters", *parameters]) if parameters else "no parameters of its own",
    ]
    return "\n\n".join(filter(None, blocks))


def written(default: Any) -> str:
    """A default value as it could be given."""
    return "null" if default is None else str(default)
