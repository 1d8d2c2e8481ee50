"""Runs as one tidy data frame: a row for each run, arm, ranking and metric."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_attack.benchmark.store import Store
from recbole_attack.experiment.arms import PLACE
from recbole_attack.report.record import ARM
from recbole_attack.report.words import ARMS
from recbole_attack.utils.errors import DataError, did_you_mean, shown
from recbole_attack.utils.shapes import misfit

Record = Mapping[str, Any]
COLUMNS = ("run", "arm", "protocol", "metric", "value", "seed", "epoch")
"""The columns every frame has, in front of those of the parameters that vary."""

_PROTOCOLS = {"test_result": "configured", "test_result_full": "full"}
_NEEDED = {"config", "seed", "history"}
_SHAPE = {
    "config": dict,
    "seed": int,
    "?budget": {"?malicious_share": (float, None)},
    **{f"?{arm}": ({f"?{name}": of for name, of in ARM.items()}, None) for arm in ARMS},
}
_NO_PARAMETER = PLACE | {"seed"}


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Test metrics of runs, one figure a row.

    Args:
        records: Contents of ``result.json``. A key ``run`` names the run; without it, it is called by its number.

    Returns:
        Columns ``run``; ``arm`` (``local``, ``clean``, ``attacked``); ``protocol``, ``configured`` or ``full`` where
        the configured ranking samples candidates; ``metric``; ``value`` in the metric's own range, NaN where undefined;
        ``seed``; ``epoch``, after which the model was tested, from 0; and a column for each parameter of the attacked
        run that is not the same in all of them. Lists and mappings among the parameters stand there as text, and NA
        where a run has no such parameter. ``malicious_share``, of whole clients as the run had them, stands there like
        a parameter: ``malicious_ratio`` is what was configured.
    """
    kept = list(records)
    configs = [_parameters(record) for record in kept]
    varying = _varying(configs)
    rows = [
        {
            "run": record.get("run", str(number)),
            "arm": arm,
            "protocol": protocol,
            "metric": metric,
            "value": value,
            "seed": record["seed"],
            "epoch": record[arm].get("tested_epoch"),
            **{key: _cell(config.get(key)) for key in varying},
        }
        for number, (record, config) in enumerate(zip(kept, configs, strict=True))
        for arm in ARMS
        if record.get(arm)
        for key, protocol in _PROTOCOLS.items()
        for metric, value in (record[arm].get(key) or {}).items()
    ]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *varying])
    return frame.astype({"value": float, "seed": "int64", "epoch": "Int64"})


def _parameters(record: Record) -> dict[str, Any]:
    share = record.get("budget", {}).get("malicious_share")
    return {**record["config"], **({} if share is None else {"malicious_share": share})}


def _varying(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters with more than one value, in the order of the configurations."""
    names = dict.fromkeys(key for config in configs for key in config if key not in _NO_PARAMETER)
    first = configs[0] if configs else {}
    return [name for name in names if any(config.get(name) != first.get(name) for config in configs)]


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def load_runs(folder: str | Path) -> pd.DataFrame:
    """The test metrics of all runs below a folder; see :func:`tidy`.

    Args:
        folder: A run's folder, a grid's store, or one with any number of them at any depth; records that lie in it as
            ``<name>.json`` are read as well, if it is no store. Runs that have no result yet are left out. A run is
            called by its path from here, one in a store by its row, with the store's path from here in front. Of a
            store they are the runs of the grid that was last run with it.

    Raises:
        DataError: There is no such folder, no run in it, a file that should hold a record does not, or a store cannot
            be read.
    """
    place = Path(folder)
    loose = [] if (place / "cells.jsonl").is_file() else place.glob("*.json")
    files = {*place.rglob("result.json"), *loose} - {place / "dataset.json"}
    records = [{**_read(file), "run": _name(file, place)} for file in sorted(files)]
    for cells in sorted(place.rglob("cells.jsonl")):
        within = cells.parent.relative_to(place)
        for row, of_seeds in Store(cells.parent).records().items():
            records += [{**record, "run": (within / row).as_posix()} for record in of_seeds]
    if not records:
        found = "a folder without one" if place.is_dir() else "no such folder"
        others = [other.name for other in place.absolute().parent.glob("*/") if _holds_runs(other)]
        hint = did_you_mean(place.absolute().name, others)
        raise DataError(
            f"{place} holds no run: expected result.json or cells.jsonl in it or below it, found {found}{hint}"
        )
    return tidy(records)


def _holds_runs(folder: Path) -> bool:
    """Whether it is a run's folder or a store, or holds one: not further down, where there may be anything."""
    return any(True for name in ("result.json", "cells.jsonl") for part in ("", "*/") for _ in folder.glob(part + name))


def _name(file: Path, place: Path) -> str:
    if file.name != "result.json":
        return file.stem
    return place.absolute().name if file.parent == place else file.parent.relative_to(place).as_posix()


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON: {' '.join(str(error).split())}") from error
    missing = sorted(_NEEDED - (record.keys() if isinstance(record, dict) else set()))
    if missing:
        raise DataError(f"{file} is no record of a run: expected {', '.join(missing)} in it, found {shown(record)}")
    wrong = misfit(record, _SHAPE)
    if wrong:
        raise DataError(f"{file} is no record of a run: expected {wrong}")
    return record
