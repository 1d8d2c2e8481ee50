"""Run many configurations on all cores, keep what is finished, and go on where it was interrupted.

A grid is a YAML file: ``fixed`` parameters, a ``grid`` of lists whose combinations are run, combinations to
``exclude``, and named ``rows``; or a folder with one YAML file a row.
"""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from recbole_attack.commands.run import FAIL_IF
from recbole_attack.utils.errors import ConfigError, TrainingError, did_you_mean, shown
from recbole_attack.utils.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("grid", type=Path, help="the grid's YAML file, or a folder of rows")
    parser.add_argument("--store", type=Path, help="folder of the results; default saved/<folder>-<name> of the grid")
    parser.add_argument("--dry_run", action="store_true", help="show what would be trained, and train nothing")
    parser.add_argument(
        "--seeds", type=_seeds, nargs="+", metavar="SEED", help="run every row with these seeds instead: 1 2, or 1,2"
    )
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="run the row of this name, or those it fits, as *steam*"
    )
    parser.add_argument("--data_path", help="folder that holds the datasets' folders")
    parser.add_argument("--fail_if", metavar="GATES", help=f"{FAIL_IF}; of every row, on the mean of its seeds")
    parser.add_argument("--jobs", type=int, help="arms trained at once, a thread each; default one a core")
    parser.add_argument("--memory_gb", type=float, help="an arm fails when its process needs more than this")
    parser.add_argument(
        "--scheduler", help="train on this Dask cluster instead, such as tcp://host:8786; workers of one thread each"
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the grid, or show its plan.

    Raises:
        ConfigError: A row is not valid; nothing was run.
        DataError: A file is missing or damaged, or another grid uses the store.
        TrainingError: Some arms failed; all others are kept.
        GateError: A row meets a condition of ``fail_if``.
    """
    from recbole_attack.benchmark import (
        Store,
        default_jobs,
        default_store,
        describe_plan,
        idle_lines,
        make_plan,
        read_grid,
        run_grid,
    )
    from recbole_attack.quick_start import train_arm

    _check(arguments)
    given = {"data_path": arguments.data_path, "plugins": arguments.plugins}
    changes = {key: value for key, value in given.items() if value is not None}
    seeds = [seed for several in arguments.seeds for seed in several] if arguments.seeds else None
    plan = make_plan(_chosen(read_grid(arguments.grid, seeds, changes), arguments.only))
    gates = () if arguments.fail_if is None else _gates(arguments.fail_if, plan)
    folder, jobs = arguments.store or default_store(arguments.grid), arguments.jobs or default_jobs()
    if arguments.dry_run:
        print(describe_plan(plan, Store(folder), jobs))
        return
    for line in idle_lines(plan.idle):
        _log(f"warning: {line}")
    failed = run_grid(plan, folder, train_arm, jobs, arguments.scheduler, arguments.memory_gb, tell=_log)
    for line in failed:
        _log(f"failed: {line}")
    if failed:
        raise TrainingError(f"{len(failed)} of {len(plan.arms)} arms failed; the same command tries them again")
    print(f"kept in {folder}: {counted(len(plan.cells), 'run')}", flush=True)
    if gates:
        from recbole_attack.report.gate import check_passed

        check_passed(gates, Store(folder).records(plan.cells))


def _gates(text: str, plan: Any) -> tuple[Any, ...]:
    from recbole_attack.report.gate import gates_of

    return gates_of(text, [(cell.config, cell.arms) for cell in plan.cells])


def _seeds(word: str) -> list[int]:
    try:
        return [int(part) for part in word.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected integers, such as --seeds 1 2 or --seeds=1,2, after the grid: found {shown(word)}"
        ) from error


def _chosen(rows: list[Any], pattern: str) -> list[Any]:
    """The row of that name, or else those whose name fits: a name may have the brackets of a pattern."""
    names = [row.name for row in rows]
    chosen = [row for row in rows if row.name == pattern] or [row for row in rows if fnmatchcase(row.name, pattern)]
    if not chosen:
        near = did_you_mean(pattern, names)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ConfigError(
            f"only must fit the name of a row: found {shown(pattern)}{near or f'; rows are {_listed(names[:3])}{more}'}"
        )
    return chosen


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names))


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"jobs must be an integer at least 1: found {arguments.jobs}")
    if arguments.jobs is not None and arguments.scheduler:
        raise ConfigError("jobs: expected none with a scheduler, whose cluster has its workers: found both")
    if arguments.memory_gb is not None and not arguments.memory_gb > 0:
        raise ConfigError(f"memory_gb must be a number above 0: found {arguments.memory_gb}")
