"""The inequality behind `margin`, held against what was measured.

    python analyses/inequality.py experiments/inequality/grid.yaml results/store
    python analyses/inequality.py experiments/strong-victim-rows/grid.yaml results/store --runs

A position draws an item nobody has as a negative with probability ``q / V`` (``q`` negatives of a catalogue of ``V``
items), and its loss is a mean of ``1 + q`` terms. So an epoch of honest clients pushes that item's row down by
``q / (1 + q) / V`` times the mean of ``sigma(s) h`` over positions of weight 1 in all: ``h`` is a position's state and
``s`` the item's score there, of which ``sigma`` makes nearly 1 once the item is among the best. The attacker of
`margin` uploads the mean of such ``h``. With ``w`` of the weight and updates ``c`` times as long as they come out, it
wins where ``w c`` is more than ``q / (1 + q) / V``; the *dose* is ``w c V (1 + q) / q``, and predicted to be 1 where
the attack begins to work, whatever the catalogue, the negatives, the optimiser, and the number of clients that share
``w``.

The table has the dose at which half of the users are shown the item after the last epoch (validation users: the tested
epoch is the most accurate one, which may come long before row and push are in balance), by linear interpolation over
the logarithm of the dose between the doses that were tried, for each seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_attack.benchmark import Row, Store, kept_runs, read_grid
from recbole_attack.benchmark.dose import dose_for
from recbole_attack.report.numbers import DASH, percent
from recbole_attack.report.words import markdown
from recbole_attack.utils.errors import DataError

SETTING = ["items", "optimiser", "negatives", "clients", "claims"]
EXPOSURE = "er@10"


def dose(weight: float, scale: float, items: int, negatives: int = 1) -> float:
    """How many times the honest push the attacker pushes, by prediction.

    Args:
        weight: Share of malicious clients in the weight of an epoch.
        scale: Factor on their updates.
        items: Catalogue size V.
        negatives: Of a position, q.

    >>> dose(0.001, 0.5, 1000)
    1.0
    """
    return weight * scale * items * (1 + negatives) / negatives


def lines(rows: Sequence[Row], store: Store) -> list[dict[str, Any]]:
    """A line for each run of `margin` that the store holds of some rows: its setting, its dose and its exposure.

    Updates that are held to a norm budget are as much shorter as the malicious over the honest norm is beside the run
    without a budget on the same targets and seed: the one with the same clients and claims, else the only one. Where
    there is none, the run is left out.

    Raises:
        DataError: There are several of them.
    """
    records = [record for of_row in store.records(kept_runs(rows, store.cells)).values() for record in of_row]
    attacked = [record for record in records if record["config"]["attack"] == "margin"]
    free = [record for record in attacked if record["config"]["norm_budget"] is None]
    beside = [record if record["config"]["norm_budget"] is None else _beside(record, free) for record in attacked]
    return [line(record, _own_length(other)) for record, other in zip(attacked, beside, strict=True) if other]


def _beside(record: Mapping[str, Any], free: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of runs without a norm budget the one that a run with one is held against."""
    alike = [other for other in free if _aim(other) == _aim(record)]
    same = [other for other in alike if _strength(other) == _strength(record)]
    found = same or alike
    if len(found) > 1:
        raise DataError(
            f"a run with norm_budget on {_aim(record)}: expected one without beside it, or one of its malicious_ratio "
            f"and claimed_interactions, {_strength(record)}, found {[_strength(other) for other in found]}"
        )
    return found[0] if found else None


def _strength(record: Mapping[str, Any]) -> tuple[float, str | None]:
    return record["config"]["malicious_ratio"], record["config"].get("claimed_interactions")


def _aim(record: Mapping[str, Any]) -> tuple[str, str, int]:
    config = record["config"]
    return config["dataset"], str(config["target_items"]), record["seed"]


def _own_length(record: Mapping[str, Any]) -> float:
    """Malicious over honest norm of updates as they come out, before they are scaled."""
    return float(record["attacked"]["uploads"]["norm_ratio"] / record["config"]["gradient_scale"])


def line(record: Mapping[str, Any], free: float | None = None) -> dict[str, Any]:
    """The same of one run.

    Args:
        record: The content of its ``result.json``.
        free: Malicious over honest norm of updates as they come out, for a run that has a norm budget.

    Raises:
        DataError: It has a norm budget, and ``free`` is not known.
    """
    config, items, uploads = record["config"], record["dataset"]["items"], record["attacked"]["uploads"]
    if config["norm_budget"] is not None and free is None:
        raise DataError(f"a run with norm_budget {config['norm_budget']}: expected one without beside it, found none")
    scale = config["gradient_scale"] if config["norm_budget"] is None else uploads["norm_ratio"] / free
    negatives, last = config.get("n_negatives", 1), record["history"]["attacked"][-1]
    return {
        "items": items,
        "optimiser": config["learner"],
        "negatives": negatives,
        "clients": record["budget"]["malicious_clients"],
        "claims": config.get("claimed_interactions") or "the truth",
        "norm_budget": config["norm_budget"],
        "targets": ", ".join(record["budget"]["target_items"]),
        "seed": record["seed"],
        "dose": dose(uploads["malicious_weight"], scale, items, negatives),
        EXPOSURE: last[EXPOSURE],
        "tested": record["attacked"]["test_result"][EXPOSURE],
        "hit@10": last["hit@10"],
    }


def by_dose(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Every run, the smallest dose first, with the exposure of the tested epoch."""
    columns = ["items", "norm_budget", "targets", "seed"]
    return [
        {
            "dose": f"{run['dose']:.2g}",
            "er@10, %": percent(run["tested"]),
            **{name: DASH if pd.isna(run[name]) else str(run[name]) for name in columns},
        }
        for run in runs.sort_values("dose").to_dict("records")
    ]


def thresholds(runs: pd.DataFrame) -> list[dict[str, str]]:
    """By setting, the dose at which half are reached, a figure a seed, and the doses that were tried."""
    found = []
    for setting, group in runs.groupby(SETTING, sort=False):
        by_seed = [dose_for(part["dose"], part[EXPOSURE]).estimate for _, part in group.groupby("seed")]
        tried = group["dose"]
        found.append(
            {
                **{name: str(value) for name, value in zip(SETTING, setting, strict=True)},
                "dose at which er@10 is 50 %": ", ".join(_shown(value, tried) for value in by_seed),
                "doses tried": f"{tried.min():.2g} to {tried.max():.2g}",
                "hit@10, %": f"{100 * group['hit@10'].min():.1f} to {100 * group['hit@10'].max():.1f}",
            }
        )
    return found


def _shown(estimate: float, tried: pd.Series) -> str:
    ends = {0.0: f"below {tried.min():.2g}", float("inf"): f"above {tried.max():.2g}"}
    return ends.get(estimate, f"{estimate:.2g}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, help="grid of the rows")
    parser.add_argument("store", type=Path, help="folder that holds what was trained of them")
    parser.add_argument(
        "--runs", action="store_true", help="every run with its dose, instead of where half are reached"
    )
    given = parser.parse_args()
    runs = lines(read_grid(given.grid), Store(given.store))
    if not runs:
        raise DataError(f"{given.store}: expected attacked runs of {given.grid}, found none")
    found = (by_dose if given.runs else thresholds)(pd.DataFrame(runs))
    print(markdown(list(found[0]), [list(each.values()) for each in found]))


if __name__ == "__main__":
    main()
