"""Whom an attack reaches: exposure by how many items users had before they were tested.

    python analyses/exposure_by_history.py <experiment> <store> [--only=PATTERN] [--data_path=<folder>]

Prints a line for every run of the experiment that the store has outcomes of users for: the store it was trained in, not
``results/store``, which has none.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_attack import AttackConfig
from recbole_attack.benchmark import Store, make_plan, read_grid
from recbole_attack.evaluator import Outcomes, read_outcomes
from recbole_attack.experiment import create_dataset
from recbole_attack.report.markdown import escape

MOST = (5, 8, 12, 25, 49)
"""The longest histories of all classes but the last."""


def by_history(outcomes: Outcomes, lengths: NDArray[np.int64], k: int = 10) -> list[tuple[int, float]]:
    """Users of each class of :data:`MOST`, and the share of them that is shown a target, in the mean over targets.

    Args:
        outcomes: Of a run.
        lengths: ``[n_users]`` items each user had, by id.
        k: Length of the lists.
    """
    place = np.searchsorted(MOST, lengths[outcomes.user])
    shown = (outcomes.rank_target <= k) & outcomes.eligible
    found = []
    for own in (place == one for one in range(len(MOST) + 1)):
        counted = outcomes.eligible[own].sum(axis=0)
        shares = shown[own].sum(axis=0)[counted > 0] / counted[counted > 0]
        found.append((int(own.sum()), float(shares.mean()) if len(shares) else float("nan")))
    return found


def lines(experiment: Path, folder: Path, only: str, data_path: str) -> Iterator[list[str]]:
    """Head, and a line for each run with outcomes."""
    store = Store(folder)
    bounds = (f"{first + 1} to {last}" for first, last in zip((0, *MOST), MOST, strict=False))
    yield ["row", "seed", *bounds, f"more than {MOST[-1]}"]
    plan = make_plan(
        row for row in read_grid(experiment, None, {"data_path": data_path}) if fnmatchcase(row.name, only)
    )
    for cell in plan.cells:
        key = list(cell.arms.values())[-1]
        file = folder / "outcomes" / f"{key}.npz"
        if key not in store.cells or not file.is_file():
            continue
        dataset = create_dataset(AttackConfig(config_dict={**cell.config, "data_path": data_path}))
        found = by_history(read_outcomes(file), dataset.sequences().lengths - 1)
        yield [escape(cell.row), str(cell.seed), *(f"{100 * share:.1f} ({count})" for count, share in found)]


def main(words: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", type=Path)
    parser.add_argument("store", type=Path, help="folder the experiment was trained in")
    parser.add_argument("--only", default="*", help="rows whose names this pattern fits")
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the datasets' folders")
    given = parser.parse_args(words)
    table = list(lines(given.experiment, given.store, given.only, given.data_path))
    table.insert(1, ["---"] * len(table[0]))
    print("er@10 of users by how many items they had, in per cent (users)\n")
    print("\n".join(f"| {' | '.join(line)} |" for line in table))


if __name__ == "__main__":
    main()
