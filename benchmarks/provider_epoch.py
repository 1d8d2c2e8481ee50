"""One epoch of a provider and the evaluation of its targets, at the size of AliEC and on ML-1M.

    python benchmarks/provider_epoch.py --data_path=<folder with ml-1m> [--size=aliec] [--folder=<where to generate>]

SASRec with the paper's sizes (64, 1 layer, histories of 100), BPR, 300 targets on synthetic data of the given size, 30
on ML-1M. Batches are 16 times RecBole's default: Adam passes over the whole item table in every step, and AliEC's is 30
times ML-1M's. Each dataset runs in a process of its own, so that its peak is its own. Seconds per interaction travel
badly between machines, their ratio well.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import warnings
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_attack.data.synthetic import PRESETS

SETTING = {
    "scenario": "pretrain",
    "attack": "none",
    "n_layers": 1,
    "n_heads": 1,
    "hidden_size": 64,
    "MAX_ITEM_LIST_LENGTH": 100,
    "train_batch_size": 32768,
    "show_progress": False,
}


def measure(name: str, parameters: dict[str, Any]) -> tuple[str, float]:
    """One line of the table, and seconds per interaction of the epoch."""
    from recbole_attack import AttackConfig
    from recbole_attack.experiment import prepare_pretrain
    from recbole_attack.stages import PRE_TRAIN

    warnings.simplefilter("ignore")
    config = AttackConfig(config_dict={**SETTING, **parameters})
    experiment = prepare_pretrain(config)
    with tempfile.TemporaryDirectory() as folder:
        trainer = experiment.trainer(config, PRE_TRAIN, Path(folder))
        data = experiment.data["provider"]
        trainer.eval_collector.data_collect(data)
        start = perf_counter()
        trainer._train_epoch(data, 0)
        trained = perf_counter() - start
        start = perf_counter()
        trainer.evaluate(experiment.test_data, load_best_model=False)
        evaluated = perf_counter() - start
    positions = int(data.examples.sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    users = int(experiment.parties.platform.sum())
    line = f"{name:<12}{len(data.sequences.items):>12}{positions:>12}{trained:>10.1f}{1e6 * trained / positions:>12.1f}"
    return f"{line}{users:>10}{evaluated:>10.1f}{peak:>10.2f}", trained / positions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", default="dataset/", help="folder that holds ml-1m's folder")
    parser.add_argument("--size", default="aliec", choices=PRESETS)
    parser.add_argument("--folder", type=Path, help="kept between runs; a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        synthetic = {"dataset": "synthetic", "synthetic_size": given.size, "data_path": str(given.folder or temporary)}
        contenders = {
            "ml-1m": {"dataset": "ml-1m", "data_path": given.data_path, "target_items": "random:30"},
            given.size: {**synthetic, "platform_users": "count<10", "target_items": "random:300"},
        }
        print(
            f"{'':<12}{'interactions':>12}{'positions':>12}{'epoch, s':>10}{'us/position':>12}"
            f"{'platform':>10}{'test, s':>10}{'peak, GiB':>10}"
        )
        seconds = {}
        for name, parameters in contenders.items():
            with get_context("spawn").Pool(1) as pool:
                line, seconds[name] = pool.apply(measure, (name, parameters))
            print(line, flush=True)
    print(f"seconds per position, {given.size} against ml-1m: {seconds[given.size] / seconds['ml-1m']:.2f}")


if __name__ == "__main__":
    main()
