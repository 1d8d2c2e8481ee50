"""The store of a grid: a folder whose few files hold all that was trained for it.

``cells.jsonl`` holds a trained arm a line, sorted by key: what it was trained with, and all it ended with but the time.
``histories.jsonl`` holds their epochs, ``timings.jsonl`` how long they took and where, ``rows.jsonl`` the runs of the
grid that was last run, by the keys of their arms, and ``failures.jsonl`` the arms that failed, which are tried again.
``outcomes/`` and ``exposure/`` hold one ``<key>.npz`` for each arm that has such arrays. Without the latter a line of
``cells.jsonl`` may have what detectors found, ``detection``, and their parameters, ``detectors``.

An arm is kept once ``cells.jsonl`` has it; that file is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import Timeout

from recbole_attack.benchmark.lines import read_lines, write_lines
from recbole_attack.benchmark.plan import Arm, Cell, Plan, arm_name
from recbole_attack.benchmark.records import LATER, RESULTS, compose
from recbole_attack.evaluator.version import EVALUATOR_VERSION, completed
from recbole_attack.quick_start import TrainedArm
from recbole_attack.report.record import ARM
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import locked, tidy, write_bytes
from recbole_attack.utils.shapes import Shape

Lines = dict[str, dict[str, Any]]

_CELL = {
    **{"key": str, "evaluator": int, "version": str, "arm": str},
    **{"dataset": {"sha256": {str: str}}, "budget": {"?stages": {str: object}}},
    "parameters": {"model": str, "dataset": str, "scenario": str, "seed": int},
    **{name: ARM[name] for name in RESULTS},
    **{f"?{name}": ARM[name] for name in LATER},
    **{"?detection": {str: {str: object}}, "?detectors": {str: object}},
}
_BESIDE = ("histories.jsonl", "timings.jsonl")
_KEY = "[0-9a-f]" * 32
_ARRAYS = tuple(f"{kind}/{_KEY}.npz" for kind in ("outcomes", "exposure"))
_FILES = ("cells.jsonl", *_BESIDE, "rows.jsonl", "failures.jsonl", *_ARRAYS)
_ROW = {"row": str, "seed": int, "config": {"scenario": str}, "arms": {str: str}}
_HISTORY = {"key": str, "epochs": [dict]}
_TIMING = {"key": str, "seconds": float, "epochs": [float], "environment": dict}
_FAILURE = {"key": str, "arm": str, "error": str, "parameters": {"seed": int}}


class Store:
    """What is kept of a grid; reading it asks for no lock.

    Args:
        folder: Need not exist yet.

    Attributes:
        cells: Key -> what ``cells.jsonl`` says of the arm.
        timings: Key -> its time.
        failures: Key -> what went wrong, for arms that are not kept.
        rows: The runs of the grid that was last run.

    Raises:
        DataError: A file is damaged, or holds what another version of this package measured differently.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = _by_key(folder / "cells.jsonl", _CELL)  # first: a writer writes it last
        self._check_version()
        self._histories = self._read("histories.jsonl", _HISTORY)
        self.timings = self._read("timings.jsonl", _TIMING)
        self._check_epochs()
        failed = _by_key(folder / "failures.jsonl", _FAILURE)
        self.failures = {key: failure for key, failure in failed.items() if key not in self.cells}
        rows = [{key: line[key] for key in _ROW} for line in read_lines(folder / "rows.jsonl", _ROW)]
        self.rows = [Cell(**{**row, "config": completed(row["config"])}) for row in rows]

    def _check_version(self) -> None:
        others = {cell["evaluator"] for cell in self.cells.values()} - {EVALUATOR_VERSION}
        if others:
            raise DataError(
                f"{self.folder} cannot be read: expected cells of evaluator version {EVALUATOR_VERSION}, found some "
                f"of version {min(others)}, whose numbers do not compare; run the grid again with another store"
            )

    def _read(self, name: str, shape: Shape) -> Lines:
        lines = _by_key(self.folder / name, shape)
        missing = self.cells.keys() - lines.keys()
        if missing:
            raise DataError(
                f"{self.folder / name}: expected a line for each cell, found none for {min(missing)}; remove its line "
                "from cells.jsonl, and the same grid trains the arm again, or use another store"
            )
        return {key: lines[key] for key in self.cells}

    def _check_epochs(self) -> None:
        for key, history in self._histories.items():
            told, timed = len(history["epochs"]), len(self.timings[key]["epochs"])
            if told != timed:
                raise DataError(
                    f"{self.folder}: expected the same epochs in histories.jsonl and timings.jsonl, found {told} and "
                    f"{timed} for {key}; remove its line from cells.jsonl, and the same grid trains the arm again, or "
                    "use another store"
                )

    def begin(self, plan: Plan) -> None:
        """Let the runs of ``plan`` be those :meth:`records` tells of; what is kept of others stays."""
        self.rows = list(plan.cells)
        write_lines(self.folder / "rows.jsonl", map(asdict, self.rows))

    def add(self, arm: Arm, trained: TrainedArm) -> None:
        """Keep a trained arm. When this returns, nothing can take it away any more."""
        for kind, content in trained.arrays.items():
            write_bytes(self.folder / kind / f"{arm.key}.npz", content)
        own = {"key": arm.key, "evaluator": EVALUATOR_VERSION, "arm": arm.name}
        self._histories[arm.key] = {"key": arm.key, "epochs": trained.history}
        self.timings[arm.key] = {"key": arm.key, **trained.timing}
        self._write("timings.jsonl", self.timings)
        self._write("histories.jsonl", self._histories)
        self.cells[arm.key] = {**own, "parameters": arm.parameters, **trained.record}
        self._write("cells.jsonl", self.cells)
        if self.failures.pop(arm.key, None):
            self._write("failures.jsonl", self.failures)

    def fail(self, arm: Arm, error: str) -> None:
        """Remember that an arm failed, and why."""
        self.failures[arm.key] = {"key": arm.key, "arm": arm.name, "error": error, "parameters": arm.parameters}
        self._write("failures.jsonl", self.failures)

    def finished(self) -> list[Cell]:
        """The runs all of whose arms are kept."""
        return [cell for cell in self.rows if self._is_finished(cell)]

    def failed(self, runs: Iterable[Cell] | None = None) -> dict[str, str]:
        """Arm of a run, in words -> why it failed.

        Args:
            runs: Those of the grid that was last run if absent.
        """
        chosen = self.rows if runs is None else list(runs)
        names = {key: arm_name(chosen, failure["arm"], key) for key, failure in self.failures.items()}
        return {name: self.failures[key]["error"] for key, name in names.items() if name}

    def unfinished(self, runs: Iterable[Cell] | None = None) -> dict[str, str]:
        """Row and seed of a run that lacks arms -> which, and whether they failed.

        Args:
            runs: As for :meth:`failed`.
        """
        chosen = self.rows if runs is None else list(runs)
        return {f"{run.row}, seed {run.seed}": self._lacks(run) for run in chosen if not self._is_finished(run)}

    def _is_finished(self, run: Cell) -> bool:
        return bool(run.arms) and self.cells.keys() >= set(run.arms.values())

    def _lacks(self, run: Cell) -> str:
        left = {name: key in self.failures for name, key in run.arms.items() if key not in self.cells}
        parts = {
            "failed": [name for name, failed in left.items() if failed],
            "not trained yet": [name for name, failed in left.items() if not failed],
        }
        return "; ".join(f"{state}: {', '.join(names)}" for state, names in parts.items() if names) or "no arms"

    def records(self, runs: Iterable[Cell] | None = None) -> dict[str, list[dict[str, Any]]]:
        """Row -> what ``result.json`` would hold of each of its finished runs, seeds ascending.

        Args:
            runs: As for :meth:`failed`.
        """
        chosen = self.finished() if runs is None else [run for run in runs if self._is_finished(run)]
        found: dict[str, list[dict[str, Any]]] = {cell.row: [] for cell in chosen}
        for cell in sorted(chosen, key=lambda cell: cell.seed):
            found[cell.row].append(compose(cell, self.cells, self._histories, self.timings, self.folder))
        return found

    def check_whole(self) -> None:
        """See that ``cells.jsonl`` was not lost beside the rest; nobody may be writing.

        A writer that is killed leaves the files of one arm without its cell, never those of several.

        Raises:
            DataError: It was; the rest would be removed otherwise.
        """
        beside = {
            **{name: {line["key"] for line in read_lines(self.folder / name, {"key": str})} for name in _BESIDE},
            **{Path(kind).parent.name: {file.stem for file in self.folder.glob(kind)} for kind in _ARRAYS},
        }
        for name, keys in beside.items():
            lost = keys - self.cells.keys()
            if len(lost) > 1:
                raise DataError(
                    f"{self.folder / 'cells.jsonl'}: expected a line for each arm of {name}, found none for "
                    f"{len(lost)} of {len(keys)}, such as {min(lost)}; bring the file back, or remove what else is "
                    "kept of these arms, or use another store"
                )

    def tidy(self) -> None:
        """Remove what a killed writer left, and nothing that another may have put there; nobody may be writing."""
        tidy(self.folder, *_FILES)
        for checkpoints in self.work.glob(f"{_KEY}-*"):
            shutil.rmtree(checkpoints, ignore_errors=True)
        with suppress(OSError):
            self.work.rmdir()
        for file in (file for kind in _ARRAYS for file in self.folder.glob(kind)):
            if file.stem not in self.cells:
                file.unlink()

    @property
    def work(self) -> Path:
        """A folder for checkpoints, one for each arm that begins with its key; gone when nobody is writing."""
        return self.folder / "work"

    def _write(self, name: str, lines: Lines) -> None:
        write_lines(self.folder / name, (lines[key] for key in sorted(lines)))


@contextmanager
def writing(folder: Path) -> Iterator[Store]:
    """The store in a folder, which nobody else writes to until the end of the block.

    Raises:
        DataError: Somebody does, or see :class:`Store`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / ".lock", timeout=0):
            store = Store(folder)
            store.check_whole()
            store.tidy()
            try:
                yield store
            finally:
                store.tidy()
    except Timeout as error:
        raise DataError(f"{folder} is in use: expected that no other grid writes to it, found one that does") from error


def _by_key(file: Path, shape: Shape) -> Lines:
    """Key -> line; what stands there twice is the same."""
    found: Lines = {}
    for line in read_lines(file, shape):
        if found.setdefault(line["key"], line) != line:
            raise DataError(
                f"{file}: expected one line for {line['key']}, found two that differ; remove the wrong one, or use "
                "another store"
            )
    return found
