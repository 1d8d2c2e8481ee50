"""Seconds of a federated round by aggregation rule, whole and per item, side by side.

    python benchmarks/rules.py experiments/choosing-a-rule/rates [--repeats=3] [--out=results/seconds-per-round.csv]

The rules, and what they train, are those of a grid. They take turns, an epoch each; absolute seconds depend on the
machine, ratios travel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from math import ceil
from pathlib import Path
from statistics import median

import torch
from federated_epoch import seconds_per_epoch

from recbole_attack import AttackConfig
from recbole_attack.benchmark import read_grid
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path, help="folder or file of the grid")
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each rule")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write them there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = [{**row.parameters, "checkpoint_dir": folder} for row in read_grid(arguments.grid)]
        names = [f"{parameters['aggregator']},{parameters.get('per_item', False)}" for parameters in given]
        configs = {name: AttackConfig(config_dict=parameters) for name, parameters in zip(names, given, strict=True)}
        config = next(iter(configs.values()))
        experiment = prepare_training(config)
        measured = seconds_per_epoch(experiment, configs, arguments.repeats)
    rounds = ceil(len(experiment.train_data.trainable_users) / config["clients_per_round"])
    lines = [f"{name},{median(seconds) / rounds:.3f}" for name, seconds in measured.items()]
    text = "\n".join(["aggregator,per_item,seconds", *lines]) + "\n"
    print(text, end="")
    print(f"{rounds} rounds an epoch, {torch.get_num_threads()} threads, torch {torch.__version__}", file=sys.stderr)
    if arguments.out:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
