"""Rows as curves over shares and epochs, and as points of exposure against the accuracy it costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from recbole_attack.report.cells import Cells, Estimate, Row, estimate
from recbole_attack.report.matrices import Labels, joined, share_of
from recbole_attack.report.numbers import LOST
from recbole_attack.report.pictures import Panel, Trade

Course = list[tuple[float, Estimate]]


def line_names(cells: Cells) -> list[str]:
    """What lines of attacks are called, in the order of the rows."""
    of = Labels(cells.rows)
    return [joined(of.attack(row), of.rule(row)) for row in cells.rows]


def share_panels(cells: Cells) -> list[Panel]:
    """Exposure over the malicious share, a panel for each place; none where no line has two shares."""
    of = Labels(cells.rows)
    found: dict[str, dict[str, Course]] = {}
    for row in sorted((row for row in cells.rows if share_of(row) > 0), key=share_of):
        exposure = row.figures.get(cells.exposure or "")
        if exposure:
            course = found.setdefault(of.place(row), {}).setdefault(joined(of.attack(row), of.rule(row)), [])
            course.append((share_of(row), exposure))
    panels = _panels(found, cells.exposure or "")
    return panels if any(len(points) > 1 for panel in panels for points in panel.lines.values()) else []


def epoch_panels(cells: Cells) -> list[Panel]:
    """Exposure over the epochs of attacked models, on the data they were validated on.

    Means are over seeds, up to the last epoch all of them have. Panels are for each place and share with a line for
    each attack, or the other way round if that makes fewer.
    """
    of = Labels(cells.rows)
    by_share: dict[str, dict[str, Course]] = {}
    by_attack: dict[str, dict[str, Course]] = {}
    attacked = [row for row in cells.rows if row.configured and row.attacked]
    for row in sorted(attacked, key=share_of):
        course = _history(row, cells.exposure)
        if course:
            place, attack, share = of.place(row), joined(of.attack(row), of.rule(row)), of.share(row)
            by_share.setdefault(joined(place, share), {})[attack] = course
            by_attack.setdefault(joined(place, attack), {})[share or "attacked"] = course
    return _panels(min(by_share, by_attack, key=len), cells.exposure or "")


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
    """The 95 % intervals as far as they lie between 0 and 1, NaN at a point of one seed; none without several seeds."""
    if all(value.margin is None for _, value in course):
        return []
    return [(x, *_ends(value)) for x, value in course]


def _ends(value: Estimate) -> tuple[float, float]:
    if value.margin is None:
        return nan, nan
    return max(value.mean - value.margin, 0.0), min(value.mean + value.margin, 1.0)


def trades(cells: Cells) -> list[Trade]:
    """Exposure against the accuracy it costs, for each place; without rows whose clean twin lacks a seed."""
    if not cells.accuracy or not cells.exposure:
        return []
    of, lost = Labels(cells.rows), cells.accuracy + LOST
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in cells.rows:
        cost, exposure = row.figures.get(lost), row.figures.get(cells.exposure)
        if row.attacked and cost and exposure and cost.seeds == exposure.seeds:
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
