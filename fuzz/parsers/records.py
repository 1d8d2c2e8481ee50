"""``result.json`` of a run, up to the text of a report."""

from __future__ import annotations

import matplotlib.pyplot  # noqa: F401 (it makes folders where it is loaded first)
from contract import outcome, scratch

from recbole_attack.benchmark import check_victims
from recbole_attack.commands.report import read_records
from recbole_attack.report import latex, markdown, texts
from recbole_attack.report.cells import Cells, cells


def run(data: bytes) -> str:
    """Read ``data`` as the only record of a folder."""
    folder = scratch("records")
    (folder / "result.json").write_bytes(data)
    return outcome(lambda: report(cells(*read_records(folder))))


def report(found: Cells) -> None:
    """All that a report says, but its pictures."""
    check_victims({row.name: row.records for row in found.rows})
    markdown.render(found, "title", texts.finding(found), {})
    latex.render(found)
    texts.frame(found)
