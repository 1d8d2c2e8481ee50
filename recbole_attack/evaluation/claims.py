"""What papers claim of their attacks beside what was measured: sampled and full ranking, weak and strong victim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from recbole_attack.benchmark import Store, kept_runs, read_grid
from recbole_attack.report.experiment import read_about
from recbole_attack.report.numbers import percent, rounded
from recbole_attack.report.settings import effective
from recbole_attack.report.texts import Section, Table
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import digest_of

METRIC = "er@10"

_ABOUT = (
    "er@10 in per cent, as papers printed it, and as it was measured here in the papers' own setting, whose victim is "
    "weak and whose ranking is among sampled items; the same models under full ranking; and the same attack and share "
    "of malicious clients on a victim that is trained well, under full ranking. Means over seeds; a dash was not run.",
)

Records = Sequence[Mapping[str, Any]]


def claims_section(store: Path, grids: Sequence[Path], strong: Sequence[Path]) -> Section:
    """The table of claims.

    Args:
        store: Of all grids.
        grids: Folders of rows with a ``paper.yaml``, in the papers' setting.
        strong: Grids on strong victims, whose rows are found by model, dataset, attack and budget.

    Raises:
        DataError: The store lacks all of the rows, or no paper printed exposure in any of the grids, or two rows on
            strong victims are the same attack.
    """
    kept = Store(store)
    trained = _on_strong_victims(strong, kept)
    body: dict[str, list[str]] = {}
    for grid in grids:
        for runs, printed, line in _lines(grid, kept, trained):
            body.setdefault(f"{runs} {printed}", line)  # what stands in two tables of a paper stands here once
    if not body:
        names = ", ".join(map(str, grids))
        raise DataError(f"{store}: expected runs of rows whose {METRIC} a paper printed in {names}, found none")
    head = [
        "row",
        "attacked",
        "attack",
        "malicious, %",
        "claimed",
        "measured, sampled",
        "full ranking",
        "strong victim",
    ]
    return Section("Claimed and measured", _ABOUT, Table("Claimed and measured", head, [*body.values()]))


def _on_strong_victims(grids: Sequence[Path], kept: Store) -> dict[tuple[Any, ...], Records]:
    """What makes rows the same attack -> the records of the one there is; rows without an attack are none."""
    found: dict[tuple[Any, ...], Records] = {}
    names: dict[tuple[Any, ...], str] = {}
    for grid in grids:
        attacked = {row: of for row, of in _records(grid, kept).items() if of[0].get("attacked")}
        for row, records in attacked.items():
            key, name = _key(records), f"'{row}' in {grid}"
            if key in found and found[key] != records:
                raise DataError(f"expected one row on a strong victim for each attack, found {names[key]} and {name}")
            found[key], names[key] = records, name
    return found


def _records(grid: Path, kept: Store) -> Mapping[str, Records]:
    """Row -> its finished records, of those of the grid that have any."""
    return kept.records(kept_runs(read_grid(grid), kept.cells))


def _lines(
    grid: Path, kept: Store, trained: Mapping[tuple[Any, ...], Records]
) -> Iterator[tuple[str, float, list[str]]]:
    """Which runs they are, what was printed of them, and their line, of rows whose exposure the paper printed."""
    paper = read_about(grid).paper
    for row, records in _records(grid, kept).items():
        printed = paper.get(row, {}).get("attacked", {}).get(METRIC)
        if printed is None or isinstance(printed, Mapping):
            continue
        config = records[0]["config"]
        full = _is_full(records)
        line = [
            row,
            f"{config['model']} on {config['dataset']}{_defence(config)}",
            *(_attack(config), rounded(100 * config["malicious_ratio"], 3), percent(printed)),
            percent(None if full else _mean(records, "test_result")),
            percent(_full(records)),
            percent(_full(trained.get(_key(records), ()))),
        ]
        yield digest_of([effective(record) for record in records]), printed, line


def _full(records: Records) -> float | None:
    """Mean exposure under full ranking; ``None`` without records."""
    return _mean(records, "test_result" if _is_full(records) else "test_result_full")


def _is_full(records: Records) -> bool:
    return all(record["config"]["exposure_candidates"] == "full" for record in records)


def _mean(records: Records, part: str) -> float | None:
    values = [(record["attacked"][part] or {}).get(METRIC) for record in records if record.get("attacked")]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _attack(config: Mapping[str, Any]) -> str:
    return f"{config['attack']}, as released" if config.get("upload_search_gradient") else str(config["attack"])


def _defence(config: Mapping[str, Any]) -> str:
    """What defends, beside nothing: a mean or a sum."""
    parts = [config["aggregator"]] * (config["aggregator"] not in _PLAIN) + [config["client_defense"]] * (
        config["client_defense"] != "none"
    )
    return f", {', '.join(parts)}" if parts else ""


_PLAIN = ("mean", "sum")
"""Rules without a defence: one step is the other's with another learning rate."""


_SAME: dict[str, Any] = {
    **dict.fromkeys(
        ("scenario", "model", "dataset", "attack", "malicious_ratio", "norm_budget", "claimed_interactions")
    ),
    **{"upload_search_gradient": False, "upload": "computed", "gradient_scale": 1.0},
    **{"per_item": False, "pre_aggregator": "none"},
}
"""What rows of the same attack have in common -> what a record means that does not say."""


def _key(records: Records) -> tuple[Any, ...]:
    """What makes two rows the same attack on the same data."""
    config = records[0]["config"]
    return (*(config.get(part, value) for part, value in _SAME.items()), _defence(config))
