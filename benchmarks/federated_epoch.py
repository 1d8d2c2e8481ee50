"""Seconds per federated epoch: against training without federation and client by client, with an attack, under rules.

    python benchmarks/federated_epoch.py --data_path=<folder with steam-200k> [--repeats=3] [--only mean median ...]
        [--profile]

SASRec 64/2/2, or GRU4Rec with RecBole's defaults (128), histories up to 200 items, 256 clients a round. All contenders
train the same users on the same negatives, in turns: ``central`` in batches of about 2048 positions, all others as
clients; with ``dvfsr``, 1 % malicious clients join. Absolute seconds depend on the machine; ratios travel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from recbole_attack import AttackConfig
from recbole_attack.experiment import TrainingExperiment, prepare_training
from recbole_attack.utils.errors import DataError

SETTING = {
    "attack": "none",
    "malicious_ratio": 0.01,
    "MAX_ITEM_LIST_LENGTH": 200,
    "clients_per_round": 256,
    "show_progress": False,
}


CONTENDERS: dict[str, dict[str, Any]] = {
    "mean": {},
    "central": {"scenario": "central"},
    "mean, dvfsr": {"attack": "dvfsr"},
    "mean, loop": {"backend": "loop"},
    "mixed_rfa": {"aggregator": "mixed_rfa"},
    "mixed_rfa, dvfsr": {"aggregator": "mixed_rfa", "attack": "dvfsr"},
    "geometric_median": {"aggregator": "geometric_median"},
    "krum": {"aggregator": "krum"},
    "median": {"aggregator": "median"},
    "mean, per item": {"per_item": True},
    "mixed_rfa, per item": {"aggregator": "mixed_rfa", "per_item": True},
    "krum, per item": {"aggregator": "krum", "per_item": True},
    "median, per item": {"aggregator": "median", "per_item": True},
    "median, nnm": {"aggregator": "median", "pre_aggregator": "nnm"},
    "median, nnm, per item": {"aggregator": "median", "pre_aggregator": "nnm", "per_item": True},
    "krum, bucketing": {"aggregator": "krum", "pre_aggregator": "bucketing"},
    "geometric_median, arc": {"aggregator": "geometric_median", "pre_aggregator": "arc"},
    "support_shrunk": {"aggregator": "support_shrunk"},
    "support_shrunk, per item": {"aggregator": "support_shrunk", "per_item": True},
    "centered_clipping": {"aggregator": "centered_clipping"},
    "centered_clipping, per item": {"aggregator": "centered_clipping", "per_item": True},
    "dnc": {"aggregator": "dnc"},
    "dnc, per item": {"aggregator": "dnc", "per_item": True},
    "caf": {"aggregator": "caf"},
    "caf, per item": {"aggregator": "caf", "per_item": True},
    "bulyan": {"aggregator": "bulyan"},
    "bulyan, per item": {"aggregator": "bulyan", "per_item": True},
    "flame": {"aggregator": "flame"},
    "fl_trust": {"aggregator": "fl_trust"},
    "union": {"aggregator": "union"},
    "exposure_quota": {"aggregator": "exposure_quota"},
    "exposure_quota, per item": {"aggregator": "exposure_quota", "per_item": True},
    "hics": {"aggregator": "hics"},
    "hics, per item": {"aggregator": "hics", "per_item": True},
    "mean, adversarial training": {"client_defense": "adversarial_training"},
    "mean, GRU4Rec": {"model": "GRU4Rec"},
    "mixed_rfa, GRU4Rec": {"model": "GRU4Rec", "aggregator": "mixed_rfa"},
}


def seconds_per_epoch(
    experiment: TrainingExperiment, configs: dict[str, AttackConfig], repeats: int
) -> dict[str, list[float]]:
    """Seconds of every measured epoch by contender, taking turns after one epoch to warm up."""
    trainers = {name: experiment.trainer(config) for name, config in configs.items()}
    next(iter(trainers.values()))._train_epoch(experiment.train_data, 0)
    measured: dict[str, list[float]] = {name: [] for name in trainers}
    for epoch in range(repeats):
        for name, trainer in trainers.items():
            start = perf_counter()
            trainer._train_epoch(experiment.train_data, epoch)
            measured[name].append(perf_counter() - start)
            print(f"{name:<27} epoch {epoch}: {measured[name][-1]:7.2f} s", flush=True)
    return measured


def profiled(experiment: TrainingExperiment, config: AttackConfig) -> str:
    """PyTorch's operations of a second epoch, by the share of time that each takes itself."""
    trainer = experiment.trainer(config)
    trainer._train_epoch(experiment.train_data, 0)
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        trainer._train_epoch(experiment.train_data, 1)
    return str(measured.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the dataset's folder")
    parser.add_argument("--dataset", default="steam-200k")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="contenders")
    parser.add_argument("--profile", action="store_true", help="the operations of the first contender instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = {"data_path": arguments.data_path, "dataset": arguments.dataset, "checkpoint_dir": folder}
        configs = {name: AttackConfig(config_dict={**SETTING, **place, **CONTENDERS[name]}) for name in arguments.only}
        try:
            experiment = prepare_training(next(iter(configs.values())))
        except DataError as error:
            print(error, file=sys.stderr)
            return 2
        if arguments.profile:
            print(profiled(experiment, configs[arguments.only[0]]))
            return 0
        measured = seconds_per_epoch(experiment, configs, arguments.repeats)
    clients = len(experiment.train_data.trainable_users)
    print(f"\n{arguments.dataset}: {clients} clients, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'rule':<27} {'s / epoch':>10} {'clients / s':>12} {'ratio':>6}")
    seconds = {name: median(values) for name, values in measured.items()}
    for name, value in seconds.items():
        print(f"{name:<27} {value:>10.2f} {clients / value:>12.0f} {value / seconds[arguments.only[0]]:>6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
