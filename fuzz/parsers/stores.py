"""A grid's store, its five files, up to the text of a report."""

from __future__ import annotations

from contract import outcome, parts, scratch

from parsers.records import report
from recbole_attack.commands.report import read_records
from recbole_attack.report.cells import cells

FILES = ("cells.jsonl", "histories.jsonl", "timings.jsonl", "rows.jsonl", "failures.jsonl")


def run(data: bytes) -> str:
    """Read the files."""
    folder = scratch("stores")
    for name, content in zip(FILES, parts(data, len(FILES)), strict=True):
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
    return outcome(lambda: report(cells(*read_records(folder))))
