"""Exposure by attack and malicious share, and by attack and aggregation rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from recbole_attack.report.cells import Cells, Estimate, Row
from recbole_attack.report.settings import SHARE, label, malicious_share, parts, usual


class Matrix(NamedTuple):
    """Exposure of the same victims under different attacks and one other thing.

    Attributes:
        by: What stands in the columns: ``malicious share`` or ``aggregation rule``.
        place: What all of it shares: dataset, model, ranking, and the like; may be empty.
        attacks: Names of its rows.
        columns: Names of its columns.
        exposure: ``(attack, column)`` -> figure, with the row of the full table it is from; cells may be missing.
    """

    by: str
    place: str
    attacks: tuple[str, ...]
    columns: tuple[str, ...]
    exposure: dict[tuple[str, str], tuple[Row, Estimate]]

    @property
    def worst(self) -> set[tuple[str, str]]:
        """The attacked cells of the highest mean exposure: none where nothing was exposed."""
        means = {place: estimate.mean for place, (row, estimate) in self.exposure.items() if row.attacked}
        highest = max(means.values(), default=0.0)
        return {place for place, mean in means.items() if mean == highest and mean > 0}


class Labels:
    """What the rows of a report are called in its matrices and curves."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._unsaid = usual(row.settings for row in rows)
        self._parts = parts([(row.settings, row.records[0]) for row in rows])
        self._several_rankings = len({row.ranking for row in rows}) > 1
        self.rules_differ = bool(self._parts["rule"])
        self._alike: set[int] = set()
        places = {id(row): (self.place(row), self.attack(row), self.rule(row), self.share(row)) for row in rows}
        count = Counter(places.values())
        self._alike = {row for row, place in places.items() if count[place] > 1}

    def place(self, row: Row) -> str:
        """What was attacked, and how it was ranked."""
        ranking = f"ranking {row.ranking}" if self._several_rankings else ""
        return joined(self._label(row, self._parts["place"]), ranking)

    def rule(self, row: Row) -> str:
        """The defence; empty if all rows have the same."""
        return self._label(row, self._parts["rule"])

    def attack(self, row: Row) -> str:
        """The attack, with what is special about it; never empty."""
        name = label({"attack": row.records[0]["config"].get("attack", "none")})
        special = [key for key in self._parts["attack"] if key != "attack"]
        return joined(name, self._label(row, special), row.name if id(row) in self._alike else "")

    def share(self, row: Row) -> str:
        """The malicious share; empty where there is none."""
        return label({SHARE: malicious_share(row.records[0])})

    def _label(self, row: Row, keys: Sequence[str]) -> str:
        return label(row.settings, keys, self._unsaid)


def joined(*parts: str) -> str:
    """Parts of a label, those that are there."""
    return ", ".join(filter(None, parts))


def matrices(cells: Cells) -> list[Matrix]:
    """Every matrix of at least two cells, by share first; none without a measure of exposure."""
    of = Labels(cells.rows)
    shared = sorted((row for row in cells.rows if of.share(row)), key=share_of)
    several_shares = len({of.share(row) for row in shared}) > 1

    def attack_and_rule(row: Row) -> str:
        return joined(of.attack(row), of.rule(row))

    def attack_and_share(row: Row) -> str:
        return joined(of.attack(row), of.share(row) if several_shares else "")

    def rule(row: Row) -> str:
        return of.rule(row) or str(row.records[0]["config"].get("aggregator", "none"))

    by_share = _matrices(cells, "malicious share", shared, of.place, attack_and_rule, of.share)
    if not of.rules_differ:
        return by_share
    return by_share + _matrices(cells, "aggregation rule", cells.rows, of.place, attack_and_share, rule)


def share_of(row: Row) -> float:
    """The configured malicious share, in [0, 1]; 0 where there is none."""
    return malicious_share(row.records[0]) or 0.0


def _matrices(
    cells: Cells,
    by: str,
    rows: Iterable[Row],
    place: Callable[[Row], str],
    attack: Callable[[Row], str],
    column: Callable[[Row], str],
) -> list[Matrix]:
    found: dict[str, dict[tuple[str, str], tuple[Row, Estimate]]] = {}
    for row in rows:
        exposure = row.figures.get(cells.exposure or "")
        if exposure:
            found.setdefault(place(row), {}).setdefault((attack(row), column(row)), (row, exposure))
    order = {row.name: position for position, row in enumerate(cells.rows)}
    return [
        Matrix(by, name, _distinct(sorted(cell, key=lambda at: order[cell[at][0].name]), 0), _distinct(cell, 1), cell)
        for name, cell in found.items()
        if len(cell) > 1
    ]


def _distinct(places: Iterable[tuple[str, str]], part: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(at[part] for at in places))
