"""Runs among hostile clients, and folders of runs that somebody else made."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from conftest import SMALL
from hostile import folders
from hostile.kills import differing, in_a_fork, remains, run_of
from hostile.uploads import REJECTED, TAKEN, VALUES, ends_training, is_finite, near, train_among
from trials import Place, Trial, Try, side_by_side, whole

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import TrainingError

HOSTILE = {**SMALL, "attack": "ra", "malicious_ratio": 0.2, "clients_per_round": 32, "epochs": 1}


@cache
def experiment() -> Any:
    """The data of all trainings among hostile clients, twelve beside 59 honest ones; made before there are forks."""
    return prepare_training(AttackConfig(config_dict=HOSTILE))


def among(rule: str, per_item: bool, upload: str, side_by_side: bool, folder: Path) -> Any:
    changes = {"aggregator": rule, "per_item": per_item, "checkpoint_dir": str(folder)}
    spoil = TAKEN[upload] if upload in TAKEN else REJECTED[upload][0]
    return train_among(spoil, experiment(), AttackConfig(config_dict={**HOSTILE, **changes}), side_by_side)


def taken(what: str, rule: str, per_item: bool, upload: str, folder: Path) -> Trial:
    left = among(rule, per_item, upload, False, folder)
    return Trial(what, "" if is_finite(left.weights) and not left.rejected else f"{rule} {per_item} {upload}")


@cache
def others_alone(rule: str, per_item: bool) -> Any:
    """The model of a run in which the hostile send nothing."""
    with TemporaryDirectory() as folder:
        return among(rule, per_item, "none", False, Path(folder)).weights


def rejected(what: str, rule: str, per_item: bool, upload: str, together: bool, folder: Path) -> Trial:
    """Finite, counted, and the model that of the others."""
    left = among(rule, per_item, upload, together, folder)
    right = is_finite(left.weights) and left.rejected and near(left.weights, others_alone(rule, per_item))
    return Trial(what, "" if right else f"{rule} {per_item} {upload}")


def diverged(what: str, rule: str, per_item: bool, upload: str, folder: Path) -> Trial:
    """A rule that takes any value says that training diverged, and keeps no such model."""
    try:
        among(rule, per_item, upload, False, folder)
    except TrainingError as error:
        return Trial(what, "" if not [*folder.rglob("*.pth")] else f"{rule} {upload}: a model after {error}")
    return Trial(what, f"{rule} {per_item} {upload}: no error")


def clients(place: Place) -> Iterator[Trial]:
    experiment()
    tries: list[Try] = []
    for rule, per_item in product(AGGREGATORS, (False, True)):
        if per_item and AGGREGATORS[rule](load_defaults(f"defense/{rule}")).whole_only:
            continue
        for upload in REJECTED:
            if ends_training(rule, upload):
                tries.append(partial(diverged, "values a mean takes: it says that it diverged", rule, per_item, upload))
                continue
            tries.append(
                partial(rejected, "rejected, counted, the model that of the others", rule, per_item, upload, False)
            )
            if REJECTED[upload][1] in VALUES and "float64" not in upload:
                what = "the same, aggregated side by side"
                tries.append(partial(rejected, what, rule, per_item, upload, True))
        tries += [partial(taken, "taken by all rules: the model is finite", rule, per_item, upload) for upload in TAKEN]
    yield from side_by_side(tries, place)


def resume(root: Path) -> None:
    run_recbole_attack(resume=str(run_of(root)))


def damaged(what: str, cut: Path, expected: dict[str, Any], damage: Any, kinds: str, seed: str, own: Path) -> Trial:
    """Refused with one of these errors in a line, or of no effect where there are none; and nothing is run."""
    root, bait = own / "runs", folders.prepared(own / "bait")
    shutil.copytree(cut, root)
    damage(run_of(root), bait, random.Random(seed))
    os.chdir(bait)
    ended = in_a_fork(resume, root)
    os.chdir(own.parent)
    if ended.killed or not folders.is_safe(bait):
        return Trial(what, f"{seed}: {'killed' if ended.killed else 'code was run'}")
    if not kinds:
        return Trial(
            what, ended.error or ", ".join({*differing(remains(run_of(root)), expected)} - {"sitecustomize.py"})
        )
    return Trial(what, "" if ended.error.startswith(kinds) and "\n" not in ended.error else f"{seed}: {ended.error}")


def hostile_folders(place: Place) -> Iterator[Trial]:
    run = whole("federated", place)
    cut = place.folder / "cut"
    cut.mkdir()
    in_a_fork(run.work, cut, at=3 * run.touches // 4)
    names = sorted(yaml.safe_load((run_of(cut) / "config.yaml").read_text()).keys() - {"checkpoint_dir"})
    refusal = ("ConfigError: ", "DataError: ")
    kinds = {
        "damaged or hostile: refused in one line, nothing run": (folders.REFUSED, refusal, place.repeats),
        "code in place of one parameter: the same": (folders.expressions(names), refusal, 1),
        "weights that are no numbers: training diverged": (folders.DIVERGED, ("TrainingError: ",), 1),
        "hostile files that are not read: of no effect": (folders.UNREAD, (), 1),
    }
    yield from side_by_side(
        [
            partial(damaged, what, cut, run.expected, damage, errors, f"{name} {place.seed} {number}")
            for what, (table, errors, repeats) in kinds.items()
            for name, damage in table.items()
            for number in range(repeats)
        ],
        place,
    )
