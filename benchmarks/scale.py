"""Seconds and memory of a federation as it grows: loading, rounds of some clients, evaluation of some users.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--users 10000 100000 1000000] [--items 100000] [--rounds 100]

Synthetic users with 20 interactions on average, SASRec 64/2/2, histories up to 50 items, 1000 clients a round, 0.1 %
malicious clients (``dvfsr``), 20000 evaluated users. Every size and rule has a process of its own, whose peak memory is
printed: with all of it loaded, and at the end. Absolute figures depend on the machine; how they grow does not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from time import perf_counter
from typing import Any

SETTING = {
    "model": "SASRec",
    "attack": "dvfsr",
    "malicious_ratio": 0.001,
    "MAX_ITEM_LIST_LENGTH": 50,
    "clients_per_round": 1000,
    "eval_users": 20_000,
    "eval_batch_size": 256,
    "hidden_size": 64,
    "n_layers": 2,
    "n_heads": 2,
    "show_progress": False,
}
RULES = ("mean", "mixed_rfa")
COLUMNS = ("load, s", "loaded, GB", "s / round", "ms / client", "evaluation, s", "peak, GB")


def gigabytes() -> float:
    """Most memory this process has taken up so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(size: dict[str, Any], rule: str, rounds: int, folder: str) -> list[float]:
    """One row of the table, in the order of :data:`COLUMNS`."""
    from recbole_attack import AttackConfig
    from recbole_attack.experiment import prepare_training

    start = perf_counter()
    place = {"data_path": folder, "checkpoint_dir": folder}
    data = {"dataset": "synthetic", "synthetic_size": size}
    config = AttackConfig(config_dict={**SETTING, **place, **data, "aggregator": rule, "rounds_per_epoch": rounds})
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    loaded, load = gigabytes(), perf_counter() - start
    start = perf_counter()
    trainer._train_epoch(experiment.train_data, 0)
    seconds = (perf_counter() - start) / rounds
    trainer.eval_collector.data_collect(experiment.train_data)
    start = perf_counter()
    trainer.evaluate(experiment.test_data, load_best_model=False)
    clients = sum(record["honest"] + record["malicious"] for record in trainer.rounds) / rounds
    return [load, loaded, seconds, 1000 * seconds / clients, perf_counter() - start, gigabytes()]


def in_its_own_process(*arguments: Any) -> list[float]:
    """The same, measured where nothing was loaded before."""
    command = [sys.executable, __file__, "--measure", json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [float(value) for value in json.loads(done.stdout.splitlines()[-1])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*json.loads(arguments.measure))))
        return 0
    print(f"{'users':>9} {'rule':<10} " + " ".join(f"{name:>13}" for name in COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        for users in arguments.users:
            size = {"users": users, "items": arguments.items, "categories": 1000, "mean_length": 20}
            for rule in RULES:
                row = in_its_own_process(size, rule, arguments.rounds, folder)
                print(f"{users:>9} {rule:<10} " + " ".join(f"{value:>13.2f}" for value in row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
