"""Weights & Biases: keys of its own for every arm of an experiment.

``<arm>/train/...`` and ``<arm>/valid/...`` over epochs, ``<arm>/test/...`` and ``<arm>/test_full/...`` (full rankings,
where the configured ones are sampled) at the end. Where an arm has stages, ``<arm>/<stage>/...`` over epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.utils import WandbLogger

_TRAINED = ("epoch", "learning_rate", "train_loss", "seconds")
"""What an epoch's record holds besides metrics."""


class ArmLogger(WandbLogger):
    """RecBole's logger for one of the trainings that share a W&B run; does nothing unless ``log_wandb``.

    Args:
        config: The training's configuration.
        arm: The arm.
        stage: The stage of it, if it has several.
    """

    def __init__(self, config: Any, arm: str, stage: str | None = None) -> None:
        self.arm, self.training = arm, f"{arm}/{stage}" if stage else arm
        super().__init__(config)

    def _set_steps(self) -> None:
        for part, step in (("train", "train_step"), ("valid", "valid_step"), ("test", "valid_step")):
            self._wandb.define_metric(f"{self.training}/{part}/*", step_metric=step)

    def log_epoch(self, record: Mapping[str, Any], part: str) -> None:
        """Log one epoch; its number, from 0, is the step of all of it.

        Args:
            record: An epoch of the trainer's history.
            part: Whose metrics it holds, if it holds any: ``valid`` or ``test``.
        """
        trained = {key: record[key] for key in _TRAINED}
        self.log_metrics({**trained, "train_step": record["epoch"]}, head=f"{self.training}/train")
        evaluated = {key: value for key, value in record.items() if key not in trained}
        if evaluated:
            self.log_metrics({**evaluated, "valid_step": record["epoch"]}, head=f"{self.training}/{part}")

    def log_test(self, metrics: Mapping[str, Any], part: str = "test") -> None:
        """Log what the arm ends with, as ``test`` or ``test_full``."""
        super().log_eval_metrics(metrics, head=f"{self.arm}/{part}")

    def log_eval_metrics(self, metrics: Mapping[str, Any], head: str = "eval") -> None:
        """Nothing: RecBole's trainer calls it after every evaluation and does not say of what."""
