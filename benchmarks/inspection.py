"""What `recbole_attack inspect` finds, and how often it finds what is not there: false alarms, precision and recall.

    OMP_NUM_THREADS=1 python benchmarks/inspection.py --platform_users=random:0.5 --folder=<folder>

For each of --splits divisions of ml-100k's users, a provider trains --honest clean models of different seeds and
--planted backdoored ones (BRA, other targets each), all on its own users. The platform has the other users, as a
dataset of its own, and inspects every file with the items' tokens in the provider's order. Beside the calibration that
is used, on halves of the platform's users, stands the one that suggests itself: clean models and the local one on the
same users.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack import AttackConfig
from recbole_attack.defense import DETECTORS
from recbole_attack.experiment import PretrainExperiment, prepare_pretrain
from recbole_attack.inspection import Inspection, inspect_model
from recbole_attack.inspection.calibration import highest, p_values
from recbole_attack.inspection.platform import prepare_platform
from recbole_attack.utils.files import write_text

FIRST = 2020
TRAINING = {"loss_type": "BPR", "learning_rate": 0.003, "lr_decay_step": None, "show_progress": False}


@dataclass(frozen=True)
class Vendor:
    """A model file, what was planted in it, and how well that worked."""

    file: Path
    targets: frozenset[str]
    exposure: float


def main() -> None:
    """Print a line for each model, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform_users", default="random:0.5")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8, help="of the provider")
    parser.add_argument("--own_epochs", type=int, default=8, help="of the platform's models, at the most")
    parser.add_argument("--seed", type=int, default=FIRST, help="of the first split; the others follow")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--honest", type=int, default=20)
    parser.add_argument("--planted", type=int, default=6)
    parser.add_argument("--targets", default="random:10")
    parser.add_argument("--ratio", type=float, default=0.5, help="replacement_ratio of BRA")
    parser.add_argument("--clean_models", type=int, default=20)
    parser.add_argument("--same_users", type=int, default=20, help="clean models of the other calibration")
    arguments = parser.parse_args()
    seen: list[tuple[Vendor, Inspection]] = []
    same: list[dict[str, float]] = []
    for split in range(arguments.seed, arguments.seed + arguments.splits):
        folder = arguments.folder / f"{arguments.platform_users.replace(':', '-')}-{split}"
        given = {**TRAINING, "epochs": arguments.own_epochs, "checkpoint_dir": str(folder), "seed": split}
        for number, vendor in enumerate(vendors(arguments, split, folder)):
            if not number:
                clean = same_users(own_dataset(folder, given), arguments.same_users)
            found = inspected(vendor, folder, given, arguments.clean_models)
            seen.append((vendor, found))
            column = {name: found.header.index(f"{name}_score") for name in DETECTORS}
            scores = {name: np.array([float(row[column[name]]) for row in found.rows]) for name in DETECTORS}
            same.append({name: p_values(scores[name], clean[name]).min() for name in DETECTORS})
            print(f"split {split}, {vendor.file.parts[-4]}, er@10 {vendor.exposure:.3f}: {found.verdict}", flush=True)
    report(seen, same, arguments.clean_models)


def vendors(arguments: argparse.Namespace, split: int, folder: Path) -> Iterator[Vendor]:
    """Train the provider's models, the honest ones first."""
    plan = [("none", seed) for seed in range(arguments.honest)] + [("bra", seed) for seed in range(arguments.planted)]
    for attack, number in plan:
        experiment = prepare_pretrain(provider(arguments, split, attack, 100 + number))
        write_dataset(experiment, folder)
        trained = replace(experiment, config=experiment.config.replace(seed=5000 + 100 * (split - FIRST) + number))
        arm = "clean" if attack == "none" else "attacked"
        home = folder / f"{attack}-{number}"
        result = trained.arms()[arm](home / arm, True, False)
        tokens = experiment.dataset.tokens(experiment.dataset.iid_field, experiment.threat.targets)
        planted = frozenset(tokens if attack == "bra" else ())
        yield Vendor(home / arm / "1-pre_train" / "SASRec.pth", planted, (result.test_result or {})["er@10"])


def provider(arguments: argparse.Namespace, split: int, attack: str, target_seed: int) -> AttackConfig:
    """The configuration of one provider's model; the seed divides the users."""
    parameters = {
        **TRAINING,
        "scenario": "pretrain",
        "attack": attack,
        "platform_users": arguments.platform_users,
        "pre_train_epochs": arguments.epochs,
        "pre_train_learning_rate": TRAINING["learning_rate"],
        "target_items": arguments.targets,
        "target_seed": target_seed,
        "seed": split,
    }
    if attack == "bra":
        parameters["replacement_ratio"] = arguments.ratio
    return AttackConfig("SASRec", "ml-100k", config_dict=parameters)


def write_dataset(experiment: PretrainExperiment, folder: Path) -> None:
    """The platform's users as a dataset of its own, with the whole catalogue, and the provider's order of it."""
    own, dataset = experiment.parties.sequences.only(experiment.parties.platform), experiment.dataset
    items = dataset.tokens(dataset.iid_field, np.arange(1, dataset.item_num))
    users = dataset.tokens(dataset.uid_field, own.owner_ids)
    names = dataset.tokens(dataset.iid_field, own.items)
    rows = [f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(zip(users, names, strict=True))]
    write_text(folder / "mine" / "mine.inter", "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""]))
    write_text(folder / "mine" / "mine.item", "\n".join(["item_id:token", *sorted(items), ""]))
    write_text(folder / "tokens.txt", "\n".join([*items, ""]))


def own_dataset(folder: Path, given: dict[str, Any]) -> AttackConfig:
    """The configuration of the platform's own models."""
    return AttackConfig("SASRec", "mine", config_dict={"scenario": "central", "attack": "none", **own(folder, given)})


def own(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the platform's own models: its catalogue is that of the item file."""
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}
    return {**given, "data_path": str(folder), "load_col": columns}


def inspected(vendor: Vendor, folder: Path, given: dict[str, Any], clean_models: int) -> Inspection:
    """The inspection of one file."""
    return inspect_model(
        vendor.file,
        dataset="mine",
        config_dict=own(folder, given),
        items=str(folder / "tokens.txt"),
        clean_models=clean_models,
    )


def same_users(config: AttackConfig, count: int) -> dict[str, Any]:
    """Detector -> highest scores of clean models of other seeds, all of them and the local one on the same users."""
    platform = prepare_platform(config)
    local = platform.trained(platform.users, config["seed"])
    found = []
    for number in range(count):
        clean = platform.trained(platform.users, config["seed"] + 1000 + number)
        found.append(highest(platform.evidence(clean, local, platform.users), clean, config))
    return {name: np.array([of[name] for of in found]) for name in DETECTORS}


def report(seen: list[tuple[Vendor, Inspection]], same: list[dict[str, float]], clean_models: int) -> None:
    """False alarms of honest models, and precision and recall of flagged items in planted ones."""
    rate = 1 / (1 + clean_models) + 1e-12
    for name in DETECTORS:
        p = [np.array([float(row[of.header.index(f"{name}_p")]) for row in of.rows]) for _, of in seen]
        tokens = [np.array([row[0] for row in of.rows]) for _, of in seen]
        honest = [number for number, (vendor, _) in enumerate(seen) if not vendor.targets]
        planted = [number for number, (vendor, _) in enumerate(seen) if vendor.targets]
        halves = sum(p[number].min() <= rate for number in honest)
        whole = sum(same[number][name] <= rate for number in honest)
        print(f"\n{name}: honest models flagged {halves} of {len(honest)}; by clean models on the same users {whole}")
        flagged = [set(tokens[number][p[number] <= rate]) for number in planted]
        right = [len(found & seen[number][0].targets) for number, found in zip(planted, flagged, strict=True)]
        total, targets = sum(map(len, flagged)), sum(len(seen[number][0].targets) for number in planted)
        caught, precision, recall = sum(map(bool, flagged)), sum(right) / max(total, 1), sum(right) / max(targets, 1)
        print(
            f"  planted models flagged {caught} of {len(planted)}, {total} items, of which {sum(right)} targets:",
            end=" ",
        )
        print(f"precision {precision:.2f}, recall {recall:.2f} of {targets}")


if __name__ == "__main__":
    main()
