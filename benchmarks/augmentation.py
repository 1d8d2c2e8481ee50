"""Accuracy at equal time: all positions of a user in one pass against RecBole's augmentation, a row for every position.

    python benchmarks/augmentation.py [--dataset=ml-100k] [--data_path=<folder>] [--seconds 20 60]

Central SASRec; both train the same model from the same weights, and are tested when their training time is up.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from time import perf_counter
from typing import Any

from recbole_attack import AttackConfig
from recbole_attack.data import TRAIN_ROWS
from recbole_attack.experiment import TrainingExperiment, prepare_training


def trained(
    experiment: TrainingExperiment, config: AttackConfig, budgets: list[float]
) -> list[tuple[int, float, dict[str, Any]]]:
    """Epochs, training seconds and test result at the first epoch past each budget."""
    trainer, spent, epoch, found = experiment.trainer(config), 0.0, 0, []
    trainer.eval_collector.data_collect(experiment.train_data)
    for budget in budgets:
        while spent < budget:
            start = perf_counter()
            trainer._train_epoch(experiment.train_data, epoch)
            spent, epoch = spent + perf_counter() - start, epoch + 1
        result = trainer.evaluate(experiment.test_data, load_best_model=False)
        assert result is not None
        found.append((epoch, spent, result))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="dataset/")
    parser.add_argument("--loss_type", default="BCE", choices=["BCE", "BPR", "CE"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[20.0, 60.0])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        common = {
            **{key: getattr(given, key) for key in ("dataset", "data_path", "loss_type")},
            **{"scenario": "central", "learning_rate": 0.001, "checkpoint_dir": folder, "show_progress": False},
        }
        configs = {rows: AttackConfig(config_dict={**common, "train_rows": rows}) for rows in TRAIN_ROWS}
        experiment = prepare_training(configs["users"])
        print(f"{'train_rows':<12}{'seconds':>9}{'epochs':>8}{'s / epoch':>11}{'hit@10':>9}{'ndcg@10':>9}")
        for rows, config in configs.items():
            for epochs, spent, result in trained(experiment, config, sorted(given.seconds)):
                line = f"{rows:<12}{spent:>9.1f}{epochs:>8}{spent / epochs:>11.2f}"
                print(f"{line}{result['hit@10']:>9.4f}{result['ndcg@10']:>9.4f}", flush=True)


if __name__ == "__main__":
    main()
