"""What the outcomes of each user add to an experiment's page: intervals, and comparisons user by user."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack.benchmark.comparisons import comparisons as compared
from recbole_attack.benchmark.comparisons import holm, users_frame
from recbole_attack.benchmark.intervals import Interval, user_intervals
from recbole_attack.evaluator import Outcomes, read_outcomes
from recbole_attack.report.cells import Estimate, figure
from recbole_attack.report.numbers import DASH, heading, number
from recbole_attack.report.published import Rows
from recbole_attack.report.tables import main_arms
from recbole_attack.report.texts import Table
from recbole_attack.utils.errors import ConfigError, DataError, shown


def interval_table(records: Rows, k: int = 10) -> Table:
    """How far each run's figures may be off for the users it was tested on; rows without outcomes are left out.

    Args:
        records: Row name -> records of a store, which name the files with outcomes.
        k: Cut-off.
    """
    body, names = [], [f"{metric}@{k}" for metric in ("hit", "ndcg", "er")]
    for row, seeds in records.items():
        for record in seeds:
            outcomes = _outcomes(record, main_arms(seeds)[-1])
            if outcomes is not None:
                found = user_intervals(outcomes, k)
                body.append([row, str(record["seed"]), *(_interval(found[name], name) for name in names)])
    title = "95 % intervals over users: Wilson's for shares, bootstrap over users and targets for the rest"
    return Table(title, ["row", "seed", *map(heading, names)], body)


def user_comparison_table(records: Rows, comparisons: Iterable[Mapping[str, Any]]) -> Table:
    """Whether rows serve the same users differently: paired tests over users.

    Their values are means over the seeds both rows were run with, and tested the user with; without any such seed, rows
    are left out.

    Args:
        records: As for :func:`interval_table`.
        comparisons: The ``metrics`` (``hit``, ``ndcg`` or ``er`` at one cut-off) that are compared, and the rows
            ``first`` and ``second``; those with a row that ``records`` lacks are left out.

    Raises:
        ConfigError: A metric is none of users.
        DataError: A row's outcomes are not there.
    """
    lines = []
    for each in comparisons:
        pair = each["first"], each["second"]
        shared = set.intersection(*({record["seed"] for record in records.get(row, ())} for row in pair))
        if shared:
            outcomes = _of_both(records, pair, shared)
            for metric in each["metrics"]:
                found = compared(users_frame(outcomes, _cut_off(metric)), [pair], [metric], unit="user")
                lines += [(line, len(shared)) for line in found.itertuples(index=False)]
    return _as_table(lines)


def _as_table(found: list[tuple[Any, int]]) -> Table:
    """Lines of comparisons, with how many seeds each is the mean of."""
    lines = [line for line, _ in found]
    adjusted = [holm([getattr(line, name) for line in lines]) for name in ("t_p", "wilcoxon_p")]
    body = [
        [
            *(line.first, line.second, line.metric, number(line.difference, sign=True)),
            *(f"{number(line.low, sign=True)} to {number(line.high, sign=True)}", number(t_p), number(wilcoxon_p)),
            *(number(line.rank_biserial), str(line.pairs), str(seeds)),
        ]
        for (line, seeds), t_p, wilcoxon_p in zip(found, *adjusted, strict=True)
    ]
    head = ["first", "second", "metric", "difference", "95 % interval", "p (t, Holm)", "p (Wilcoxon, Holm)"]
    title = "Paired tests over users, first minus second; p adjusted for all of them"
    return Table(title, [*head, "rank-biserial r", "users", "seeds"], body)


def _cut_off(metric: str) -> int:
    digits = metric.rpartition("@")[2]
    if not digits.isdecimal():
        raise ConfigError(f"a comparison over users is of hit@k, ndcg@k or er@k: found {shown(metric)}")
    return int(digits)


def _of_both(records: Rows, pair: tuple[str, str], seeds: Container[int]) -> dict[tuple[str, str], list[Outcomes]]:
    """Outcomes of both rows, each with every seed, of the users that were tested with it in both."""
    found = {row: _all_outcomes(records, row, seeds) for row in pair}
    users = [np.intersect1d(*(of.user for of in both)) for both in zip(*(found[row] for row in pair), strict=True)]
    return {(row, "attacked"): [of.only(tested) for of, tested in zip(found[row], users, strict=True)] for row in pair}


def _all_outcomes(records: Rows, row: str, seeds: Container[int]) -> list[Outcomes]:
    arm = main_arms(records[row])[-1]
    by_seed = sorted((record for record in records[row] if record["seed"] in seeds), key=lambda record: record["seed"])
    found = [_outcomes(record, arm) for record in by_seed]
    if None in found:
        raise DataError(
            f"row '{row}' has no outcomes of users: expected those of a store that trained it, found none; "
            "compare over seeds, or run it again"
        )
    return [outcomes for outcomes in found if outcomes is not None]


def _outcomes(record: Mapping[str, Any], arm: str) -> Outcomes | None:
    file = record.get("outcomes", {}).get(arm)
    return read_outcomes(Path(file)) if file else None


def _interval(found: Interval, metric: str) -> str:
    mean, low, high = (figure(Estimate(value, None, 1), metric) if isfinite(value) else DASH for value in found[:3])
    return mean if DASH in (low, high) else f"{mean} ({low} to {high})"
