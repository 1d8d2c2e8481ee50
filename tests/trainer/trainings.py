"""Trainings that leave no files."""

from __future__ import annotations

from typing import Any

from recbole_attack import AttackConfig
from recbole_attack.experiment import TrainingExperiment, prepare_training


def trained(config: AttackConfig, experiment: TrainingExperiment | None = None) -> Any:
    """The trainer of a finished training."""
    experiment = experiment or prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    return trainer
