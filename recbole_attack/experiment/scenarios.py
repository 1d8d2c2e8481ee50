"""Which experiment a scenario is about."""

from __future__ import annotations

from collections.abc import Callable

from recbole_attack.config import AttackConfig
from recbole_attack.experiment.base import Experiment
from recbole_attack.experiment.parties import prepare_pretrain
from recbole_attack.experiment.recbole_models import prepare_recbole
from recbole_attack.experiment.training import prepare_training

PREPARE: dict[str, Callable[[AttackConfig], Experiment]] = {
    "federated": prepare_training,
    "central": prepare_training,
    "pretrain": prepare_pretrain,
    "recbole": prepare_recbole,
}
"""Scenario -> its experiment."""


def prepare(config: AttackConfig) -> Experiment:
    """The experiment the configured scenario is about."""
    return PREPARE[config["scenario"]](config)
