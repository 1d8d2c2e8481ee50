"""Records of runs, put together from arms that were trained apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.benchmark.plan import Cell
from recbole_attack.config.defaults import load_defaults
from recbole_attack.experiment import detections
from recbole_attack.quick_start.arm import comparison
from recbole_attack.quick_start.quick_start import RESULT_SCHEMA
from recbole_attack.utils.arrays import read_arrays
from recbole_attack.utils.errors import DataError, shown
from recbole_attack.utils.files import plain

Lines = Mapping[str, Mapping[str, Any]]

RESULTS = (
    *("best_valid_result", "test_result", "test_result_full", "standard_error", "standard_error_full"),
    *("tested_epoch", "uploads"),
)
"""What a record says of an arm; see :meth:`~recbole_attack.experiment.ArmResult.report`."""

LATER = ("tail",)
"""What came later, and an arm may lack that was stored before."""


def compose(cell: Cell, cells: Lines, histories: Lines, timings: Lines, arrays: Path) -> dict[str, Any]:
    """What ``result.json`` would hold, had the arms of a run been trained by it.

    Besides, ``outcomes`` names the file with the outcomes of each user, for every arm that has one.

    Args:
        cell: The run.
        cells: Key -> results of an arm; the same for ``histories`` and ``timings``.
        histories: See above.
        timings: See above.
        arrays: The folder with the folders of arrays.

    Raises:
        DataError: A file of arrays is damaged, or the arms were not measured alike.
    """
    arms = {name: cells[key] for name, key in cell.arms.items()}
    _check_metrics(cell, arms, arrays / "cells.jsonl")
    main, last = list(arms.values())[-1], list(cell.arms.values())[-1]
    outcomes = {name: arrays / "outcomes" / f"{key}.npz" for name, key in cell.arms.items()}
    return {
        "schema": RESULT_SCHEMA,
        "version": main["version"],
        "evaluator": main["evaluator"],
        "config": cell.config,
        "seed": cell.seed,
        "dataset": main["dataset"],
        "budget": _budget({name: arm["budget"] for name, arm in arms.items()}),
        **comparison({name: _results(arm) for name, arm in arms.items()}),
        **_detection(cell, arms, arrays),
        "history": {name: _epochs(histories[key], timings[key]) for name, key in cell.arms.items()},
        "timing": {name: timings[key]["seconds"] for name, key in cell.arms.items()},
        "environment": timings[last]["environment"],
        "outcomes": {name: str(file) for name, file in outcomes.items() if file.is_file()},
    }


def _results(arm: Mapping[str, Any]) -> dict[str, Any]:
    before = {"shipped": arm["shipped"]} if "shipped" in arm else {}  # of arms that were repaired alone
    return {**{key: arm[key] for key in RESULTS}, **{key: arm.get(key) for key in LATER}, **before}


def _check_metrics(cell: Cell, arms: Lines, file: Path) -> None:
    measured = {name: set(arm["test_result"]) for name, arm in arms.items() if arm["test_result"]}
    for name, metrics in measured.items():
        different = metrics ^ next(iter(measured.values()))
        if different:
            raise DataError(
                f"{file}: expected the same metrics of all arms of row '{cell.row}', seed {cell.seed}, found that "
                f"{name} ({cell.arms[name]}) differs in {shown(min(different))}; use another store"
            )


def _budget(of_arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the last arm says, and every arm's own stages, where arms have stages."""
    main = dict(list(of_arms.values())[-1])
    return {**main, "stages": {n: b["stages"][n] for n, b in of_arms.items()}} if "stages" in main else main


def _detection(cell: Cell, arms: Lines, arrays: Path) -> dict[str, Any]:
    """What detectors found out: from the arrays that arms show a platform; what a line says of others."""
    if cell.config["scenario"] != "pretrain":
        kept = {name: arm["detection"] for name, arm in arms.items() if "detection" in arm}
        return {"detection": kept} if kept else {}
    files = {name: arrays / "exposure" / f"{key}.npz" for name, key in cell.arms.items()}
    evidence = {name: _arrays(file) for name, file in files.items() if file.is_file()}
    for kind in ("counts", "lists"):
        shapes = {name: [*found[kind].shape] for name, found in evidence.items() if kind in found}
        if len(set(map(tuple, shapes.values()))) > 1:
            raise DataError(
                f"{arrays / 'exposure'}: expected arms of one catalogue and the same users for row '{cell.row}', "
                f"found {kind} of {shapes}"
            )
    kept = {name: _verdicts(arm, cell.config) for name, arm in arms.items()}
    found = {**kept, **plain(detections(evidence, cell.config))}
    return {"detection": {name: verdicts for name, verdicts in found.items() if verdicts}}


def _verdicts(arm: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Detector -> what the line of an arm says it found, where it had the parameters that the run has.

    A line that keeps ``detection`` in place of arrays has the parameters of its detectors under ``detectors``, as far
    as they are not the default ones. A verdict made with others is dropped: the arm's key leaves them out.
    """
    made = arm.get("detectors", {})
    read = {name: load_defaults(f"detector/{name}") for name in arm.get("detection", {})}
    return {
        name: arm["detection"][name]
        for name, own in read.items()
        if all(config.get(key, value) == made.get(key, value) for key, value in own.items())
    }


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    """What an arm shows a platform, see :meth:`~recbole_attack.experiment.PretrainExperiment.evidence`."""
    try:
        found = read_arrays(file, "exposure")
        if not _fits(found):
            shapes = {name: [*values.shape] for name, values in found.items()}
            raise DataError(
                f"{file} holds no exposure: expected {', '.join(_EVIDENCE)} of one catalogue, found {shapes}"
            )
        return found
    except DataError as error:
        raise DataError(
            f"{error}; remove the line of this arm from cells.jsonl, and the same grid trains it again"
        ) from error


_EVIDENCE = {"counts": 2, "popularity": 1, "users": 0, "targets": 1}
"""Array -> its dimensions."""


def _fits(found: Mapping[str, NDArray[Any]]) -> bool:
    """Whether these are whole numbers about the items of one catalogue, and what else there is fits them."""
    for name, dimensions in _EVIDENCE.items():
        if name not in found or found[name].ndim != dimensions or found[name].dtype.kind not in "iu":
            return False
    items, targets = len(found["popularity"]), found["targets"]
    inside = not targets.size or (targets.min() > 0 and targets.max() < items)
    counted = len(found["counts"]) == items > 1 and found["counts"].shape[1] and found["users"] > 0 and inside
    users = int(found["users"])
    return bool(counted) and all(fits(found[name], items, users) for name, fits in _BESIDE.items() if name in found)


def _fits_rows(rows: NDArray[Any], items: int, users: int) -> bool:
    shaped = rows.dtype == np.float16 and rows.ndim == 2 and len(rows) == items and 0 < rows.shape[1] <= _WIDEST
    return bool(shaped and np.isfinite(rows).all())


def _fits_pushes(pushes: NDArray[Any], items: int, users: int) -> bool:
    return bool(pushes.dtype == np.float32 and pushes.shape == (items,) and not np.isinf(pushes).any())


def _fits_lists(lists: NDArray[Any], items: int, users: int) -> bool:
    shaped = lists.dtype == np.int32 and lists.ndim == 2 and len(lists) == users and 0 < lists.shape[1] <= _MOST
    return bool(shaped and lists.min() >= 0 and lists.max() < items)


def _fits_groups(groups: NDArray[Any], items: int, users: int) -> bool:
    shaped = groups.dtype == np.int32 and groups.ndim == 2 and len(groups) == users and 0 < groups.shape[1] <= _MOST
    return bool(shaped and groups.min() >= 0)


_WIDEST = 16_384
"""Longest embedding a configuration may ask for."""

_MOST = 1000
"""Places of a list, and divisions of users, that are read at most."""

_BESIDE = {"rows": _fits_rows, "pushes": _fits_pushes, "lists": _fits_lists, "groups": _fits_groups}
"""Array that came later, and that an arm may lack -> whether it is one of so many items and users."""


def _epochs(history: Mapping[str, Any], timing: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**e, "seconds": s} for e, s in zip(history["epochs"], timing["epochs"], strict=True)]
