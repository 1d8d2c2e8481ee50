"""Seconds of a federated round by aggregation rule, whole and per item, side by side, and as multiples of the mean's.

    python benchmarks/rules.py experiments/choosing-a-rule/rates [--repeats=3] [--out=results/seconds-per-round.csv]
    python benchmarks/rules.py experiments/choosing-a-rule/rates --every

The rules, and what they train, are those of a grid; with ``--every``, all rules train what its row of the mean does.
They take turns, an epoch each; absolute seconds depend on the machine, ratios travel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import torch
from federated_epoch import seconds_per_epoch

from recbole_attack import AttackConfig
from recbole_attack.benchmark import read_grid
from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.files import write_text

MEAN = "mean,False"


def every_rule(mean: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters of every rule, whole and per item where it can be, all else as of the mean."""
    whole_only = [name for name, rule in AGGREGATORS.items() if rule(load_defaults(f"defense/{name}")).whole_only]
    ways = [(name, per_item) for name in AGGREGATORS for per_item in (False, True)[: 2 - (name in whole_only)]]
    return [{**mean, "aggregator": name, "per_item": per_item} for name, per_item in ways]


def named(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by rule and whether it is per item, as in the table."""
    return {f"{row['aggregator']},{row.get('per_item', False)}": row for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path, help="folder or file of the grid")
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each rule")
    parser.add_argument("--every", action="store_true", help="all rules instead, as the grid's row of the mean")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write them there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = named({**row.parameters, "checkpoint_dir": folder} for row in read_grid(arguments.grid))
        if MEAN not in given:
            parser.error("the grid has no row of the mean of whole updates")
        rows = named(every_rule(given[MEAN])) if arguments.every else given
        configs = {name: AttackConfig(config_dict=parameters) for name, parameters in rows.items()}
        config = next(iter(configs.values()))
        experiment = prepare_training(config)
        measured = seconds_per_epoch(experiment, configs, arguments.repeats)
    rounds = ceil(len(experiment.train_data.trainable_users) / config["clients_per_round"])
    found = {name: median(seconds) / rounds for name, seconds in measured.items()}
    print("aggregator,per_item,seconds,ratio")
    for name, seconds in found.items():
        print(f"{name},{seconds:.3f},{seconds / found[MEAN]:.2f}")
    print(f"{rounds} rounds an epoch, {torch.get_num_threads()} threads, torch {torch.__version__}", file=sys.stderr)
    if arguments.out:
        lines = [f"{name},{seconds:.3f}" for name, seconds in found.items()]
        write_text(arguments.out, "\n".join(["aggregator,per_item,seconds", *lines]) + "\n")


if __name__ == "__main__":
    main()
