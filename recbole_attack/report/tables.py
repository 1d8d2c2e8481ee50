"""Tables and figures of published experiments; nothing is computed here but means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from recbole_attack.report.numbers import number, percent, rounded
from recbole_attack.report.pictures import Panel
from recbole_attack.report.settings import label
from recbole_attack.report.words import ARMS, caption, exposure_course, markdown, of_all
from recbole_attack.utils.errors import ConfigError

COLUMNS = ("hit@10", "ndcg@10", "er@5", "er@10", "er@20", "er@30")
"""Metrics of a published table, in its order."""


def captions(records: Mapping[str, Sequence[Mapping[str, Any]]], paper: Mapping[str, Any]) -> str:
    """A line for each row that says what was run.

    Args:
        records: Row name -> the ``result.json`` of every seed.
        paper: Row name -> ``reason``: why ours differs from the paper's; may lack it.
    """
    lines = []
    for row, seeds in records.items():
        minutes = sum(sum(record["timing"].values()) for record in seeds) / len(seeds) / 60
        all_seeds = ", ".join(str(record["seed"]) for record in seeds)
        about = f"- `{row}`: {caption(of_all(seeds)).rpartition(';')[0]}; seeds {all_seeds}; {minutes:.1f} min a seed"
        reason = paper.get(row, {}).get("reason")
        lines.append(f"{about}. {reason}" if reason else about)
    return "\n".join(lines)


def course_table(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How loud the attack of each federated row was, when it was tested, and what its exposure was before.

    Args:
        records: As for :func:`captions`.

    Returns:
        A row for each attacked row, with every seed's figures; empty if there is none. Epochs count from 0.
    """
    lines = []
    for row, seeds in records.items():
        if seeds[0]["config"]["scenario"] != "federated" or not seeds[0]["attacked"]:
            continue
        arms = [record["attacked"] for record in seeds]
        uploads = [arm.get("uploads") or {} for arm in arms]
        courses = [exposure_course(record) for record in seeds]
        cells = (
            [_percent(upload.get("malicious_weight")) for upload in uploads],
            [_short(upload.get("norm_ratio")) for upload in uploads],
            [_short(upload.get("valid_candidates")) for upload in uploads],
            [_short(arm.get("tested_epoch")) for arm in arms],
            [f"{percent(course.peak)} ({course.epoch})" if course else _short(None) for course in courses],
            [percent(course.last if course else None) for course in courses],
        )
        lines.append([_harmless(row), *(", ".join(values) for values in cells)])
    head = [
        "row",
        "weight, %",
        "norm ratio",
        "candidates",
        "tested epoch",
        "er@10, %, peak (epoch)",
        "er@10, %, last epoch",
    ]
    return markdown(head, lines) if lines else ""


def _harmless(text: str) -> str:
    """A name that ends no cell and begins no tag, and else as it is."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def _short(value: float | None) -> str:
    return number(None) if value is None else rounded(value, 3)


def _percent(share: float | None) -> str:
    return _short(None if share is None else 100 * share)


def main_arms(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The arms a row is about: a platform's own model only where there is nothing else."""
    arms = [arm for arm in ARMS if seeds[0].get(arm)]
    return arms if arms == ["local"] else [arm for arm in arms if arm != "local"]


def measured(record: Mapping[str, Any], arm: str) -> dict[str, float | None]:
    """An arm's test metrics, and what the detectors found out about it."""
    detectors = record.get("detection", {}).get(arm, {})
    found = {f"{name} {quality}": v for name, values in detectors.items() for quality, v in values.items()}
    return {**(record[arm]["test_result"] or {}), **found}


def curves(records: Mapping[str, Sequence[Mapping[str, Any]]], figure: Mapping[str, Any]) -> list[Panel]:
    """Measurements of the attacked models as lines, means over seeds.

    Args:
        records: As for :func:`captions`.
        figure: ``y``, a metric; ``x``, a parameter or ``epoch`` for the history; ``line`` and ``panel``, the parameters
            that tell lines and panels apart (a list each).

    Raises:
        ConfigError: Two rows would be one point.
    """
    found: dict[str, dict[str, dict[float, float]]] = {}
    for row, seeds in records.items():
        attacked = [record for record in seeds if record["attacked"]]
        if not attacked:
            continue
        title, name = (label(attacked[0]["config"], figure[part]) for part in ("panel", "line"))
        line, points = found.setdefault(title, {}).setdefault(name, {}), _points(attacked, figure)
        twice = line.keys() & points.keys()
        if twice:
            raise ConfigError(
                f"figure: expected one row for each point, found several at {figure['x']} {min(twice)} of line "
                f"'{name}', such as '{row}'; name a parameter that tells them apart under line or panel"
            )
        line |= points
    return [
        Panel(title, figure["y"], {name: sorted(line.items()) for name, line in lines.items()})
        for title, lines in found.items()
    ]


def _points(seeds: Sequence[Mapping[str, Any]], figure: Mapping[str, Any]) -> dict[float, float]:
    """Of a row's attacked models: means over the seeds that have a value, of epochs over all of them."""
    x, y = figure["x"], figure["y"]
    if x == "epoch":
        histories = [{e["epoch"]: e[y] for e in r["history"]["attacked"] if e.get(y) is not None} for r in seeds]
        epochs = set(histories[0]).intersection(*histories[1:])
        return {epoch: mean(history[epoch] for history in histories) for epoch in epochs}
    values = [value for r in seeds if (value := measured(r, "attacked").get(y)) is not None]
    return {seeds[0]["config"][x]: mean(values)} if values else {}
