"""The help of ``run``: every parameter with a check, in groups, with its default value."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES
from recbole_attack.commands.main import COMMANDS
from recbole_attack.commands.parts import expected, help_of, model_parameters, parameter_line, written
from recbole_attack.commands.run import FAIL_IF
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import load_defaults, own_parameters
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.plugins import load_plugins
from recbole_attack.config.registered import registered_options
from recbole_attack.model import MODELS

_HEAD = """\
usage: recbole_attack [run] [--model=SASRec] [--dataset=ml-100k] [--attack=dvfsr] [--key=value ...]
       recbole_attack <command> ...

Train a victim, clean and attacked, and show what the attack did.

commands, each with --help
{commands}

options
  -m, --model         the victim: {models}
  -d, --dataset       RecBole dataset name, looked up below --data_path
  -c, --config_files  YAML files, separated by spaces
  --attack            {attacks}
  --resume            run folder of an interrupted run
  --engine            in_process, or flower: the same run with its clients on the nodes of a federation
  --fail_if           {fail_if}
  --json              print the run's record (result.json) in place of its table
  --list              everything there is to choose from
  --version           the version
  --help              this text

Any parameter of RecBole or of this package can follow as --key=value. Values are written as in YAML, or as in Python.
"""

_GROUPS = {
    "profile": "parameters of profiles of fake users",
    "scenario": "parameters of scenarios",
    "attack": "parameters of attacks",
    "upload": "parameters of uploads",
    "aggregator": "parameters of aggregators",
    "pre_aggregator": "parameters of pre-aggregators",
    "client_defense": "parameters of client defenses",
    "detector": "parameters of detectors",
    "model": "parameters of models",
    "engine": "parameters of --engine=flower",
}
"""Kind of what has a parameter of its own -> the title of its group; where several kinds have it the last counts."""


def usage() -> str:
    """The text of ``--help``."""
    load_plugins()
    first_lines = {name: (import_module(home).__doc__ or "").splitlines()[0] for name, home in COMMANDS.items()}
    head = _HEAD.format(
        commands="\n".join(f"  {name:<20}{line}" for name, line in first_lines.items()),
        models=", ".join(MODELS),
        fail_if=FAIL_IF,
        attacks=", ".join({**ATTACKS, **BACKDOORS, **PROFILES}),
    )
    groups = [f"{title}\n" + "\n".join(lines) for title, lines in _grouped().items()]
    return "\n".join([head, "\n\n".join(groups)])


def _grouped() -> dict[str, list[str]]:
    """Title of a group -> the lines of its parameters."""
    owners = {**own_parameters(), **{f"model {name}": model_parameters(name) for name in MODELS}}
    general, defaults = load_defaults("overall"), AttackConfig().internal_config_dict
    groups: dict[str, list[str]] = {}
    for key in {**OPTIONS, **registered_options()}:
        readers = {owner: values[key] for owner, values in owners.items() if key in values}
        kinds = [kind for kind in _GROUPS if any(owner.split(" ")[0] == kind for owner in readers)]
        if key in general or not kinds:
            title, line = "parameters of every run", _line(key, {"": defaults.get(key)})
        else:
            own = {o.partition(" ")[2]: value for o, value in readers.items() if o.split(" ")[0] == kinds[-1]}
            title, line = _GROUPS[kinds[-1]], _line(key, own)
        groups.setdefault(title, []).append(line)
    return groups


def _line(key: str, defaults: Mapping[str, Any]) -> str:
    """One parameter with its default values, and what reads it if not every run does."""
    owners: dict[str, list[str]] = {}
    for owner, value in defaults.items():
        owners.setdefault(written(value), []).append(owner)
    texts = [f"{value} ({', '.join(names)})" if any(names) else value for value, names in owners.items()]
    return parameter_line(key, help_of(key), expected(key, next(iter(defaults.values()))), ", ".join(texts))
