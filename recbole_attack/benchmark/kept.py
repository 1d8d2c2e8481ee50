"""What a store holds of a grid's rows, whichever grid it was trained for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_attack.benchmark.grid import Parameters, Row
from recbole_attack.benchmark.plan import Cell, anywhere, deciding
from recbole_attack.config import AttackConfig
from recbole_attack.experiment import arm_parameters
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.files import plain

Arms = dict[str, dict[int, list[str]]]
"""Arm and parameters without the seed, as text -> seed -> keys of the arms that have them."""


def kept_runs(rows: Iterable[Row], cells: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    """The finished runs of some rows, by seed, with every seed there is.

    They are found by their parameters alone, so the data they were made from need not be there any more. The arms of
    one run were trained on the same data.

    Args:
        rows: Of a grid; a row without a run is left out.
        cells: Key -> arm, of a store.

    Raises:
        ConfigError: A row is not valid; the message names it.
        DataError: A run was made from several versions of its dataset, which a table cannot tell apart.
    """
    arms: Arms = {}
    for key, cell in cells.items():
        arms.setdefault(_content(cell["arm"], cell["parameters"]), {}).setdefault(
            cell["parameters"]["seed"], []
        ).append(key)
    found = []
    for row in rows:
        try:
            found += _runs(row, arms, cells)
        except (ConfigError, DataError) as error:
            raise type(error)(f"row '{row.name}': {error}") from error
    return found


def _runs(row: Row, arms: Arms, cells: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    config = AttackConfig(config_dict=row.parameters)
    kept = {name: arms.get(_content(name, values), {}) for name, values in arm_parameters(config).items()}
    values = anywhere(config)
    return [
        Cell(row.name, seed, {**values, "seed": seed}, _of_one_data({n: of[seed] for n, of in kept.items()}, cells))
        for seed in sorted(set.intersection(*map(set, kept.values())))
    ]


def _of_one_data(arms: Mapping[str, list[str]], cells: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Arm -> key, the only one there is, all of them of the same data.

    Args:
        arms: Arm -> keys of one seed.
        cells: As for :func:`kept_runs`.
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
