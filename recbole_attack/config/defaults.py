"""Default parameters: YAML files of the package, chosen by what the user chose."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES, UPLOADS
from recbole_attack.config.options import SCENARIOS
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, DETECTORS, PRE_AGGREGATORS
from recbole_attack.utils.errors import ConfigError, lookup
from recbole_attack.utils.yaml_files import YamlLoader

RECIPES = {
    **{"scenario": "scenario", "attack": "attack", "upload": "upload"},
    **{"aggregator": "defense", "pre_aggregator": "pre_aggregator", "client_defense": "defense"},
}
"""Parameters that name a recipe -> the folder of its default parameters."""

ATTACKS_OF: dict[str, Mapping[str, Any]] = {
    "federated": ATTACKS,
    "central": {"none": ATTACKS["none"]},
    "pretrain": BACKDOORS,
    "recbole": {"none": ATTACKS["none"], **PROFILES},
}
"""Scenario -> the attacks there are."""


def properties() -> Path:
    """The folder of default parameters: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "properties"
    return inside if inside.is_dir() else package.parent / "properties"


def load_defaults(name: str) -> dict[str, Any]:
    """Default parameters of one of this package's files or of its registered counterpart, none if there is neither."""
    if name in REGISTERED:
        return dict(REGISTERED[name])
    path = properties() / f"{name}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return parsed(text) or {}


def parsed(text: str, loader: type[YamlLoader] = YamlLoader) -> Any:
    """What a file of defaults says, which is read for every configuration anew."""
    known: Any = loader  # to mypy, classes of classes cannot be kept
    return deepcopy(_parsed(text, known))


@cache
def _parsed(text: str, loader: Any) -> Any:
    return yaml.load(text, Loader=loader)


def fitted(values: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Parameters, those that are empty filled in where the type of the device (``properties/device``) has a value."""
    own = load_defaults(f"device/{device}")
    return {key: own[key] if value is None and key in own else value for key, value in values.items()}


def recipe_files(kind: str, chosen: Mapping[str, Any]) -> list[str]:
    """The files whose parameters come with a recipe: its own, and all detectors' where they look for the targets.

    In the scenario ``recbole`` an attack is the profile of fake users.

    Args:
        kind: A key of :data:`RECIPES`.
        chosen: The name of each recipe.
    """
    name, scenario = chosen[kind], chosen["scenario"]
    detectors = [f"detector/{detector}" for detector in DETECTORS] if (kind, name) == ("scenario", "pretrain") else []
    folder = "profile" if (kind, scenario) == ("attack", "recbole") else RECIPES[kind]
    return [f"{folder}/{name}", *detectors]


def own_parameters() -> dict[str, dict[str, Any]]:
    """What has parameters of its own, such as ``aggregator krum``, and their default values."""
    found_files = (file for file in sorted(properties().glob("*/*.yaml")) if file.parent.name != "evaluation")
    files = [f"{file.parent.name}/{file.stem}" for file in found_files]  # an evaluation fixes what others read
    found = {}
    for file in dict.fromkeys([*files, *REGISTERED]):
        kind, name = file.split("/")
        if kind == "defense":
            kind = "aggregator" if name in AGGREGATORS else "client_defense"
        found[f"{kind} {name}"] = load_defaults(file)
    return found


def readers(key: str) -> list[str]:
    """The recipes and models that read a parameter of their own, such as ``aggregator krum``."""
    return [owner for owner, values in own_parameters().items() if key in values]


def chosen_recipes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The name of each recipe in :data:`RECIPES`; an attack of the other scenario implies that scenario.

    Args:
        given: What the user gave.

    Raises:
        ConfigError: There is no such recipe, or no such attack in the scenario.
    """
    overall = load_defaults("overall")
    only_pretrain = [name for name in BACKDOORS if name not in ATTACKS]
    implied = "pretrain" if given.get("attack") in only_pretrain else overall["scenario"]
    scenario = _known(SCENARIOS, given.get("scenario", implied), "scenario")
    attack = given.get("attack", load_defaults(f"scenario/{scenario}")["attack"])
    _known({**ATTACKS, **BACKDOORS, **PROFILES}, attack, "attack")
    if attack not in ATTACKS_OF[scenario]:
        fitting = [name for name, attacks in ATTACKS_OF.items() if attack in attacks]
        raise ConfigError(f"attack '{attack}': expected scenario '{fitting[0]}', found '{scenario}'")
    tables: dict[str, Mapping[str, Any]] = {
        **{"upload": UPLOADS, "aggregator": AGGREGATORS},
        **{"pre_aggregator": PRE_AGGREGATORS, "client_defense": CLIENT_DEFENSES},
    }
    others = {key: _known(table, given.get(key, overall[key]), key) for key, table in tables.items()}
    return {"scenario": scenario, "attack": attack, **others}


def _known(table: Mapping[str, Any], name: Any, kind: str) -> Any:
    lookup(table, name, kind)
    return name
