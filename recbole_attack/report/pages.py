"""A report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recbole_attack.report import settings
from recbole_attack.report.cells import Cells
from recbole_attack.report.detectors import detection_tables
from recbole_attack.report.markdown import captions
from recbole_attack.report.matrices import Matrix, matrices
from recbole_attack.report.numbers import heading
from recbole_attack.report.pictures import Drawing, svg
from recbole_attack.report.texts import WORST, Section, full_table, matrix_cell, matrix_title
from recbole_attack.report.threats import shared_facts, threat


def render(cells: Cells, title: str, finding: str, drawings: Mapping[str, tuple[str, Drawing]]) -> str:
    """The page: finding, what rows share, matrices, all rows, detectors, curves, threats; settings folded away.

    Whatever comes from records is escaped, and the page may load nothing and run no script but its own.

    Args:
        cells: The rows.
        title: Its heading.
        finding: What was found, as plain text; an empty line begins a new paragraph.
        drawings: Name -> what it shows, and the panels.
    """
    environment = _environment()
    script = _source(environment, "page.js")
    page = environment.get_template("page.html")
    table = full_table(cells)
    first = [row for row in cells.rows if row.configured]
    return page.render(
        title=title,
        finding=[paragraph for paragraph in finding.split("\n\n") if paragraph.strip()],
        facts=shared_facts(cells),
        matrices=[_matrix(matrix, cells.exposure or "") for matrix in matrices(cells)],
        worst=WORST,
        table=table,
        figures_from=len(table.head) - len(cells.metrics),
        detectors=detection_tables(cells),
        anchors={row.name: f"threat-{number}" for number, row in enumerate(first) if row.attacked},
        threats=[(row.name, f"threat-{number}", threat(row)) for number, row in enumerate(first) if row.attacked],
        figures=[(text, _panels(name, drawing)) for name, (text, drawing) in drawings.items()],
        failures=cells.failures,
        captions=captions(cells),
        shared={key: settings.value(key, value) for key, value in _shared(cells).items()},
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_source(environment, "page.css"),
        versions=sorted({str(record.get("version", "?")) for row in first for record in row.records}),
    )


def render_sections(title: str, sections: Sequence[Section]) -> str:
    """A page of paragraphs and tables that runs no script; everything in them is shown as it is.

    Args:
        title: Its heading.
        sections: See :class:`~recbole_attack.report.texts.Section`.
    """
    environment = _environment()
    page = environment.get_template("sections.html")
    return page.render(title=title, sections=sections, style=_source(environment, "page.css"))


def _environment() -> Environment:
    loader = PackageLoader("recbole_attack.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _source(environment: Environment, name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _panels(name: str, drawing: Drawing) -> list[tuple[str, Markup]]:
    """Title -> the picture of each panel."""
    figures = drawing.apart().items()
    return [(title, Markup(svg(figure, f"{name}-{number}"))) for number, (title, figure) in enumerate(figures)]


def _shared(cells: Cells) -> dict[str, Any]:
    return settings.shared(record for row in cells.rows for record in row.records)


def _matrix(matrix: Matrix, metric: str) -> dict[str, Any]:
    """What the template shows of a matrix: texts, and how dark each cell is."""
    return {
        "title": matrix_title(matrix, metric),
        "unit": heading(metric),
        "columns": matrix.columns,
        "rows": [
            (
                attack,
                [
                    {
                        "text": matrix_cell(matrix, metric, attack, column).removeprefix(WORST).strip(),
                        "worst": (attack, column) in matrix.worst,
                        "level": _level(matrix, attack, column),
                    }
                    for column in matrix.columns
                ],
            )
            for attack in matrix.attacks
        ],
    }


def _level(matrix: Matrix, attack: str, column: str) -> int:
    """Exposure in per cent, for the shade of a cell."""
    found = matrix.exposure.get((attack, column))
    return round(100 * min(max(found[1].mean, 0.0), 1.0)) if found else 0
