"""Write an experiment's page: its rows beside what a paper printed, from what a store holds of them.

An experiment is a grid. Beside the rows of a folder may stand what the page is made of as well: paper.yaml with what the
paper printed, notes.md with what was found, and table.yaml with columns, comparisons, may_differ and a figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import ConfigError, DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("grid", type=Path, help="the grid's YAML file, or a folder of rows")
    parser.add_argument("--store", type=Path, help="folder of the results; default saved/<folder>-<name> of the grid")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.md", help="write it there, with its raw cells as CSV and its picture beside it"
    )
    parser.add_argument(
        "--may_differ",
        nargs="+",
        metavar="ASPECT",
        help="what rows of one victim may differ in, such as knowledge or malicious_share; default as table.yaml says",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the page, or write it.

    Raises:
        ConfigError: A row is not valid, or rows do not compare.
        DataError: A file is missing or damaged, or the store holds none of the rows.
    """
    from recbole_attack.benchmark import Store, default_store, kept_runs, read_grid, title_of
    from recbole_attack.report.experiment import experiment_page, panels_of, read_about
    from recbole_attack.report.pictures import plot_panels
    from recbole_attack.report.published import published_cells
    from recbole_attack.utils.files import write_text

    rows, about = read_grid(arguments.grid), read_about(arguments.grid)
    folder, out = arguments.store or default_store(arguments.grid), arguments.out
    if out is not None and out.suffix != ".md":
        raise ConfigError(f"out must be a file whose name ends in .md: found {out}")
    if not folder.is_dir():
        raise DataError(f"{folder} holds no run: expected a store, such as grid {arguments.grid} --store={folder} makes")
    store = Store(folder)
    records = store.records(kept_runs(rows, store.cells))
    may_differ = about.may_differ if arguments.may_differ is None else arguments.may_differ
    _check(records, may_differ)
    again = f"{arguments.grid.as_posix()}{f' --store={folder.as_posix()}' if arguments.store else ''}"
    commands = [f"recbole_attack grid {again} --data_path=<folder>", f"recbole_attack table {again}"]
    commands[1] += f" --out={out.as_posix()}" if out else ""
    missing = [row.name for row in rows if row.name not in records]
    picture = (out or Path(title_of(arguments.grid))).with_suffix(".png")
    text = experiment_page(title_of(arguments.grid), records, missing, about, commands, picture.name)
    if out is None:
        print(text, end="")
        return
    files = {out: text, out.with_suffix(".csv"): _csv(published_cells(records, about.paper, about.columns))}
    for file, content in files.items():
        write_text(file, content)
    panels = panels_of(records, about)
    if panels:
        plot_panels(panels, about.figure["x"], picture)
    print(*files, *([picture] if panels else []), sep="\n")


def _csv(cells: Any) -> str:
    return str(cells.to_csv(index=False, lineterminator="\n"))


def _check(records: Mapping[str, Sequence[Mapping[str, Any]]], may_differ: Sequence[str]) -> None:
    """Each victim's rows compare with each other."""
    from recbole_attack.benchmark import check_comparable

    victims: dict[tuple[str, str], dict[str, Any]] = {}
    for row, seeds in records.items():
        place = seeds[0]["config"]["model"], seeds[0]["dataset"]["name"]
        victims.setdefault(place, {})[row] = seeds
    for rows in victims.values():
        check_comparable(rows, may_differ)
