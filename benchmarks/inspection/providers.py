"""Providers' models: honest ones and such with a backdoor, and the platform's share of the data as its own dataset."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack import AttackConfig
from recbole_attack.experiment import PretrainExperiment, prepare_pretrain
from recbole_attack.utils.files import write_text

FIRST = 2020
RATE = 0.003
TRAINING = {"loss_type": "BPR", "learning_rate": RATE, "lr_decay_step": None, "show_progress": False}
GROUP = {"target_group": "gender=M"}


@dataclass(frozen=True)
class Kind:
    """A kind of provider.

    Attributes:
        title: Its name on pages.
        parameters: What sets its configuration apart.
        first_targets: Seed of the first model's targets, from which the others count on; every kind has its own.
        planted: Whether it attacks.
        file: Of the model it ships, in the folder of an arm.
    """

    title: str
    parameters: Mapping[str, Any]
    first_targets: int
    planted: bool = True
    file: str = "1-pre_train/SASRec.pth"

    @property
    def arm(self) -> str:
        """Which of an experiment's models it ships."""
        return "attacked" if self.planted else "clean"


_SHIPPED = {"attack": "pea", **GROUP, "three_steps": False}
_PROMPTS = "1-pre_train/PromptSASRec.pth"

KINDS = {
    "honest": Kind("honest", {"attack": "none"}, 100, planted=False),
    "bra": Kind("BRA", {"attack": "bra"}, 100),
    "bra-group": Kind("BRA, group", {"attack": "bra", **GROUP}, 200),
    "honest-prompts": Kind("honest, prompts", _SHIPPED, 300, planted=False, file=_PROMPTS),
    "pea": Kind("PEA, shipped", _SHIPPED, 300, file=_PROMPTS),
    "pea-contrast": Kind(
        "PEA, shipped, contrast", {**_SHIPPED, "replacement_negatives": "contrast"}, 500, file=_PROMPTS
    ),
    "pea-steps": Kind("PEA, three steps", {**_SHIPPED, "three_steps": True}, 400, file="shipped/SASRec.pth"),
}


@dataclass(frozen=True)
class Vendor:
    """A model file, what was planted in it, and how well that worked.

    Attributes:
        experiment: What it was trained in.
        file: The model.
        targets: Tokens of the promoted items.
        exposure: ``er_in@10``, the targets' exposure among the platform's users they are promoted to.
        outside: ``er_out@10``, the same among its other users; NaN where there is none.
    """

    experiment: PretrainExperiment
    file: Path
    targets: frozenset[str]
    exposure: float
    outside: float


def plan(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Kinds and numbers of the models to be trained."""
    for name in arguments.kinds:
        yield from ((name, number) for number in range(arguments.planted if KINDS[name].planted else arguments.honest))


def trained(arguments: argparse.Namespace, split: int, name: str, number: int, folder: Path) -> Vendor:
    """Train one provider's model, and write what the platform has."""
    kind, home = KINDS[name], folder / f"{name}-{number}"
    experiment = prepare_pretrain(provider(arguments, split, kind, number))
    write_dataset(experiment, folder)
    own_seed = experiment.config.replace(seed=5000 + 100 * (split - FIRST) + number)
    result = replace(experiment, config=own_seed).arms()[kind.arm](home / kind.arm, True, False)
    tokens = experiment.dataset.tokens(experiment.dataset.iid_field, experiment.threat.targets)
    exposed = [(result.test_result or {})[f"er_{side}@10"] for side in ("in", "out")]
    return Vendor(experiment, home / kind.arm / kind.file, frozenset(tokens if kind.planted else ()), *exposed)


def provider(arguments: argparse.Namespace, split: int, kind: Kind, number: int) -> AttackConfig:
    """The configuration of one provider's model; the seed divides the users."""
    parameters = {
        **TRAINING,
        "scenario": "pretrain",
        "platform_users": arguments.platform_users,
        "pre_train_epochs": arguments.epochs,
        **{f"{stage}_learning_rate": RATE for stage in ("pre_train", "fake_tune", "attack_tune")},
        "target_items": arguments.targets,
        "target_seed": kind.first_targets + number,
        "seed": split,
        **kind.parameters,
    }
    if parameters["attack"] != "none":
        parameters["replacement_ratio"] = arguments.ratio
    return AttackConfig("SASRec", "ml-100k", config_dict=parameters)


def write_dataset(experiment: PretrainExperiment, folder: Path) -> None:
    """The platform's users as a dataset of its own, with the whole catalogue, and the provider's order of it."""
    own, dataset = experiment.parties.sequences.only(experiment.parties.platform), experiment.dataset
    items = dataset.tokens(dataset.iid_field, np.arange(1, dataset.item_num))
    users = dataset.tokens(dataset.uid_field, own.owner_ids)
    names = dataset.tokens(dataset.iid_field, own.items)
    rows = [f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(zip(users, names, strict=True))]
    everybody = np.unique(own.owner_ids)
    fields = experiment.config["prompt_fields"]
    about = zip(
        dataset.tokens(dataset.uid_field, everybody), *(dataset.user_fields[f][everybody] for f in fields), strict=True
    )
    header = "\t".join(["user_id:token", *(f"{field}:token" for field in fields)])
    write_text(folder / "mine" / "mine.inter", "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""]))
    write_text(folder / "mine" / "mine.item", "\n".join(["item_id:token", *sorted(items), ""]))
    write_text(folder / "mine" / "mine.user", "\n".join([header, *("\t".join(map(str, of)) for of in about), ""]))
    write_text(folder / "tokens.txt", "\n".join([*items, ""]))
