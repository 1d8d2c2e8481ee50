"""One arm of a run, trained alone; and what a record says of arms that were trained apart or together."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_attack import __version__
from recbole_attack.config import AttackConfig
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.experiment import ArmResult, Experiment, arm_parameters, prepare
from recbole_attack.report.words import ARMS
from recbole_attack.utils.errors import ConfigError, did_you_mean
from recbole_attack.utils.files import plain


@dataclass(frozen=True)
class TrainedArm:
    """What is to be kept of an arm, as plain values; with the same parameters and data all but ``timing`` is the same.

    Attributes:
        record: What ``result.json`` says of it: versions, dataset, budget, metrics.
        history: One dict per epoch, without its seconds.
        timing: ``seconds``, those of each of the ``epochs``, and the ``environment``.
        arrays: Name -> content of a ``.npz`` file: ``outcomes`` of each user, ``exposure`` of each item.
    """

    record: dict[str, Any]
    history: list[dict[str, Any]]
    timing: dict[str, Any]
    arrays: dict[str, bytes]


def train_arm(parameters: Mapping[str, Any], arm: str, folder: Path) -> TrainedArm:
    """Train one arm of a run and no other.

    Args:
        parameters: Those of a run that has the arm.
        arm: ``local``, ``clean`` or ``attacked``.
        folder: Where checkpoints are written.

    Raises:
        ConfigError: A parameter is not valid, or the run has no such arm.
        DataError: A file, field or token is missing.
        TrainingError: The arm diverged.
    """
    config = AttackConfig(config_dict=parameters)
    experiment = prepare(config)
    runs = experiment.arms()
    if arm not in runs:
        raise ConfigError(f"arm must be one of {', '.join(runs)}: found '{arm}'{did_you_mean(arm, runs)}")
    data = experiment.describe_data()
    outcome = runs[arm](folder / arm, True, verbose=False)
    history: list[dict[str, Any]] = plain(outcome.history)
    seconds = [epoch.pop("seconds") for epoch in history]
    found = {"detection": outcome.detection} if outcome.detection else {}
    version = {"evaluator": EVALUATOR_VERSION, "version": __version__}
    return TrainedArm(
        plain({**version, **found, "dataset": data, "budget": experiment.describe_threat(), **outcome.report()}),
        history,
        {"seconds": outcome.seconds, "epochs": seconds, "environment": environment(config)},
        _arrays(experiment, outcome, folder / arm),
    )


def arms_of(config: AttackConfig) -> tuple[str, ...]:
    """The arms a run with this configuration has, in the order they run."""
    return tuple(arm_parameters(config))


def _arrays(experiment: Experiment, outcome: ArmResult, folder: Path) -> dict[str, bytes]:
    written = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.npz"))}
    evidence = experiment.evidence(outcome)
    if evidence:
        content = io.BytesIO()
        np.savez_compressed(content, **evidence)
        written["exposure"] = content.getvalue()
    return written


def comparison(arms: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of both arms, and attacked minus clean test metrics; ``None`` for what was not run.

    Args:
        arms: Arm -> what :meth:`~recbole_attack.experiment.ArmResult.report` says of it.
    """
    clean, attacked = ((arms.get(name) or {}).get("test_result") for name in ("clean", "attacked"))
    delta = {key: _difference(value, clean[key]) for key, value in attacked.items()} if clean and attacked else None
    expected = [name for name in ARMS if name in {"clean", "attacked", *arms}]
    return {**{name: arms.get(name) for name in expected}, "delta": delta}


def _difference(attacked: float | None, clean: float | None) -> float | None:
    """What is undefined is not a number in memory, and nothing in a file."""
    return None if attacked is None or clean is None else attacked - clean


def environment(config: AttackConfig) -> dict[str, Any]:
    """What a run ran on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(config["device"]),
        "threads": torch.get_num_threads(),
    }
