"""Turn records of runs into Markdown, CSV, LaTeX, pictures and one HTML page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recbole_attack.report import latex, markdown, pages, texts
from recbole_attack.report.cells import Cells, cells
from recbole_attack.report.curves import epoch_panels, line_names, share_panels, trades
from recbole_attack.report.pictures import Drawing, curves_drawing, save, trades_drawing
from recbole_attack.utils.errors import DataError, did_you_mean
from recbole_attack.utils.files import write_text

_PARTS = {"config": dict, "dataset": dict, "budget": dict, "history": dict, "seed": int}
"""What every record has, and its type."""
_PICTURES = ("shares", "trade", "epochs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "source", type=Path, help="a run's folder, a folder of such folders, or a folder of records as JSON files"
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: report, in the source)")
    parser.add_argument("--title", help="heading of the page (default: the source's name)")
    parser.add_argument(
        "--finding", metavar="TEXT|@FILE", help="what was found, as text or @file (default: the worst case)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the report and print its finding and files.

    Raises:
        DataError: There are no records, or a file is none.
    """
    found = cells(read_records(arguments.source))
    out = arguments.out or arguments.source / "report"
    finding = _finding(arguments.finding) or texts.finding(found)
    title = arguments.title or arguments.source.resolve().name
    print(finding)
    for file in write_report(found, out, title, finding):
        print(file)


def _finding(given: str | None) -> str | None:
    if given and given.startswith("@"):
        file = Path(given[1:])
        if not file.is_file():
            near = [f"@{other}" for other in file.parent.glob("*")] if file.parent.is_dir() else []
            raise DataError(
                f"--finding names no file: expected text or @file, found {given}{did_you_mean(given, near)}"
            )
        return file.read_text(encoding="utf-8").strip()
    return given


def read_records(source: Path) -> list[dict[str, Any]]:
    """All records in a folder: each ``result.json`` below it, or else its JSON files.

    Raises:
        DataError: The folder is missing or holds no record, or a file is no record.
    """
    if not source.is_dir():
        near = [str(other) for other in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(f"{source} is no folder: expected one with records of runs{did_you_mean(str(source), near)}")
    files = sorted(source.rglob("result.json")) or sorted(source.glob("*.json"))
    if not files:
        raise DataError(f"{source} holds no record: expected result.json in folders of runs, or records as *.json")
    return [_record(file) for file in files]


def _record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no record: expected JSON as in result.json, found {error}") from error
    for part, kind in _PARTS.items():
        value = record.get(part) if isinstance(record, dict) else None
        if not isinstance(value, kind):
            found = f"'{part}': {type(value).__name__}" if isinstance(record, dict) else type(record).__name__
            raise DataError(
                f"{file} is no record: expected '{part}' as a {kind.__name__}, as in result.json, found {found}"
            )
    return record


def write_report(found: Cells, out: Path, title: str, finding: str) -> list[Path]:
    """Write a report's files, each whole or not at all.

    Args:
        found: The rows.
        out: Its folder, made if it is missing; pictures of an earlier report that this one lacks are removed.
        title: Heading.
        finding: What was found.

    Returns:
        The files.
    """
    drawings = draw(found)
    pictures = {f"{name}.png": text for name, (text, _) in drawings.items()}
    written = {
        "report.html": pages.render(found, title, finding, drawings),
        "report.md": markdown.render(found, title, finding, pictures),
        "report.tex": latex.render(found),
        "report.csv": texts.frame(found).to_csv(index=False, lineterminator="\n"),
    }
    for name, text in written.items():
        write_text(out / name, text)
    drawn = []
    for name in _PICTURES:
        files = [out / f"{name}.{kind}" for kind in ("png", "pdf")]
        if name in drawings:
            figure = drawings[name][1].together()
            for file in files:
                save(figure, file)
            drawn += files
        else:
            for file in files:
                file.unlink(missing_ok=True)
    return [*(out / name for name in written), *drawn]


def draw(found: Cells) -> dict[str, tuple[str, Drawing]]:
    """The pictures there are to a report: name -> what it shows, and the drawing."""
    shares, epochs, points = share_panels(found), epoch_panels(found), trades(found)
    order = line_names(found)
    interval = "bands and bars are 95 % intervals over seeds"
    drawings = {}
    if shares:
        text = f"{found.exposure} against the share of malicious clients; {interval}"
        drawings["shares"] = text, curves_drawing(shares, "malicious_ratio", order)
    if points:
        text = f"{found.exposure} against the {found.accuracy} it costs; circled: no other row gains more for less"
        drawings["trade"] = text, trades_drawing(points, order)
    if epochs:
        text = f"{found.exposure} of the attacked models while they train; {interval}"
        drawings["epochs"] = text, curves_drawing(epochs, "epoch", order)
    return drawings
