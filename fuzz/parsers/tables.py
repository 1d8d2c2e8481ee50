"""``table.yaml`` and ``paper.yaml`` beside a grid's rows, up to the tables that are made by them."""

from __future__ import annotations

from contract import outcome, parts, scratch

from recbole_attack.report.experiment import read_about


def run(data: bytes) -> str:
    """Read the files."""
    folder = scratch("tables")
    for name, content in zip(("table.yaml", "paper.yaml", "notes.md"), parts(data, 3), strict=True):
        (folder / name).write_bytes(content or b"")
    return outcome(lambda: read_about(folder))
