"""Turn records of runs into Markdown, CSV, LaTeX, pictures and one HTML page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import DataError, did_you_mean
from recbole_attack.utils.files import read_text
from recbole_attack.utils.words import counted

Records = Mapping[str, Sequence[Any]] | Sequence[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "source", type=Path, help="a grid's store, a run's folder, a folder of runs, or one of records as JSON files"
    )
    parser.add_argument("--grid", type=Path, help="of a store, the rows of this grid (default: of the one last run)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: report, in the source)")
    parser.add_argument("--title", help="heading of the page (default: the source's name)")
    parser.add_argument(
        "--finding", metavar="TEXT|@FILE", help="what was found, as text or @file (default: the worst case)"
    )
    parser.add_argument(
        "--may_differ",
        nargs="+",
        default=[],
        metavar="ASPECT",
        help="what rows of one victim may differ in, such as knowledge or malicious_share; else they are refused",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the report and print its finding and files.

    Raises:
        ConfigError: Rows of one victim do not compare.
        DataError: There are no records, or a file is none.
    """
    from recbole_attack.benchmark import check_victims
    from recbole_attack.report.cells import cells
    from recbole_attack.report.texts import finding
    from recbole_attack.report.writing import write_report

    found = cells(*read_records(arguments.source, arguments.grid, arguments.plugins))
    check_victims({row.name: row.records for row in found.rows}, arguments.may_differ)
    found = found._replace(may_differ=arguments.may_differ)
    sentence = _finding(arguments.finding) or finding(found)
    title = arguments.title or arguments.source.resolve().name
    out = arguments.out or arguments.source / "report"
    print(f"drawing {counted(len(found.rows), 'row')} to {out}", file=sys.stderr)
    files = write_report(found, out, title, sentence)
    print(sentence, *files, sep="\n")


def _finding(given: str | None) -> str | None:
    if given and given.startswith("@"):
        file = Path(given[1:])
        if not file.is_file():
            near = [f"@{other}" for other in file.parent.glob("*")] if file.parent.is_dir() else []
            raise DataError(
                f"--finding names no file: expected text or @file, found {given}{did_you_mean(given, near)}"
            )
        return read_text(file).strip()
    return given


def read_records(source: Path, grid: Path | None = None, plugins: str | None = None) -> tuple[Records, dict[str, str]]:
    """All records in a folder: a grid's store, or each ``result.json`` below it, or else its JSON files.

    Args:
        source: The folder.
        grid: Of a store, the grid whose rows are meant, whichever it was that trained them.
        plugins: Plug-ins that the grid was given, if any.

    Returns:
        The records, by row where rows have names; and what failed, was not finished or is not among them -> why.

    Raises:
        DataError: The folder is missing or holds no record, or a file is no record.
    """
    from recbole_attack.evaluator.version import completed
    from recbole_attack.report.record import check_record, check_records

    if not source.is_dir():
        near = [str(other) for other in source.parent.glob("*/")] if source.parent.is_dir() else []
        hint = f"; did you mean '{source.parent}'?" if source.is_file() else did_you_mean(str(source), near)
        raise DataError(f"{source} is no folder: expected one with records of runs{hint}")
    if (source / "cells.jsonl").is_file():
        from recbole_attack.benchmark import Store, read_grid, runs_of  # take long, and help does not need them

        store = Store(source)
        changes = {"plugins": plugins} if plugins else None
        runs = runs_of(read_grid(grid, changes=changes), store.cells, store.failures) if grid else None
        records = store.records(runs)
        check_records(records, source)
        return records, {**store.failed(runs), **store.unfinished(runs), **({} if grid else _others(store))}
    if grid:
        raise DataError(f"grid: expected none with {source}, which is no grid's store: found {grid}")
    stores = sorted(str(cells.parent) for cells in source.rglob("cells.jsonl"))
    if stores:
        raise DataError(f"{source} holds stores of grids: expected one of them, such as {stores[0]}")
    files = sorted(source.rglob("result.json")) or sorted(source.glob("*.json"))
    if not files:
        raise DataError(f"{source} holds no record: expected result.json in folders of runs, or records as *.json")
    found = [_json(file) for file in files]
    for file, record in zip(files, found, strict=True):
        check_record(record, file)
    return [{**record, "config": completed(record["config"])} for record in found], {}


def _others(store: Any) -> dict[str, str]:
    """That a store holds more than the rows of the grid that was last run, if it does."""
    others = store.cells.keys() - {key for run in store.rows for key in run.arms.values()}
    words = "of no row of the grid that was last run, or of seeds it did not have; --grid shows those of a grid"
    return {counted(len(others), "other kept arm"): words} if others else {}


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no record: expected JSON as in result.json, found {error}") from error
