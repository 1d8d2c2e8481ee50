"""Bytes and seconds a round on a local Flower federation, beside the same rounds in one process.

    python benchmarks/flower.py --nodes 1 2 --rounds 5

It trains on synthetic data, without an attack, under a rule that gets one sum from each node and under one that gets
every client's own update. The first round is left out: it has what later ones do not.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.data.synthetic import Synthetic, write_synthetic
from recbole_attack.flower.launch import run_on_flower


def rounds(result: dict) -> pd.DataFrame:
    return pd.read_csv(Path(result["result_file"]).with_name("clean") / "rounds.csv").iloc[1:]


def line(where: str, rule: str, found: pd.DataFrame) -> str:
    traffic = [found[name].mean() / 1e6 if name in found else 0.0 for name in ("sent", "received")]
    return f"{rule:<12}{where:<12}{found['seconds'].mean():>10.2f}{traffic[0]:>12.2f}{traffic[1]:>12.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=256, help="clients a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rules", nargs="+", default=["mean", "mixed_rfa"])
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        users = min(given.users, given.clients * given.rounds)
        write_synthetic(Synthetic(users=users, items=given.items), Path("data"), "shop")
        print(f"{users} users, {given.items} items, {given.clients} clients a round")
        print(f"{'rule':<12}{'where':<12}{'s a round':>10}{'MB sent':>12}{'MB received':>12}")
        for rule in given.rules:
            chosen = {"dataset": "shop", "data_path": "data", "attack": "none", "epochs": 1, "aggregator": rule}
            config = AttackConfig(config_dict={**chosen, "clients_per_round": given.clients, "show_progress": False})
            print(line("one process", rule, rounds(run_recbole_attack(config_dict=config.to_dict()))), flush=True)
            for nodes in given.nodes:
                found = rounds(run_on_flower(config, {"flower_nodes": nodes}))
                print(line(f"{nodes} nodes", rule, found), flush=True)


if __name__ == "__main__":
    main()
