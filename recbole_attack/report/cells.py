"""Records as rows of figures: one row a configuration and ranking, one figure a metric, over all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from scipy.stats import sem, t

from recbole_attack.report.numbers import LOST, is_share, number
from recbole_attack.report.settings import Record, distinguishing, effective, is_clean, is_clean_twin, named
from recbole_attack.report.words import ARMS
from recbole_attack.utils.errors import DataError

METRICS = ("hit@10", "ndcg@10", "er@5", "er@10", "er@20")
"""Metrics of a report, in its order, as far as they were measured; every metric there is if none of them was."""


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: Of the seeds whose value is defined.
        margin: How far the 95 % interval (Student's t) reaches to either side; None with one seed, and where all are
            alike, which says nothing about how far they are off.
        seeds: How many seeds there are.
    """

    mean: float
    margin: float | None
    seeds: int


_ROUNDING = 1e-12
"""Values that are less apart are the same."""


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean and 95 % interval over seeds; None if no value is defined.

    >>> estimate([0.25, 0.75, None])
    Estimate(mean=0.5, margin=3.176551184..., seeds=2)
    """
    known = [float(value) for value in values if value is not None and isfinite(value)]
    if not known:
        return None
    count = len(known)
    apart = count > 1 and max(known) - min(known) > _ROUNDING
    return Estimate(sum(known) / count, float(t.ppf(0.975, count - 1) * sem(known)) if apart else None, count)


def figure(value: Estimate | None, metric: str, seeds: int | None = None, digits: int = 2) -> str:
    """A figure as a table has it, such as ``13.80 ± 1.25``; a dash for what is undefined.

    An interval that leaves what a share can be is cut there, and stands as ``20.00 (0.00 to 62.10)``.

    Args:
        value: The estimate.
        metric: What was measured; shares come in per cent.
        seeds: How many seeds the row has; if fewer went into the estimate, it says how many.
        digits: Decimals of a share; another metric has two more.
    """
    if value is None:
        return number(None)
    scale, decimals = (100, digits) if is_share(metric) else (1, digits + 2)
    written = [f"{round(scale * part, decimals) + 0.0:.{decimals}f}" for part in _limits(value, metric)]
    text = f"{written[0]} ({written[1]} to {written[2]})" if len(written) == 3 else " ± ".join(written)
    return text if seeds in (None, value.seeds) else f"{text} ({value.seeds} of {seeds} seeds)"


def _limits(value: Estimate, metric: str) -> tuple[float, ...]:
    """The mean; with a margin if there is one; or with both ends where a share would end below 0 or above 1."""
    if value.margin is None:
        return (value.mean,)
    low, high = value.mean - value.margin, value.mean + value.margin
    if is_share(metric) and not metric.endswith(LOST) and (low < 0 or high > 1):
        return value.mean, max(low, 0.0), min(high, 1.0)
    return value.mean, value.margin


@dataclass(frozen=True)
class Row:
    """One configuration under one ranking.

    Attributes:
        name: What the reader calls it.
        records: One ``result.json`` for each seed, by seed.
        ranking: ``full``, or such as ``1000 sampled``.
        configured: Whether that is the ranking it was run with, and not the full one beside a sampled one.
        settings: The parameters in which rows differ, with this row's values; None for what it does not have.
        figures: Metric -> its mean over seeds; the accuracy's loss as ``hit@10 lost``.
    """

    name: str
    records: tuple[Record, ...]
    ranking: str
    configured: bool
    settings: Mapping[str, Any]
    figures: Mapping[str, Estimate | None]

    @property
    def attacked(self) -> bool:
        """Whether an attack was run."""
        return not is_clean(self.records[0])

    @property
    def seeds(self) -> int:
        """How many seeds it was run with."""
        return len(self.records)


class Cells(NamedTuple):
    """All rows of a report.

    Attributes:
        rows: In the order they were given, those under the configured ranking first.
        metrics: Columns of figures.
        exposure: The metric of matrices and curves, ``er@10`` if it was measured; None without a target.
        accuracy: The metric whose loss is shown, of the same cut-off.
        failures: Row and seed -> why it has no figures.
        may_differ: In what of protocol, knowledge and budget rows of one victim were let differ.
    """

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    exposure: str | None
    accuracy: str | None
    failures: Mapping[str, str]
    may_differ: Sequence[str] = ()


def main_arm(record: Record) -> str:
    """The arm a row is about: the attacked one, else the clean one, else the platform's own."""
    return next(arm for arm in reversed(ARMS) if record.get(arm))


def cells(
    records: Mapping[str, Sequence[Record]] | Sequence[Record], failures: Mapping[str, str] | None = None
) -> Cells:
    """Rows of all records.

    Args:
        records: Row name -> the records of its seeds; or records alone, which are told apart by their parameters.
        failures: What else failed -> why.

    Raises:
        DataError: There is no finished record, records are of different schemas, or one row has a seed twice with
            different results.
    """
    by_row = dict(records) if isinstance(records, Mapping) else named(records)
    unfinished = {
        f"{name}, seed {record['seed']}": reason
        for name, seeds in by_row.items()
        for record in seeds
        if (reason := _failure(record))
    }
    failed = {**(failures or {}), **unfinished}
    finished = {name: [r for r in seeds if not _failure(r)] for name, seeds in by_row.items()}
    kept = {name: _by_seed(name, seeds) for name, seeds in finished.items() if seeds}
    if not kept:
        reasons = "; ".join(f"{row}: {reason}" for row, reason in list(failed.items())[:5])
        reasons += f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        raise DataError(f"no finished run to report on{f': {reasons}' if reasons else ''}")
    _check_schema(kept)
    settings = distinguishing({name: seeds[0] for name, seeds in kept.items()})
    metrics, exposure, accuracy = _metrics([record for seeds in kept.values() for record in seeds])
    wanted = (*metrics, *([accuracy + LOST] if accuracy else []))
    rows = [
        _row(name, seeds, kept, settings[name], wanted, full)
        for full in (False, True)
        for name, seeds in kept.items()
        if not full or seeds[0]["config"]["exposure_candidates"] != "full"
    ]
    lost = accuracy is not None and any(row.figures[accuracy + LOST] for row in rows)
    return Cells(tuple(rows), wanted if lost else metrics, exposure, accuracy if lost else None, failed)


def _failure(record: Record) -> str | None:
    """Why a record has no figures, if it has none."""
    failed = record.get("failed")
    if failed:
        return f"arm '{failed['arm']}': {failed['reason']}"
    arms = ["attacked"] if not is_clean(record) else list(ARMS)
    return None if any(record.get(arm) for arm in arms) else f"no arm {' or '.join(arms)}"


def _by_seed(name: str, records: Sequence[Record]) -> tuple[Record, ...]:
    """Records by seed; one that was run twice counts once."""
    found: dict[int, Record] = {}
    for record in records:
        other = found.setdefault(record["seed"], record)
        if any(other.get(arm) != record.get(arm) for arm in ARMS if other.get(arm) and record.get(arm)):
            raise DataError(
                f"row '{name}' has seed {record['seed']} twice with different results: expected one run a seed, "
                "or runs of one configuration and one version of this package"
            )
        found[record["seed"]] = max(other, record, key=lambda r: sum(bool(r.get(arm)) for arm in ARMS))
    return tuple(found[seed] for seed in sorted(found))


def _check_schema(rows: Mapping[str, Sequence[Record]]) -> None:
    found = {record.get("schema"): name for name, seeds in rows.items() for record in seeds}
    if len(found) > 1:
        which = ", ".join(f"{schema} (row '{name}')" for schema, name in found.items())
        raise DataError(f"records of different schemas cannot be compared: expected one schema, found {which}")


def _metrics(records: Sequence[Record]) -> tuple[tuple[str, ...], str | None, str | None]:
    """Columns of figures, and the metrics of exposure and accuracy."""
    measured = list(dict.fromkeys(m for r in records for m in r[main_arm(r)]["test_result"] or {}))
    usual = [metric for metric in METRICS if metric in measured]
    exposure = next((m for m in ("er@10", *measured) if m in measured and m.startswith("er@")), None)
    cutoff = (exposure or "er@10").partition("@")[2]
    accuracy = next((m for m in (f"hit@{cutoff}", f"ndcg@{cutoff}") if m in measured), None)
    if {exposure, accuracy} - {None} <= set(usual):
        return tuple(usual or measured), exposure, accuracy
    return tuple(measured), exposure, accuracy


def _row(
    name: str,
    records: tuple[Record, ...],
    all_rows: Mapping[str, Sequence[Record]],
    settings: Mapping[str, Any],
    metrics: Sequence[str],
    full: bool,
) -> Row:
    """One row's figures under the configured or the full ranking."""
    candidates = records[0]["config"]["exposure_candidates"]
    ranking = "full" if full or candidates == "full" else f"{candidates} sampled"
    key = "test_result_full" if full else "test_result"
    twins = _clean_results(records, all_rows, key)

    def value(metric: str) -> Callable[[Record], float | None]:
        def of(record: Record) -> float | None:
            attacked = (record[main_arm(record)].get(key) or {}).get(metric.removesuffix(LOST))
            if not metric.endswith(LOST):
                return attacked
            clean = twins.get(record["seed"], {}).get(metric.removesuffix(LOST))
            return None if clean is None or attacked is None else clean - attacked

        return of

    return Row(name, records, ranking, not full, settings, {m: estimate(map(value(m), records)) for m in metrics})


def _clean_results(
    records: Sequence[Record], all_rows: Mapping[str, Sequence[Record]], key: str
) -> dict[int, Mapping[str, float]]:
    """Seed -> test metrics of the same run without the attack: its own clean arm, or a row that is its clean twin."""
    if is_clean(records[0]):
        return {}
    twins = [(len(effective(of[0])), of) for of in all_rows.values() if is_clean_twin(of[0], records[0])]
    others = max(twins, key=lambda twin: twin[0])[1] if twins else []
    results = {r["seed"]: r["clean"].get(key) for r in others if r.get("clean")}
    results |= {r["seed"]: r["clean"].get(key) for r in records if r.get("clean")}
    return {seed: result for seed, result in results.items() if result}
