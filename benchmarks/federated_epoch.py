"""Seconds per federated epoch: many clients at once against one by one, side by side in one run.

    python benchmarks/federated_epoch.py --data_path=<folder with steam-200k> [--repeats=3]

Honest clients, SASRec 64/2/2, histories up to 200 items, 256 clients a round, plain averaging. Both backends train the
same clients on the same negatives. Absolute seconds depend on the machine; the ratio travels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from statistics import median
from time import perf_counter
from typing import Any

import torch

from recbole_attack import AttackConfig
from recbole_attack.errors import DataError
from recbole_attack.experiment import Experiment, prepare

SETTING = {
    "attack": "none",
    "MAX_ITEM_LIST_LENGTH": 200,
    "clients_per_round": 256,
    "hidden_size": 64,
    "n_layers": 2,
    "n_heads": 2,
    "show_progress": False,
}


def seconds_per_epoch(experiment: Experiment, config: AttackConfig, repeats: int) -> dict[str, list[float]]:
    """Seconds of every measured epoch by backend, the backends taking turns after one epoch to warm up."""
    trainers = {name: experiment.trainer(config.replace(backend=name)) for name in ("vectorised", "loop")}
    trainers["vectorised"]._train_epoch(experiment.train_data, 0)
    measured: dict[str, list[float]] = {name: [] for name in trainers}
    for epoch in range(repeats):
        for name, trainer in trainers.items():
            start = perf_counter()
            trainer._train_epoch(experiment.train_data, epoch)
            measured[name].append(perf_counter() - start)
            print(f"{name:<11} epoch {epoch}: {measured[name][-1]:7.2f} s", flush=True)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the dataset's folder")
    parser.add_argument("--dataset", default="steam-200k")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place: dict[str, Any] = {"data_path": arguments.data_path, "dataset": arguments.dataset}
        config = AttackConfig(config_dict={**SETTING, **place, "checkpoint_dir": folder})
        try:
            experiment = prepare(config)
        except DataError as error:
            print(error, file=sys.stderr)
            return 2
        measured = seconds_per_epoch(experiment, config, arguments.repeats)
    clients = len(experiment.train_data.trainable_users)
    fast, slow = (median(measured[name]) for name in ("vectorised", "loop"))
    print(f"\n{arguments.dataset}: {clients} clients, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'backend':<11} {'s / epoch':>10} {'clients / s':>12}")
    for name, value in (("vectorised", fast), ("loop", slow)):
        print(f"{name:<11} {value:>10.2f} {clients / value:>12.0f}")
    print(f"ratio loop / vectorised: {slow / fast:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
