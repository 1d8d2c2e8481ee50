"""How well detectors did, in the rows of a report."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_attack.report.cells import Cells, Row, estimate, figure
from recbole_attack.report.texts import Table
from recbole_attack.report.words import ARMS, sought


def detection_tables(cells: Cells) -> list[Table]:
    """A table for each kind of detectors that were asked: a line for each model of a row and detector.

    Figures are those of ``detection`` in the records, means over seeds.
    """
    asked: dict[str, list[Row]] = {}
    for row in cells.rows:
        if row.configured and any(record.get("detection") for record in row.records):
            asked.setdefault(sought(row.records[0]), []).append(row)
    return [_table(f"Can the {what} be found?", rows) for what, rows in asked.items()]


def _table(title: str, rows: Sequence[Row]) -> Table:
    found = {(row.name, *key): (row, key) for row in rows for key in _asked(row)}
    qualities = list(
        dict.fromkeys(
            quality for row, (arm, name) in found.values() for one in _said(row, arm, name) for quality in one
        )
    )
    body = []
    for row, (arm, name) in found.values():
        said = _said(row, arm, name)
        values = [estimate(one.get(quality) for one in said) for quality in qualities]
        body.append([row.name, arm, name, *(figure(value, "", row.seeds) for value in values)])
    return Table(title, ["row", "model", "detector", *qualities], body)


def _asked(row: Row) -> dict[tuple[str, str], None]:
    """Arm and detector, in the order of records."""
    return dict.fromkeys(
        (arm, name) for arm in ARMS for record in row.records for name in (record.get("detection") or {}).get(arm, ())
    )


def _said(row: Row, arm: str, name: str) -> list[dict[str, float | None]]:
    """Of every seed, how well a detector did; nothing where it was not asked."""
    return [(record.get("detection") or {}).get(arm, {}).get(name, {}) for record in row.records]
