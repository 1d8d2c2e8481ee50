"""Tables of published experiments: one line a row, ours and the paper's in one cell; groups of rows apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from statistics import median
from typing import Any, NamedTuple

import pandas as pd

from recbole_attack.report.cells import Estimate, estimate, figure
from recbole_attack.report.markdown import escape, table
from recbole_attack.report.numbers import heading, is_share, number, rounded
from recbole_attack.report.settings import Record
from recbole_attack.report.tables import COLUMNS, main_arms, measured
from recbole_attack.report.texts import Table
from recbole_attack.report.threats import same_facts

Rows = Mapping[str, Sequence[Record]]
Paper = Mapping[str, Mapping[str, Any]]


class Line(NamedTuple):
    """One arm of one row.

    Attributes:
        name: The row, and the arm where there are several.
        row: The row.
        arm: Its arm.
        ranking: ``full``, or such as ``1000 sampled``.
        group: What was attacked: model and dataset, or the dataset alone where hardly two rows share a model.
        values: Metric -> its value for each seed.
        paper: Name of the paper's dataset, empty if it is ours -> metric -> the paper's number.
    """

    name: str
    row: str
    arm: str
    ranking: str
    group: str
    values: Mapping[str, Mapping[int, float | None]]
    paper: Mapping[str, Mapping[str, float]]


def published_page(records: Rows, paper: Paper, columns: Sequence[str] = COLUMNS) -> str:
    """The tables of an experiment as Markdown: a section for each model and dataset, then full rankings apart.

    Above each table stands a sentence that says how far its rows are from the paper's. A cell reads ``ours / paper``,
    with as many papers' numbers as there are datasets; several seeds give a mean and the smallest and largest value.

    Args:
        records: Row name -> the records of its seeds.
        paper: Row name -> arm -> metric -> the paper's number, or dataset -> metric -> number where the paper's
            datasets are others than ours. May lack any of them.
        columns: Metrics; those of a detector as ``<detector> <quality>``.
    """
    lines = list(_lines(records, paper, columns))
    sections = []
    for ranking, group in dict.fromkeys((line.ranking, line.group) for line in lines):
        chosen = [line for line in lines if (line.ranking, line.group) == (ranking, group)]
        title = f"## {escape(group)}, {'full ranking' if ranking == 'full' else ranking}"
        sections += [title, _sentence(chosen, records, columns), table(_table(chosen, columns))]
    return "\n\n".join(sections)


def published_cells(records: Rows, paper: Paper, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """What the tables are made from, one value a line: row, arm, ranking, metric, seed, ours, and the paper's.

    Args:
        records: As for :func:`published_page`, like the others.
        paper: See above.
        columns: See above.
    """
    found = []
    for line in _lines(records, paper, columns):
        datasets = line.paper or {"": {}}
        for dataset, printed in datasets.items():
            for metric, seeds in line.values.items():
                about = {"row": line.row, "arm": line.arm, "ranking": line.ranking, "metric": metric}
                theirs = {"paper": printed.get(metric), "paper's dataset": dataset}
                found += [{**about, "seed": seed, "ours": value, **theirs} for seed, value in seeds.items()]
    return pd.DataFrame(found)


def _lines(records: Rows, paper: Paper, columns: Sequence[str]) -> Iterator[Line]:
    """Every line: those under the configured ranking, then those under the full one where that is another."""
    group = _groups(records)
    for full in (False, True):
        for row, seeds in records.items():
            config = seeds[0]["config"]
            candidates = config["exposure_candidates"]
            if full and candidates == "full":
                continue
            arms = main_arms(seeds)
            for arm in arms:
                printed = paper.get(row, {}).get(arm, {})
                by_dataset = any(isinstance(value, Mapping) for value in printed.values())
                results = {r["seed"]: _full(r, arm) if full else measured(r, arm) for r in seeds}
                yield Line(
                    name=f"{row}, {arm}" if len(arms) > 1 else row,
                    row=row,
                    arm=arm,
                    ranking="full" if full or candidates == "full" else f"{candidates} sampled items",
                    group=group[row],
                    values={m: {seed: result.get(m) for seed, result in results.items()} for m in columns},
                    paper={} if full or not printed else printed if by_dataset else {"": printed},
                )


def _groups(records: Rows) -> dict[str, str]:
    """Row -> what was attacked; models are told apart by their rows' names where most have one row alone."""
    places = {row: (seeds[0]["config"]["model"], seeds[0]["dataset"]["name"]) for row, seeds in records.items()}
    alone = 1 < len(places) < 2 * len({model for model, _ in places.values()})
    return {row: dataset if alone else f"{model} on {dataset}" for row, (model, dataset) in places.items()}


def _full(record: Record, arm: str) -> Mapping[str, float | None]:
    return record[arm].get("test_result_full") or {}


def _table(lines: Sequence[Line], columns: Sequence[str]) -> Table:
    shown = [metric for metric in columns if any(_ours(line, metric) for line in lines)]
    body = [[line.name, _seeds(line), *(_cell(line, metric) for metric in shown)] for line in lines]
    return Table("", ["row", "seeds", *map(heading, shown)], body)


def _seeds(line: Line) -> str:
    count = len(next(iter(line.values.values())))
    return "one seed" if count == 1 else str(count)


def _ours(line: Line, metric: str) -> Estimate | None:
    return estimate(line.values[metric].values())


def _cell(line: Line, metric: str) -> str:
    theirs = [_printed(printed.get(metric), metric) for printed in line.paper.values()]
    return " / ".join([_spread(line, metric), *theirs])


def _spread(line: Line, metric: str) -> str:
    """The mean, and from where to where seeds go: with three of them an interval would leave what a share can be."""
    ours, seeds = _ours(line, metric), line.values[metric].values()
    if ours is None:
        return number(None)
    ends = [_printed(value, metric) for value in sorted(v for v in seeds if v is not None and isfinite(v))]
    reach = "" if ends[0] == ends[-1] else f" ({ends[0]} to {ends[-1]})"
    missing = "" if ours.seeds == len(seeds) else f" ({ours.seeds} of {len(seeds)} seeds)"
    return _printed(ours.mean, metric) + reach + missing


def _printed(value: float | None, metric: str) -> str:
    return number(None) if value is None else figure(Estimate(value, None, 1), metric)


def _sentence(lines: Sequence[Line], records: Rows, columns: Sequence[str]) -> str:
    """What all rows of a group share, how a cell is read, and how far rows are from the paper."""
    facts = same_facts(record for line in lines for record in records[line.row])
    shared = "; ".join(f"{term} {fact}" for term, fact in facts.items() if term not in {"data", "victim", "ranking"})
    papers = " / ".join(
        f"paper, {name}" if name else "paper" for name in dict.fromkeys(n for x in lines for n in x.paper)
    )
    reading = f"Cells: ours / {papers}." if papers else "All figures are ours."
    if any(len(seeds) > 1 for line in lines for seeds in line.values.values()):
        reading += " Ours are means over seeds (smallest to largest)."
    return " ".join(
        filter(None, [f"All rows: {escape(shared)}." if shared else "", escape(reading), _far(lines, columns)])
    )


def _far(lines: Sequence[Line], columns: Sequence[str]) -> str:
    """How far the median and the farthest row are from the paper's exposure; empty with nothing to compare."""
    metric = "er@10" if "er@10" in columns else columns[0]
    found = {}
    for line in lines:
        ours, theirs = _ours(line, metric), line.paper.get("", {}).get(metric)
        if ours and theirs is not None and isfinite(theirs):
            found[line.name] = ours.mean - theirs
    if not found:
        return ""
    scale, unit = (100, f"points of {metric}") if is_share(metric) else (1, f"of {metric}")
    farthest = max(found, key=lambda name: abs(found[name]))
    middle = rounded(scale * median(map(abs, found.values())), 3)
    return (
        f"Of {len(found)} rows, the median is {middle} {unit} from the paper's, and the farthest, {escape(farthest)}, "
        f"{'+' if found[farthest] >= 0 else ''}{rounded(scale * found[farthest], 3)}."
    )
