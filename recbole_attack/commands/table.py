"""Write an experiment's page: its rows beside what a paper printed, from what a store holds of them.

An experiment is a grid. Beside the rows of a folder may stand what else the page is made of: paper.yaml with what the
paper printed, notes.md with what was found, and table.yaml with columns, comparisons, may_differ and a figure.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean

WITHOUT_FILES = ("ml-100k", "synthetic")
"""Datasets that are there for everybody."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("grid", type=Path, help="the grid's YAML file, or a folder of rows")
    parser.add_argument("--store", type=Path, help="folder of the results; default saved/<folder>-<name> of the grid")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.md",
        help="write it there, with raw cells as CSV and its picture beside it",
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
    from recbole_attack.benchmark import check_victims, default_store, read_grid, sections, title_of
    from recbole_attack.report.experiment import experiment_page, read_about

    grid, folder, out = arguments.grid, arguments.store or default_store(arguments.grid), arguments.out
    if out is not None and out.suffix != ".md":
        raise ConfigError(f"out must be a file whose name ends in .md: found {out}")
    changes = {"plugins": arguments.plugins} if arguments.plugins else None
    rows, about, title = read_grid(grid, changes=changes), read_about(grid), title_of(grid)
    records, missing = _records(rows, folder, grid)
    if arguments.may_differ is not None:
        about = replace(about, may_differ=arguments.may_differ)
    check_victims(records, about.may_differ)
    commands = _commands(arguments, rows, records)
    picture = (out or Path(title)).with_suffix(".png")
    text = experiment_page(title, records, missing, about, sections(records, about), commands, picture.name)
    if out is None:
        print(text, end="")
    else:
        print(*_write(text, records, about, out, picture), sep="\n")


def _commands(arguments: argparse.Namespace, rows: Any, records: Any) -> list[str]:
    """How to run it and to write the page again."""
    given = [arguments.grid.as_posix()]
    given += [f"--store={arguments.store.as_posix()}"] if arguments.store else []
    given += [f"--plugins={arguments.plugins}"] if arguments.plugins else []
    seeds = sorted({record["seed"] for of_row in records.values() for record in of_row})
    unsaid = any(row.seeds is None and row.parameters.get("seed") != seeds[0] for row in rows)
    chosen = [f"--seeds={','.join(map(str, seeds))}"] if unsaid else []
    elsewhere = any(
        "data_path" not in row.parameters and row.parameters.get("dataset", "ml-100k") not in WITHOUT_FILES
        for row in rows
    )
    trained = shlex.join(["recbole_attack", "grid", *given, *chosen]) + (" --data_path=<folder>" if elsewhere else "")
    written = [f"--out={arguments.out.as_posix()}"] if arguments.out else []
    differing = ["--may_differ", *arguments.may_differ] if arguments.may_differ else []
    return [trained, shlex.join(["recbole_attack", "table", *given, *written, *differing])]


def _records(rows: Any, folder: Path, grid: Path) -> tuple[Any, list[str]]:
    """The records of each row, and what is missing of rows, in words."""
    from recbole_attack.benchmark import Store, runs_of
    from recbole_attack.report.record import check_records

    if not folder.is_dir():
        near = did_you_mean(str(folder), map(str, folder.parent.glob("*")))
        raise DataError(f"{folder} is no store: expected the folder with the results of {grid}{near}")
    store = Store(folder)
    runs = runs_of(rows, store.cells, store.failures)
    records = store.records(runs)
    if not records:
        seeds = ", ".join(map(str, sorted({seed for row in rows for seed in row.seeds or ()})))
        named = f" of seeds {seeds}" if seeds else ""
        raise DataError(
            f"{folder} holds no finished run of {grid}: expected one at least{named}; recbole_attack grid trains it"
        )
    check_records(records, folder)
    left: dict[str, list[str]] = {}
    for run in runs:
        if run.seed not in [record["seed"] for record in records.get(run.row, [])]:
            left.setdefault(run.row, []).append(str(run.seed))
    return records, [f"{row} (seeds {', '.join(left[row])})" if row in records else row for row in left]


def _write(text: str, records: Any, about: Any, out: Path, picture: Path) -> list[Path]:
    """Write the page, its raw cells and its picture; the files."""
    from recbole_attack.report.experiment import panels_of
    from recbole_attack.report.pictures import plot_panels
    from recbole_attack.report.published import published_cells
    from recbole_attack.utils.files import write_text

    raw = published_cells(records, about.paper, about.columns).to_csv(index=False, lineterminator="\n")
    panels = panels_of(records, about)
    if panels:
        plot_panels(panels, about.figure["x"], picture)
    write_text(out.with_suffix(".csv"), raw)
    write_text(out, text)
    return [out, out.with_suffix(".csv"), *([picture] if panels else [])]
