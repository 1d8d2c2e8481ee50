"""Seconds of a federated round by aggregation rule, whole and per item, side by side.

    python benchmarks/rules.py [--repeats=3] [--out=results/seconds-per-round.csv]

SASRec on ml-100k with 64 clients a round, as in experiments/choosing-a-rule. All rules take turns, an epoch each;
absolute seconds depend on the machine, ratios travel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import product
from math import ceil
from pathlib import Path
from statistics import median

import torch
from federated_epoch import seconds_per_epoch

from recbole_attack import AttackConfig
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training

SETTING = {"model": "SASRec", "dataset": "ml-100k", "attack": "none", "show_progress": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each rule")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write them there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        configs = {
            f"{rule},{per_item}": AttackConfig(
                config_dict={**SETTING, "checkpoint_dir": folder, "aggregator": rule, "per_item": per_item}
            )
            for rule, per_item in product(AGGREGATORS, (False, True))
        }
        config = next(iter(configs.values()))
        experiment = prepare_training(config)
        measured = seconds_per_epoch(experiment, configs, arguments.repeats)
    rounds = ceil(len(experiment.train_data.trainable_users) / config["clients_per_round"])
    lines = [f"{name},{median(seconds) / rounds:.3f}" for name, seconds in measured.items()]
    text = "\n".join(["aggregator,per_item,seconds", *lines]) + "\n"
    print(text, end="")
    print(f"{rounds} rounds an epoch, {torch.get_num_threads()} threads, torch {torch.__version__}", file=sys.stderr)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
