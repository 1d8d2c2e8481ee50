"""What a grid comes to: the arms its rows consist of, each found by a hash of all that decides how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_attack.benchmark.grid import Parameters, Row
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.idle import without_effect
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.own_code import code_of_names, own_code
from recbole_attack.evaluator.version import EVALUATOR_VERSION, NEUTRAL
from recbole_attack.experiment import arm_parameters, data_hashes
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.files import digest_of

_OF_A_CPU = load_defaults("device/cpu")


@dataclass(frozen=True)
class Arm:
    """One training, whichever rows it belongs to.

    Attributes:
        key: Hash of name, parameters, data and the evaluator's version.
        name: ``local``, ``clean`` or ``attacked``.
        parameters: All that decide how it ends; see :func:`arm_contents`.
        data: File name -> SHA-256 of the dataset's files.
        place: Parameters that say where it finds them and its plug-ins, and on which device it is trained.
    """

    key: str
    name: str
    parameters: Parameters
    data: dict[str, str]
    place: Parameters = field(compare=False)

    def check(self, data: Mapping[str, str]) -> None:
        """See that it was trained as it was planned; called where it was trained.

        Args:
            data: File name -> SHA-256 of the files it was trained on.

        Raises:
            DataError: The data or the code of plug-ins are others.
        """
        if data != self.data:
            raise DataError(f"dataset '{self.parameters['dataset']}' changed: expected {self.data}, found {data}")
        code = self.parameters.get("plugins") or {}
        here = code_of_names(code)
        if here != code:
            raise DataError(f"plug-ins changed, or are others on this machine: expected {code}, found {here}")


@dataclass(frozen=True)
class Cell:
    """One run: a row with one seed.

    Attributes:
        row: Its name.
        seed: Its seed.
        config: All parameters.
        arms: Arm -> key, in the order of ``result.json``.
    """

    row: str
    seed: int
    config: Parameters
    arms: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """All runs of a grid, and the arms to be trained for them.

    Attributes:
        cells: The runs.
        arms: Key -> arm, in the order of the runs.
        changed: Row -> parameter that it gives another value than its default -> why that does nothing, if so.
    """

    cells: tuple[Cell, ...]
    arms: dict[str, Arm]
    changed: dict[str, dict[str, str | None]] = field(default_factory=dict)

    @property
    def idle(self) -> dict[str, str]:
        """Parameter that does nothing in any of the rows that change it -> why in the first of them."""
        return idle_in_all(self.changed.values())


def make_plan(rows: Iterable[Row]) -> Plan:
    """Check every row, and find out what has to be trained.

    Raises:
        ConfigError: A row is not valid; the message names it.
        DataError: A row's dataset is not there.
    """
    cells: list[Cell] = []
    arms: dict[str, Arm] = {}
    hashes: dict[str, dict[str, str]] = {}
    changed: dict[str, dict[str, str | None]] = {}
    for row in rows:
        try:
            config = AttackConfig(config_dict=row.parameters)
            for cell, own in _runs(row, config, hashes):
                cells.append(cell)
                for arm in own:
                    arms.setdefault(arm.key, arm)
        except (ConfigError, DataError) as error:
            raise type(error)(f"row '{row.name}': {error}") from error
        changed[row.name] = {**dict.fromkeys(config.changed()), **without_effect(config)}
    return Plan(tuple(cells), arms, changed)


def idle_in_all(changed: Iterable[Mapping[str, str | None]]) -> dict[str, str]:
    """What does nothing in any of some rows that change it, of :attr:`Plan.changed`, and why in the first of them."""
    reasons: dict[str, list[str | None]] = {}
    for row in changed:
        for key, reason in row.items():
            reasons.setdefault(key, []).append(reason)
    return {key: found[0] for key, found in reasons.items() if found[0] and None not in found}


def arm_key(name: str, parameters: Mapping[str, Any], data: Mapping[str, str]) -> str:
    """Hexadecimal hash of what decides how an arm ends."""
    content = {"evaluator": EVALUATOR_VERSION, "arm": name, "parameters": deciding(parameters), "data": data}
    return digest_of(content)[:32]


def deciding(parameters: Mapping[str, Any]) -> Parameters:
    """Parameters of an arm without those that are :data:`~recbole_attack.evaluator.version.NEUTRAL`.

    What an arm leaves to the device is what a CPU makes of it: a run is looked for in a store from any machine.
    """
    filled = {key: _OF_A_CPU.get(key) if value is None else value for key, value in parameters.items()}
    return {key: value for key, value in filled.items() if key not in NEUTRAL or value != NEUTRAL[key]}


def arm_contents(config: AttackConfig) -> dict[str, Parameters]:
    """Arm -> the parameters that decide how it ends, with the code of parts from outside in place of plug-ins' names.

    See :func:`~recbole_attack.experiment.arm_parameters` and :func:`~recbole_attack.config.own_code.own_code`.
    """
    contents = {}
    for name, parameters in arm_parameters(config).items():
        code = own_code({**config.final_config_dict, **parameters, "plugins": config["plugins"]})
        contents[name] = {**parameters, **({"plugins": code} if code else {})}
    return contents


def anywhere(config: AttackConfig) -> Parameters:
    """All parameters of a configuration, with the data where they are by default: on any machine the same."""
    return {**config.to_dict(), "data_path": config.internal_config_dict["data_path"]}


def _runs(row: Row, config: AttackConfig, hashes: dict[str, dict[str, str]]) -> Iterator[tuple[Cell, list[Arm]]]:
    """A row's runs with their arms; ``hashes`` remembers those of datasets that were read."""
    if config["log_wandb"]:
        raise ConfigError("log_wandb must be False in a grid, whose runs share arms: found True")
    values, data = config.to_dict(), _data(config, hashes)
    place = {key: values[key] for key in ("gpu_id", "plugins")} | {"show_progress": False}
    place["data_path"] = str(Path(values["data_path"]).resolve())
    shared = anywhere(config)
    of_arms = arm_contents(config)
    for seed in row.seeds or (config["seed"],):
        OPTIONS["seed"].check("seed", seed)
        arms = []
        for name, parameters in of_arms.items():
            own = {**parameters, "seed": seed}
            arms.append(Arm(arm_key(name, own, data), name, own, data, place))
        yield Cell(row.name, seed, {**shared, "seed": seed}, {arm.name: arm.key for arm in arms}), arms


def _data(config: AttackConfig, hashes: dict[str, dict[str, str]]) -> dict[str, str]:
    place = json.dumps([str(config[key]) for key in ("data_path", "synthetic_size", "additional_feat_suffix")])
    if place not in hashes:
        hashes[place] = data_hashes(config)
    return hashes[place]


def arm_name(cells: Iterable[Cell], name: str, key: str) -> str | None:
    """An arm by the first of some runs it belongs to; ``None`` if it belongs to none."""
    users = [cell for cell in cells if key in cell.arms.values()]
    others = f" (and {len(users) - 1} more)" if len(users) > 1 else ""
    return f"{users[0].row}, seed {users[0].seed}, {name}{others}" if users else None
