"""A grid from its plan to its store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from time import perf_counter

from recbole_attack.benchmark.cluster import cluster_outcomes
from recbole_attack.benchmark.plan import Plan, arm_name
from recbole_attack.benchmark.store import Store, writing
from recbole_attack.benchmark.words import duration
from recbole_attack.benchmark.workers import Outcome, Train, outcomes
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.words import counted

Tell = Callable[[str], object]
"""Is told how far a grid is, a line at a time."""


def run_grid(
    plan: Plan,
    folder: Path,
    train: Train,
    jobs: int,
    scheduler: str | None = None,
    memory_gb: float | None = None,
    tell: Tell = print,
) -> list[str]:
    """Train what the store does not hold yet.

    Whatever ends it and when, the arms that were finished are kept, and the same call goes on from there.

    Args:
        plan: What to train.
        folder: The store's.
        train: Trains one arm.
        jobs: See :func:`~recbole_attack.benchmark.workers.outcomes`.
        scheduler: Address of a Dask cluster, which trains them instead; see
            :func:`~recbole_attack.benchmark.cluster.cluster_outcomes`.
        memory_gb: What a process may take up; an arm that needs more fails.
        tell: Is called with a line after every arm.

    Returns:
        A line for each arm that failed.

    Raises:
        ConfigError: There is no such cluster, or not with the versions of this machine.
        DataError: Another grid writes to the store, or it is damaged or of another version, or cannot be written to.
        KeyboardInterrupt: As it came, with a word on how to go on.
        TrainingError: A process was killed, or the cluster went away.
    """
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return _nothing_left(plan, folder)
    with writing(folder) as store:
        store.begin(plan)
        left = [arm for key, arm in plan.arms.items() if key not in store.cells]
        try:
            if scheduler:
                ended = cluster_outcomes(left, train, scheduler, memory_gb)
            else:
                ended = outcomes(left, train, jobs, store.work, memory_gb)
            with closing(ended):
                return _keep(plan, store, ended, len(left), tell)
        except KeyboardInterrupt as interrupt:
            kept = len(plan.arms.keys() & store.cells.keys())
            raise type(interrupt)(
                f"interrupted; {kept} of {len(plan.arms)} arms kept in {folder}; the same command goes on from there"
            ) from None


def _nothing_left(plan: Plan, folder: Path) -> list[str]:
    """What a store that cannot be written to gives for a grid, all of which it holds."""
    missing = len(plan.arms.keys() - Store(folder).cells.keys())
    if missing:
        raise DataError(f"{folder} cannot be written to: expected nothing to train, found {counted(missing, 'arm')}")
    return []


def _keep(plan: Plan, store: Store, ended: Iterable[Outcome], left: int, tell: Tell) -> list[str]:
    start, failed = perf_counter(), []
    for done, (arm, result) in enumerate(ended, start=1):
        name = arm_name(plan.cells, arm.name, arm.key)
        if isinstance(result, str):
            store.fail(arm, result)
            failed.append(f"{name}: {result}")
            what = f"failed: {result}"
        else:
            store.add(arm, result)
            what = duration(result.timing["seconds"])
        rest = (perf_counter() - start) / done * (left - done)
        ahead = f"; about {duration(rest)} left" if done < left else ""
        tell(f"[{len(plan.arms) - left + done}/{len(plan.arms)}] {name}: {what}{ahead}")
    return failed
