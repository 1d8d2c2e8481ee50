"""Seconds and memory of per-client gradients, side by side with one batched backward pass over the same clients.

    python benchmarks/client_gradients.py --data_path=<folder with steam-200k> [--repeats=3]
    python benchmarks/client_gradients.py --memory [--items 13000 130000] [--aggregator=mixed_rfa]

Honest clients, SASRec 64/2/2, histories up to 200 items, 256 clients a round. The seconds are the CPU time of this
process for all rounds of one epoch, without drawing batches and without the server's step. With ``--memory``, one
aggregated round of 256 clients of 200 positions each over random items, for each number of items in a process of its
own: by how much the peak rises above what it was with the model and the data, with and without the update that
results, which has the model's size. Absolute seconds depend on the machine; the ratios travel.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from statistics import median
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from federated_epoch import SETTING

from recbole_attack import AttackConfig
from recbole_attack.data import TrainBatch
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_gradients import client_gradients
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.rounds import ClientGroup
from recbole_attack.federated.server import aggregate
from recbole_attack.federated.updates import summed_gradient
from recbole_attack.model import SASRec
from recbole_attack.utils.errors import DataError

N_CLIENTS, LENGTH = 256, 200


def steps(model: Any, group: ClientGroup, chunk_tokens: int, memory: torch.Tensor) -> dict[str, float]:
    """CPU seconds of one round by what is computed."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = process_time()
        result = work()
        seconds[name] = process_time() - start
        return result

    weights = group.weights / group.weights.sum()
    timed("summed", lambda: summed_gradient(model, group.losses, group.lengths, weights, chunk_tokens))
    timed("clients, fresh memory", lambda: client_gradients(model, group.losses, group.lengths, chunk_tokens))
    updates: ClientUpdates = timed(
        "clients", lambda: client_gradients(model, group.losses, group.lengths, chunk_tokens, memory)[0]
    )
    timed("gram", updates.gram)
    timed("weighted sum", lambda: updates.weighted_sum(weights))
    return seconds


def epoch(config: AttackConfig, repeats: int) -> dict[str, float]:
    """Median CPU seconds of an epoch's rounds by what is computed, after one round to warm up."""
    experiment = prepare_training(config)
    trainer, data = experiment.trainer(config), experiment.train_data
    model, pool, sampled = trainer.model.train(), trainer.clients(data), [trainer._sampled(data, 0, 0)]
    ones = np.ones(data.sequences.n_users, "f4")
    groups = [
        trainer._honest_group(data, pool.users[clients], ones[pool.users[clients]], sampled)
        for clients in pool.rounds(config["seed"], 0, config["clients_per_round"])
    ]
    dense = sum(p.numel() for name, p in model.named_parameters() if name != ITEM_TABLE)
    memory = torch.zeros(config["clients_per_round"], dense)
    steps(model, groups[0], config["chunk_tokens"], memory)
    measured = []
    for repeat in range(repeats):
        rounds = [steps(model, group, config["chunk_tokens"], memory) for group in groups]
        measured.append({name: sum(seconds[name] for seconds in rounds) for name in rounds[0]})
        print(f"epoch {repeat}: " + ", ".join(f"{k} {v:.2f} s" for k, v in measured[-1].items()), flush=True)
    tokens = sum(int(group.lengths.sum()) for group in groups)
    print(f"\n{config['dataset']}: {len(pool.users)} clients, {tokens} positions, {len(groups)} rounds", end=", ")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    return {name: median(seconds[name] for seconds in measured) for name in measured[0]}


def print_ratios(seconds: dict[str, float]) -> None:
    base = seconds["summed"]
    rows = {
        "one batched backward": base,
        "per-client gradients, fresh memory": seconds["clients, fresh memory"],
        "per-client gradients": seconds["clients"],
        "+ Gram matrix": seconds["clients"] + seconds["gram"],
        "+ weighted sum": seconds["clients"] + seconds["gram"] + seconds["weighted sum"],
    }
    print(f"{'':<36} {'CPU s / epoch':>13} {'ratio':>6}")
    for name, value in rows.items():
        print(f"{name:<36} {value:>13.2f} {value / base:>6.2f}")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak(aggregator: str, n_items: int) -> None:
    """Print by how much a round raises the peak of the process."""
    config = AttackConfig(config_dict={**SETTING, "aggregator": aggregator})
    rule, dataset = AGGREGATORS[aggregator](config), SimpleNamespace(num=lambda field: n_items)
    model = SASRec(config, dataset).train()
    fields = np.random.default_rng(0).integers(1, n_items, (3, N_CLIENTS, LENGTH))
    batch = TrainBatch(*torch.from_numpy(fields))

    def losses(model: Any, clients: torch.Tensor, step: int) -> torch.Tensor:
        return model.client_losses(batch.rows(clients))

    def one_round() -> ClientUpdates:
        updates, _ = client_gradients(model, losses, batch.lengths, config["chunk_tokens"])
        aggregate(updates, torch.ones(N_CLIENTS), rule)
        return updates

    start = peak_bytes()
    updates = one_round()
    raised = (peak_bytes() - start) / 1e6
    stacked = N_CLIENTS * sum(p.numel() for p in model.parameters()) * 4 / 1e6
    size = sum(p.numel() for p in model.parameters()) * 4 / 1e6
    print(f"\n{aggregator}, {n_items} items, {N_CLIENTS} clients of {LENGTH} positions, {len(updates.rows)} item rows")
    print(f"model                                  {size:>9.0f} MB")
    print(f"dense part and item rows of the result {(updates.dense.numel() + updates.rows.numel()) * 4 / 1e6:>9.0f} MB")
    print(f"peak above model and data              {raised:>9.0f} MB")
    print(f"the same without the resulting update  {raised - size:>9.0f} MB")
    print(f"whole updates, had they been stacked   {stacked:>9.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the dataset's folder")
    parser.add_argument("--dataset", default="steam-200k")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory of a synthetic round instead of seconds")
    parser.add_argument("--items", type=int, nargs="+", default=[13_000, 130_000], help="items of the synthetic round")
    parser.add_argument("--aggregator", default="mixed_rfa", help="rule of the synthetic round")
    arguments = parser.parse_args()
    if arguments.memory:
        for n_items in arguments.items:
            process = get_context("spawn").Process(target=peak, args=(arguments.aggregator, n_items))
            process.start()
            process.join()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        place: dict[str, Any] = {"data_path": arguments.data_path, "dataset": arguments.dataset}
        config = AttackConfig(config_dict={**SETTING, **place, "checkpoint_dir": folder})
        try:
            print_ratios(epoch(config, arguments.repeats))
        except DataError as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
