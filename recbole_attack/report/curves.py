"""Rows as curves over shares and epochs, and as points of exposure against the accuracy it costs."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_attack.report.cells import Cells, Estimate, Row, estimate
from recbole_attack.report.matrices import Labels, joined, share_of
from recbole_attack.report.numbers import LOST
from recbole_attack.report.pictures import Panel, Trade

Course = list[tuple[float, Estimate]]


def share_panels(cells: Cells) -> list[Panel]:
    """Exposure over the malicious share, a panel for each place; none where no line has two shares."""
    of = Labels(cells.rows)
    found: dict[str, dict[str, Course]] = {}
    for row in sorted((row for row in cells.rows if of.share(row) and share_of(row) > 0), key=share_of):
        exposure = row.figures.get(cells.exposure or "")
        if exposure:
            course = found.setdefault(of.place(row), {}).setdefault(joined(of.attack(row), of.rule(row)), [])
            course.append((share_of(row), exposure))
    panels = _panels(found, cells.exposure or "")
    return panels if any(len(points) > 1 for panel in panels for points in panel.lines.values()) else []


def epoch_panels(cells: Cells) -> list[Panel]:
    """Exposure over the epochs of attacked models, a panel for each place and share, on the data they were validated on.

    Means are over seeds, up to the last epoch all of them have.
    """
    of = Labels(cells.rows)
    found: dict[str, dict[str, Course]] = {}
    for row in cells.rows:
        course = _history(row, cells.exposure) if row.configured and row.attacked else []
        if course:
            place = joined(of.place(row), of.share(row))
            found.setdefault(place, {}).setdefault(joined(of.attack(row), of.rule(row)), course)
    return _panels(found, cells.exposure or "")


def _history(row: Row, metric: str | None) -> Course:
    """A metric's mean over seeds at every epoch in which all seeds have it; none of a single epoch."""
    seeds = [
        {epoch["epoch"]: epoch[metric] for epoch in record["history"].get("attacked", ()) if metric in epoch}
        for record in row.records
    ]
    epochs = sorted(set(seeds[0]).intersection(*seeds[1:]))
    course = [(float(epoch), estimate(seed[epoch] for seed in seeds)) for epoch in epochs]
    defined = [(epoch, value) for epoch, value in course if value]
    return defined if len(defined) > 1 else []


def _panels(found: dict[str, dict[str, Course]], metric: str) -> list[Panel]:
    return [
        Panel(
            place,
            metric,
            {label: [(x, value.mean) for x, value in course] for label, course in lines.items()},
            {label: band for label, course in lines.items() if (band := _band(course))},
        )
        for place, lines in found.items()
    ]


def _band(course: Course) -> list[tuple[float, float, float]]:
    """The 95 % interval where there are several seeds, as far as it lies between 0 and 1."""
    if not any(value.margin is not None for _, value in course):
        return []
    ends = ((x, *value.interval) for x, value in course)
    return [(x, min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)) for x, low, high in ends]


def trades(cells: Cells) -> list[Trade]:
    """Exposure against the accuracy it costs, for each place; without the rows that have no clean twin."""
    if not cells.accuracy or not cells.exposure:
        return []
    of, lost = Labels(cells.rows), cells.accuracy + LOST
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in cells.rows:
        cost, exposure = row.figures.get(lost), row.figures.get(cells.exposure)
        if row.attacked and cost and exposure:
            attacks = found.setdefault(of.place(row), {})
            attacks.setdefault(joined(of.attack(row), of.rule(row)), []).append((cost.mean, exposure.mean))
    return [
        Trade(place, lost, cells.exposure, attacks, front([point for points in attacks.values() for point in points]))
        for place, attacks in found.items()
    ]


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points ``(cost, gain)`` that no other beats: none costs no more and gains more, or less and gains no less.

    >>> front([(0.0, 0.1), (1.0, 0.5), (2.0, 0.4), (1.0, 0.3)])
    [(0.0, 0.1), (1.0, 0.5)]
    """
    best: list[tuple[float, float]] = []
    for cost, gain in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best
