"""Seconds and memory of a federation as it grows: loading, rounds of some clients, evaluation of some users.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--users 10000 100000 1000000] [--items=100000] [--rounds=100]
    OMP_NUM_THREADS=1 python benchmarks/scale.py --whole=aliec

Synthetic users with 20 interactions on average, SASRec 64/2/2, histories up to 50 items, 1000 clients a round, 0.1 %
malicious clients (``dvfsr``), 20000 evaluated users. With ``--whole``, the data has one of the named sizes and an epoch
asks every client once. Every size and rule has a process of its own, whose peak memory is printed: with all of it
loaded, and at the end. Seconds are the processor's, so that other work on the machine counts little; they depend on the
machine, how they grow does not.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

from recbole_attack.data.synthetic import PRESETS, ensure_synthetic, synthetic_size

SETTING = {
    "model": "SASRec",
    "dataset": "synthetic",
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
COLUMNS = ("users", "rule", "load, s", "loaded, GB", "rounds", "s / round", "ms / client", "evaluation, s", "peak, GB")


def gigabytes() -> float:
    """Most memory this process has taken up so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(parameters: dict[str, Any]) -> list[str]:
    """One row of the table, in the order of :data:`COLUMNS`."""
    from recbole_attack import AttackConfig
    from recbole_attack.experiment import prepare_training

    start = process_time()
    config = AttackConfig(config_dict={**SETTING, **parameters})
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    loaded, load = gigabytes(), process_time() - start
    start = process_time()
    trainer._train_epoch(experiment.train_data, 0)
    trained = process_time() - start
    trainer.eval_collector.data_collect(experiment.train_data)
    start = process_time()
    trainer.evaluate(experiment.test_data, load_best_model=False)
    evaluated, rounds = process_time() - start, len(trainer.rounds)
    clients = sum(record["honest"] + record["malicious"] for record in trainer.rounds)
    times = f"{trained / rounds:.2f}", f"{1000 * trained / clients:.2f}", f"{evaluated:.1f}"
    users = experiment.train_data.sequences.n_users - 1
    return [str(users), config["aggregator"], f"{load:.0f}", f"{loaded:.2f}", str(rounds), *times, f"{gigabytes():.2f}"]


def settings(arguments: argparse.Namespace, folder: str) -> Iterator[dict[str, Any]]:
    """What is measured, its data written."""
    sizes: list[Any] = [arguments.whole]
    if arguments.whole is None:
        common = {"items": arguments.items, "categories": 1000, "mean_length": 20}
        sizes = [{"users": users, **common} for users in arguments.users]
    for size in sizes:
        ensure_synthetic(synthetic_size(size), Path(folder))
        for rule in RULES:
            place = {"data_path": folder, "checkpoint_dir": folder, "synthetic_size": size, "aggregator": rule}
            yield place if arguments.whole else {**place, "rounds_per_epoch": arguments.rounds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--whole", choices=PRESETS)
    arguments = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for parameters in settings(arguments, folder):
            with get_context("spawn").Pool(1) as pool:
                print("| " + " | ".join(pool.apply(measure, (parameters,))) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
