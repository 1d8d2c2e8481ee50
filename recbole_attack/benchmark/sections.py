"""Statistics of an experiment's rows as tables of its page: comparisons, doses, where variance comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from recbole_attack.benchmark.comparisons import compare, holm
from recbole_attack.benchmark.dose import Dose, doses
from recbole_attack.benchmark.frame import tidy
from recbole_attack.benchmark.user_sections import interval_table, user_comparison_table
from recbole_attack.benchmark.variance import FACTORS, variance_components
from recbole_attack.report.cells import Estimate, figure
from recbole_attack.report.experiment import About
from recbole_attack.report.numbers import DASH, heading, number, rounded
from recbole_attack.report.published import Rows
from recbole_attack.report.tables import main_arms, measured
from recbole_attack.report.texts import Table
from recbole_attack.utils.errors import ConfigError, DataError, lookup


def sections(records: Rows, about: About) -> list[Table]:
    """The tables that ``table.yaml`` asks for, as far as their rows were run.

    Args:
        records: Row name -> the ``result.json`` of every seed.
        about: Its ``comparisons``, ``intervals``, ``dose`` and ``variance``.

    Raises:
        ConfigError: It asks for a parameter or metric that no row has.
    """
    over: dict[str, list[Mapping[str, Any]]] = {"seeds": [], "users": []}
    for comparison in about.comparisons:
        lookup(over, comparison.get("over", "seeds"), "unit of a comparison").append(comparison)
    found = [comparison_table(records, over["seeds"]), user_comparison_table(records, over["users"])]
    if about.intervals:
        found.append(interval_table(records, **about.intervals))
    if records and about.dose:
        found.append(dose_table(records, **about.dose))
    if records and about.variance:
        found.append(variance_table(records, **about.variance))
    return [table for table in found if table.body]


def comparison_table(records: Rows, comparisons: Iterable[Mapping[str, Any]]) -> Table:
    """Whether rows differ by more than their seeds do: paired t-tests over the seeds both rows were run with.

    Args:
        records: As for :func:`sections`.
        comparisons: The ``metrics`` that are compared, and the rows ``first`` and ``second``; those with a row that
            ``records`` lacks are left out.
    """
    names, found = [], []
    for comparison in comparisons:
        pair = comparison["first"], comparison["second"]
        if not all(row in records for row in pair):
            continue
        values = [{r["seed"]: measured(r, main_arms(records[row])[-1]) for r in records[row]} for row in pair]
        seeds = [seed for seed in values[0] if seed in values[1]]
        for metric in comparison["metrics"]:
            lookup(dict.fromkeys(name for of_row in values for of in of_row.values() for name in of), metric, "metric")
            first, second = ([_float(of_row[seed].get(metric)) for seed in seeds] for of_row in values)
            names.append([*pair, metric])
            found.append(compare(first, second))
    adjusted = holm([result.t_p for result in found])
    body = [
        [
            *(*name, number(result.difference, sign=True), _interval(result.low, result.high), number(result.t)),
            *(number(result.t_p), number(p_value), number(result.d_z), str(result.pairs)),
        ]
        for name, result, p_value in zip(names, found, adjusted, strict=True)
    ]
    head = ["first", "second", "metric", "difference", "95 % interval", "t", "p", "p (Holm)", "d_z", "seeds"]
    return Table("Paired t-tests over seeds, first minus second; p as it is and adjusted for all of them", head, body)


def dose_table(records: Rows, metric: str, by: Sequence[str], level: float = 0.5) -> Table:
    """The malicious share at which exposure reaches a level; see :func:`~recbole_attack.benchmark.dose.dose_for`.

    The share is that of the clients a run had, which are whole ones: 0.1 % of 943 users is one client, 0.106 %.

    Args:
        records: As for :func:`sections`.
        metric: The response.
        by: Parameters that tell groups of runs apart.
        level: What it has to reach.

    Raises:
        ConfigError: Two rows of a group have one share.
    """
    frame, names = _frame(records, metric, by)
    _check_one_row_a_share(frame, names)
    found = doses(frame, names, metric, level).itertuples(index=False)
    groups = [(row[: len(names)], Dose(*row[len(names) :])) for row in found]
    body = [[*map(_word, group), str(dose), str(dose.seeds)] for group, dose in groups]
    title = f"Malicious share at which {metric} reaches {rounded(100 * level, 3)} %, with its 95 % interval over seeds"
    return Table(title, [*names, "malicious share", "seeds a share"], body)


def _check_one_row_a_share(frame: pd.DataFrame, names: Sequence[str]) -> None:
    share = "malicious_share"
    if share not in frame:
        return
    attacked = frame[(frame["arm"] == "attacked") & (frame[share] > 0)]
    for _, part in attacked.groupby([*names, share], sort=False, dropna=False):
        rows = part["run"].unique()
        if len(rows) > 1:
            raise ConfigError(
                f"dose: expected one row for each share of a group, found '{rows[0]}' and '{rows[1]}'; name a "
                "parameter that tells them apart under by"
            )


def variance_table(records: Rows, metric: str, factors: Sequence[str] = FACTORS, by: Sequence[str] = ()) -> Table:
    """Where the spread of a metric comes from; see :func:`~recbole_attack.benchmark.variance.variance_components`.

    Args:
        records: As for :func:`sections`.
        metric: Whose spread.
        factors: Parameters that were drawn, crossed with each other.
        by: Parameters that tell groups of runs apart; those that were not run far enough are left out: a factor has one
            value there, or a combination of factors is missing or there more often, or a figure is undefined.

    Raises:
        ConfigError: No row has such a parameter or metric.
    """
    frame, names = _frame(records, metric, by)
    _check_known(records, factors)
    frame = frame[(frame["arm"] == "attacked") & (frame["protocol"] == "configured") & (frame["metric"] == metric)]
    groups = frame.groupby(names, sort=False, dropna=False) if names else [((), frame)]
    body, sources = [], []
    for group, part in groups if all(factor in frame for factor in factors) else ():
        try:
            components = variance_components(part, factors)
        except DataError:  # not run far enough
            continue
        shares = [_share(value) for value in components["share"]]
        sources = [name.replace(":", " x ") for name in components["source"]]
        body.append([*map(_word, group), _spread(part["value"], metric), *shares, str(len(part))])
    title = f"Where the variance of {metric} comes from, in per cent of it"
    return Table(title, [*names, f"{heading(metric)} (lowest to highest)", *sources, "runs"], body)


def _frame(records: Rows, metric: str, by: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """All figures, and those of the parameters ``by`` in which rows differ."""
    frame = tidy({**record, "run": row} for row, seeds in records.items() for record in seeds)
    lookup(dict.fromkeys(frame["metric"]), metric, "metric of a table")
    _check_known(records, by)
    return frame, [name for name in by if name in frame]


def _check_known(records: Rows, names: Iterable[str]) -> None:
    known = {name for seeds in records.values() for record in seeds for name in record["config"]}
    for name in names:
        if name not in known:
            lookup(dict.fromkeys(sorted(known)), name, "parameter of a table")


def _float(value: float | None) -> float:
    return float("nan") if value is None else value


def _interval(low: float, high: float) -> str:
    return f"{number(low, sign=True)} to {number(high, sign=True)}" if isfinite(low) and isfinite(high) else DASH


def _word(value: Any) -> str:
    return DASH if value is None or value != value else str(value)


def _spread(values: pd.Series, metric: str) -> str:
    mean, low, high = (figure(Estimate(float(value), None, 1), metric) for value in values.agg(["mean", "min", "max"]))
    return f"{mean} ({low} to {high})"


def _share(value: float) -> str:
    return f"{100 * value:.1f}" if isfinite(value) else DASH
