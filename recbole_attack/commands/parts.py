"""One part in full: its description and its own parameters, as a plain record and as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import recbole
from recbole.evaluator.register import metrics_dict

from recbole_attack.commands.catalogue import first_line, sections
from recbole_attack.commands.facts import BEHIND, NEEDS, USES
from recbole_attack.commands.references import described, referred_to
from recbole_attack.config.defaults import load_defaults, own_parameters
from recbole_attack.config.reading import all_options, find_option
from recbole_attack.model import base_name, find_model
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown
from recbole_attack.utils.files import plain
from recbole_attack.utils.yaml_files import load_yaml


def parts_called(name: str) -> list[dict[str, Any]]:
    """Every part and parameter of a name, any case.

    Each has kind, name, summary, description, use (how it is chosen), needs (what it knows or asks for), references
    (what its description refers to, by name) and parameters: default, expected and help by name.

    Raises:
        ConfigError: There is none.
    """
    tables = {kind: section.table for kind, section in sections().items()}
    own = {metric.lower() for metric in tables["metric"]}
    tables["metric"] = {**{key: metric for key, metric in metrics_dict.items() if key not in own}, **tables["metric"]}
    found = [
        _record(kind, known, part, tables)
        for kind, table in tables.items()
        for known, part in table.items()
        if known.lower() == name.lower()
    ]
    found += [_parameter(key) for key in all_options() if key.lower() == name.lower()]
    if not found:
        near = did_you_mean(name, [*(known for table in tables.values() for known in table), *all_options()])
        raise ConfigError(
            f"unknown part {shown(name)}: expected a name that 'recbole_attack list' shows, or a parameter that "
            f"'recbole_attack run --help' shows{near}"
        )
    return found


def _record(kind: str, name: str, part: Any, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    behind = BEHIND[kind](name) if kind in BEHIND else []
    texts = [described(part).partition("\n")[2].strip(), *map(described, behind)]
    parameters = _own_parameters(sections()[kind].folder, name)
    return {
        "kind": kind,
        "name": name,
        "summary": first_line(part),
        "description": "\n\n".join(filter(None, texts)),
        "use": USES[kind].format(name),
        "needs": NEEDS[kind](name) if kind in NEEDS else [],
        "references": referred_to([part, *behind], {known.lower() for table in tables.values() for known in table}),
        "parameters": {key: _about(key, default) for key, default in parameters.items()},
    }


def _parameter(key: str) -> dict[str, Any]:
    """A parameter as a part: who reads it, with which default."""
    general = load_defaults("overall")
    readers = {"every run": general} if key in general else own_parameters()
    defaults = {reader: written(values[key]) for reader, values in readers.items() if key in values}
    return {
        "kind": "parameter",
        "name": key,
        "summary": help_of(key) or "a parameter of RecBole's",
        "description": "\n".join(f"default of {reader}: {default}" for reader, default in defaults.items()),
        "use": f"--{key}=<{expected(key, None)}>",
        "needs": [],
        "references": {},
        "parameters": {},
    }


def _about(key: str, default: Any) -> dict[str, Any]:
    return {"default": plain(default), "expected": expected(key, default), "help": help_of(key)}


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
    holds = " | ".join(option.choices) if option.choices else option.expected
    return f"{holds}, or null" if option.optional and default is not None else holds


def parameter_line(name: str, text: str, holds: str, default: str) -> str:
    """One line of help."""
    return f"  --{name:<26} {f'{text} ' if text else ''}({holds}; default {default})"


def as_text(part: dict[str, Any]) -> str:
    """A record of :func:`parts_called` as text."""
    parameters = [
        parameter_line(name, about["help"], about["expected"], written(about["default"]))
        for name, about in part["parameters"].items()
    ]
    none = [] if part["kind"] == "parameter" else ["no parameters of its own"]
    blocks = [
        f"{part['kind'].replace('_', ' ')} {part['name']}\n{part['summary']}",
        part["description"],
        *(f"{name}: {words}" for name, words in part["references"].items()),
        "\n".join(
            [f"use\n  {part['use']}", *(["needs", *(f"  {line}" for line in part["needs"])] if part["needs"] else [])]
        ),
        "\n".join(["parameters", *parameters] if parameters else none),
    ]
    return "\n\n".join(filter(None, blocks))


def written(default: Any) -> str:
    """A default value as it could be given."""
    return "null" if default is None else str(default)
