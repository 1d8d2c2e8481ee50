"""A report's tables as text: one model, which Markdown, LaTeX and HTML show, and its raw numbers as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from recbole_attack.report import settings
from recbole_attack.report.cells import Cells, Estimate, Row, figure
from recbole_attack.report.matrices import Matrix
from recbole_attack.report.numbers import LOST, heading, rounded
from recbole_attack.report.threats import TERMS, threat

WORST = "▲"
"""Stands before the worst case of a matrix."""


class Table(NamedTuple):
    """A table of texts.

    Attributes:
        title: What it shows.
        head: Names of the columns; the first one names the row.
        body: Rows of texts.
        order: What each text is sorted by: a number, a text, or None for what is missing; empty if nobody sorts it.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    order: Sequence[Sequence[Any]] = ()


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        title: Its heading; the first part of a page may have none.
        paragraphs: Plain text.
        table: What follows them, if anything does.
        findings: What was found, as plain text; it stands first.
    """

    title: str
    paragraphs: Sequence[str]
    table: Table | None = None
    findings: Sequence[str] = ()


def full_table(cells: Cells) -> Table:
    """Every row with its settings and figures; settings besides the main ones share a column, the usual ones unsaid."""
    ranked = len({row.ranking for row in cells.rows}) > 1
    unsaid = settings.usual(row.settings for row in cells.rows)
    main = [key for key in cells.rows[0].settings if key in settings.MAIN]
    others = [key for key in cells.rows[0].settings if key not in main]
    head = [
        *("row", *map(settings.heading, main), *(["other settings"] if others else [])),
        *(*(["ranking"] if ranked else []), "seeds", *map(heading, cells.metrics)),
    ]
    body, order = [], []
    for row in cells.rows:
        rest = [settings.label(row.settings, others, unsaid)] if others else []
        rest += [row.ranking] if ranked else []
        shown = [settings.value(key, row.settings[key]) for key in main]
        figures = [figure(row.figures[metric], metric, row.seeds) for metric in cells.metrics]
        body.append([row.name, *shown, *rest, seeds_word(row), *figures])
        means = [estimate and estimate.mean for estimate in (row.figures[metric] for metric in cells.metrics)]
        order.append([row.name, *(_order(row.settings[key]) for key in main), *rest, row.seeds, *means])
    return Table("All rows", head, body, order)


def seeds_word(row: Row) -> str:
    """How many seeds a row has, in the words of a table."""
    return "one seed" if row.seeds == 1 else str(row.seeds)


def _order(setting: Any) -> Any:
    number = isinstance(setting, (int, float)) and not isinstance(setting, bool)
    return setting if number or setting is None else settings.value("", setting)


def matrix_title(matrix: Matrix, metric: str) -> str:
    """What a matrix shows."""
    return f"{heading(metric)} by attack and {matrix.by}{f': {matrix.place}' if matrix.place else ''}"


def matrix_table(matrix: Matrix, metric: str) -> Table:
    """A matrix, with :data:`WORST` before its worst case."""
    body = [[attack, *(matrix_cell(matrix, metric, attack, c) for c in matrix.columns)] for attack in matrix.attacks]
    return Table(matrix_title(matrix, metric), ["attack", *matrix.columns], body)


def matrix_cell(matrix: Matrix, metric: str, attack: str, column: str) -> str:
    """A cell's text; empty where nothing was run."""
    if (attack, column) not in matrix.exposure:
        return ""
    row, estimate = matrix.exposure[attack, column]
    mark = f"{WORST} " if (attack, column) in matrix.worst else ""
    return mark + figure(estimate, metric, row.seeds, digits=1)


def threat_table(cells: Cells) -> Table | None:
    """What every attacker knows, controls and may do; None without one."""
    body = [[row.name, *threat(row).values()] for row in cells.rows if row.attacked and row.configured]
    return Table("Threats", ["row", *TERMS], body) if body else None


def frame(cells: Cells) -> pd.DataFrame:
    """The full table's numbers as they are: a column for each mean, and one for its margin with ``±`` behind its name.

    Shares are in [0, 1]; a margin is missing where there is one seed. Where fewer seeds went into a figure than the row
    has, a column with ``seeds`` behind its name says how many did.
    """
    lines = []
    fewer = {m for row in cells.rows for m, value in row.figures.items() if value and value.seeds != row.seeds}
    for row in cells.rows:
        line = {"row": row.name, **row.settings, "ranking": row.ranking, "seeds": row.seeds}
        for metric in cells.metrics:
            estimate = row.figures[metric]
            line |= {metric: estimate and estimate.mean, f"{metric} ±": estimate and estimate.margin}
            line |= {f"{metric} seeds": estimate.seeds if estimate else 0} if metric in fewer else {}
        lines.append(line)
    return pd.DataFrame(lines)


def finding(cells: Cells) -> str:
    """The worst case in a sentence, for a report without a finding of its own."""
    attacked = [row for row in cells.rows if row.attacked and row.configured]
    metric = cells.exposure
    if not attacked or metric is None:
        return "No attack was measured."
    measured = [(row, value) for row in attacked if (value := row.figures[metric])]
    if not measured:
        return f"{metric} is undefined in all {len(attacked)} attacked rows."
    worst, exposure = max(measured, key=lambda pair: pair[1].mean)
    if exposure.mean == 0:
        return f"No attack exposed its targets: {metric} is 0 in all {len(measured)} attacked rows."
    lost = worst.figures.get(f"{cells.accuracy}{LOST}")
    top = f"top {metric.partition('@')[2]}{_cost(cells, lost)}"
    return (
        f"Worst case of {len(measured)} attacked rows: {worst.name} brings its targets to "
        f"{rounded(100 * exposure.mean, 3)} % of the users within the {top} "
        f"({'one seed' if worst.seeds == 1 else f'mean of {worst.seeds} seeds'})."
    )


def _cost(cells: Cells, lost: Estimate | None) -> str:
    """What the accuracy lost or won, to go behind another fact."""
    if lost is None:
        return ""
    points = figure(lost._replace(mean=abs(lost.mean)), f"{cells.accuracy}{LOST}")
    if lost.mean < 0:
        return f", with {cells.accuracy} {points} points higher than without it"
    return f", at the cost of {points} points of {cells.accuracy}"
