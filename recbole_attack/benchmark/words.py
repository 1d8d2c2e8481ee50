"""What a grid comes to, in words, before it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import ceil
from statistics import fmean
from typing import Any

from recbole_attack.benchmark.plan import Arm, Cell, Plan
from recbole_attack.benchmark.store import Store
from recbole_attack.utils.words import counted


def describe_plan(plan: Plan, store: Store, jobs: int) -> str:
    """Rows, what of them is kept, what is shared, and about how long the rest takes; several lines.

    Args:
        plan: The plan.
        store: What is kept.
        jobs: Arms that are trained at once.
    """
    left = [arm for key, arm in plan.arms.items() if key not in store.cells]
    asked = sum(len(cell.arms) for cell in plan.cells)
    rows: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        rows.setdefault(cell.row, []).append(cell)
    return "\n".join(
        [
            f"{counted(len(rows), 'row')}, {counted(len(plan.cells), 'run')}, "
            f"{counted(len(plan.arms), 'arm')} instead of {asked} by sharing",
            f"store {store.folder}: {counted(len(plan.arms) - len(left), 'arm')} kept, {len(left)} to train",
            f"time: {_time(left, store, jobs)}",
            f"disk: {_disk(left, store)}",
            *idle_lines(plan.idle),
            "",
            *(f"{row}: {_row(cells, plan, store)}" for row, cells in rows.items()),
        ]
    )


def idle_lines(idle: Mapping[str, str]) -> list[str]:
    """A line for each parameter of :attr:`~recbole_attack.benchmark.plan.Plan.idle`."""
    return [f"{key} has no effect in any row that changes it: {reason}" for key, reason in idle.items()]


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.34), duration(75), duration(5400), duration(200000)
    ('0.3 s', '2 min', '1.5 h', '55.6 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{ceil(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _row(cells: list[Cell], plan: Plan, store: Store) -> str:
    return "; ".join([f"seeds {', '.join(str(cell.seed) for cell in cells)}", *_arms(cells, plan, store)])


def _arms(cells: list[Cell], plan: Plan, store: Store) -> Iterator[str]:
    used = Counter(key for cell in plan.cells for key in cell.arms.values())
    for name in cells[0].arms:
        keys = [cell.arms[name] for cell in cells]
        kept, shared = sum(key in store.cells for key in keys), max(used[key] for key in keys) - 1
        state = "kept" if kept == len(keys) else f"{kept} of {len(keys)} kept" if kept else "to train"
        failed = [store.failures[key]["error"] for key in keys if key in store.failures]
        yield (
            f"{name} {state}"
            + (f", shared with {shared} more" if shared else "")
            + (f", failed before: {failed[0]}" if failed else "")
        )


def _group(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(parameters[key] for key in ("model", "dataset", "scenario"))


def _time(left: list[Arm], store: Store, jobs: int) -> str:
    """From the mean of kept arms of the same model, dataset and scenario."""
    known: dict[tuple[Any, ...], list[float]] = {}
    for key, cell in store.cells.items():
        known.setdefault(_group(cell["parameters"]), []).append(store.timings[key]["seconds"])
    groups = [_group(arm.parameters) for arm in left]
    seconds = [fmean(known[group]) for group in groups if group in known]
    if not left or not seconds:
        return "unknown, no such arm is kept" if left else "none"
    unknown = f", and unknown for {counted(len(left) - len(seconds), 'arm')}" if len(seconds) < len(left) else ""
    return f"about {duration(sum(seconds) / min(jobs, len(left)))} with {jobs} jobs{unknown}"


def _disk(left: list[Arm], store: Store) -> str:
    if not store.cells:
        return "unknown, no arm is kept" if left else "none"
    held = sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
    return f"{_size(held)} kept, about {_size(held / len(store.cells) * len(left))} more"


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB"
