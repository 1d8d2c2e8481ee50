"""What a store holds of a grid's rows, whichever grid it was trained for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from recbole_attack.benchmark.grid import Parameters, Row
from recbole_attack.benchmark.plan import Cell, anywhere, arm_contents, deciding
from recbole_attack.config import AttackConfig
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.files import plain

Lines = Mapping[str, Mapping[str, Any]]

Arms = dict[str, dict[int, list[str]]]
"""Arm and parameters without the seed, as text -> seed -> keys of the arms that have them."""


def kept_runs(rows: Iterable[Row], cells: Lines) -> list[Cell]:
    """The finished runs of some rows, by seed; see :func:`runs_of`."""
    return [run for run in runs_of(rows, cells) if cells.keys() >= set(run.arms.values())]


def runs_of(rows: Iterable[Row], cells: Lines, failures: Lines | None = None) -> list[Cell]:
    """The runs of some rows by seed: those of the seeds a row names, whatever else the store holds of it.

    A row that names none has every seed that is finished or has failed, and its default one where there is no other.
    Runs are found by their parameters alone, so the data they were made from need not be there any more. The arms of
    one run were trained on the same data.

    Args:
        rows: Of a grid.
        cells: Key -> arm, of a store.
        failures: The same of arms that failed.

    Returns:
        The runs; an arm that is neither kept nor has failed has an empty key.

    Raises:
        ConfigError: A row is not valid; the message names it.
        DataError: A run was made from several versions of its dataset, which a table cannot tell apart.
    """
    kept, failed = _by_content(cells), _by_content(failures or {})
    found: list[Cell] = []
    for row in rows:
        try:
            found += _runs(row, kept, failed, cells)
        except (ConfigError, DataError) as error:
            raise type(error)(f"row '{row.name}': {error}") from error
    return found


def _by_content(lines: Lines) -> Arms:
    arms: Arms = {}
    for key, line in lines.items():
        seeds = arms.setdefault(_content(line["arm"], line["parameters"]), {})
        seeds.setdefault(line["parameters"]["seed"], []).append(key)
    return arms


def _runs(row: Row, kept: Arms, failed: Arms, cells: Lines) -> Iterator[Cell]:
    config = AttackConfig(config_dict=row.parameters)
    contents = {name: _content(name, values) for name, values in arm_contents(config).items()}
    whole = set.intersection(*(set(kept.get(content, {})) for content in contents.values()))
    every = whole | _tried(list(contents.values()), kept, failed)
    values = anywhere(config)
    for seed in sorted(row.seeds or every or {config["seed"]}):
        arms = {name: kept.get(content, {}).get(seed, []) for name, content in contents.items()}
        if seed in whole:
            keys = _of_one_data(arms, cells)
        else:
            lost = {name: failed.get(content, {}).get(seed, []) for name, content in contents.items()}
            keys = {name: next(iter(arms[name] + lost[name]), "") for name in arms}
        yield Cell(row.name, seed, {**values, "seed": seed}, keys)


def _tried(contents: list[str], kept: Arms, failed: Arms) -> set[int]:
    """Seeds of runs that have failed: the others' arms may belong to other rows, but hardly the last."""
    own = {*kept.get(contents[-1], {}), *failed.get(contents[-1], {})}
    return own & {seed for content in contents for seed in failed.get(content, {})}


def _of_one_data(arms: Mapping[str, list[str]], cells: Lines) -> dict[str, str]:
    """Arm -> key, the only one there is, all of them of the same data.

    Args:
        arms: Arm -> keys of one seed.
        cells: As for :func:`runs_of`.
    """
    keys = [key for of_arm in arms.values() for key in of_arm]
    versions = {json.dumps(cells[key]["dataset"]["sha256"], sort_keys=True) for key in keys}
    if len(versions) > 1 or len(keys) > len(arms):
        seed = cells[keys[0]]["parameters"]["seed"]
        raise DataError(
            f"seed {seed} was run on {max(2, len(versions))} versions of its dataset: expected one, found arms "
            f"{', '.join(keys)}; keep them in stores of their own"
        )
    return {name: key for name, (key,) in arms.items()}


def _content(arm: str, parameters: Parameters) -> str:
    own = {key: value for key, value in deciding(parameters).items() if key != "seed"}
    return json.dumps(plain([arm, own]), sort_keys=True)
