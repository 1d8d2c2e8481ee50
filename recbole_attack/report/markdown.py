"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from recbole_attack.report.cells import Cells
from recbole_attack.report.detectors import detection_tables
from recbole_attack.report.matrices import matrices
from recbole_attack.report.texts import WORST, Section, Table, full_table, matrix_table, threat_table
from recbole_attack.report.threats import shared_facts
from recbole_attack.report.words import caption, markdown, of_all
from recbole_attack.utils.words import printable

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "~": "&#126;", "$": "&#36;"}
"""What a backslash does not keep from being markup everywhere."""


def escape(text: str) -> str:
    """Text as Markdown that shows it as it is, in one line, in a table's cell too."""
    one_line = printable(" ".join(text.split()))
    return re.sub(r"[\\`*_\[\]{}|#!<>&~$]", lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), one_line)


def table(of: Table) -> str:
    """A table; the names of its rows are not code, so that they wrap."""
    return markdown([*map(escape, of.head)], [[*map(escape, line)] for line in of.body])


def render(cells: Cells, title: str, finding: str, pictures: Mapping[str, str]) -> str:
    """The whole report: finding, what rows share, matrices, pictures, all rows, detectors, threats, captions.

    Args:
        cells: The rows.
        title: Its heading.
        finding: What was found, as plain text; an empty line begins a new paragraph.
        pictures: File -> what it shows.
    """
    metric = cells.exposure or ""
    tables = [matrix_table(matrix, metric) for matrix in matrices(cells)]
    threats = threat_table(cells)
    parts = [
        f"# {escape(title)}",
        *(f"**{escape(paragraph)}**" for paragraph in finding.split("\n\n") if paragraph.strip()),
        "\n".join(f"- {term}: {escape(fact)}" for term, fact in shared_facts(cells).items()),
        "Figures are means over seeds ± the reach of the 95 % interval (t), or with its ends where it is cut at 0 or "
        f"100 %. {WORST} marks the worst case of a matrix.",
        *(f"## {escape(each.title)}\n\n{table(each)}" for each in tables),
        *(f"![{escape(text)}]({file})" for file, text in pictures.items()),
        *(
            f"## {each.title}\n\n{table(each)}"
            for each in (full_table(cells), *detection_tables(cells), threats)
            if each
        ),
        *([f"## Not finished\n\n{_list(cells.failures)}"] if cells.failures else []),
        f"## Settings\n\n{_list(captions(cells))}",
    ]
    return "\n\n".join(parts) + "\n"


def render_sections(title: str, sections: Sequence[Section]) -> str:
    """A page of paragraphs and tables; everything in them is shown as it is."""
    parts = [f"# {escape(title)}"]
    for section in sections:
        parts += [f"## {escape(section.title)}"] if section.title else []
        parts += (f"**{escape(finding)}**" for finding in section.findings)
        parts += map(escape, section.paragraphs)
        parts += [table(section.table)] if section.table else []
    return "\n\n".join(parts) + "\n"


def captions(cells: Cells) -> dict[str, str]:
    """Row -> what was run."""
    rows = [row for row in cells.rows if row.configured]
    return {row.name: f"{caption(of_all(row.records)).rpartition(';')[0]}; seeds {_seeds(row.records)}" for row in rows}


def _seeds(records: Sequence[Mapping[str, object]]) -> str:
    return ", ".join(str(record["seed"]) for record in records)


def _list(entries: Mapping[str, str]) -> str:
    return "\n".join(f"- {escape(name)}: {escape(text)}" for name, text in entries.items())
