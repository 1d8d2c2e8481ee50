"""Weights & Biases: one run for all arms of an experiment, keys of its own for each.

``<arm>/train/...`` and ``<arm>/valid/...`` over epochs, ``<arm>/test/...`` and ``<arm>/test_full/...`` (full rankings,
where the configured ones are sampled) at the end. Where an arm has stages, ``<arm>/<stage>/...`` over epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recbole.utils import WandbLogger


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

    def log_epoch(self, epoch: int, trained: Mapping[str, Any], part: str, evaluated: Mapping[str, Any]) -> None:
        """Log one epoch.

        Args:
            epoch: Its number, from 0: the step of both.
            trained: What training gave.
            part: ``valid`` or ``test``: whose the metrics are.
            evaluated: Metrics after it; empty if it was not evaluated.
        """
        self.log_metrics({**trained, "train_step": epoch}, head=f"{self.training}/train")
        if evaluated:
            self.log_metrics({**evaluated, "valid_step": epoch}, head=f"{self.training}/{part}")

    def log_test(self, metrics: Mapping[str, Any], part: str = "test") -> None:
        """Log what the arm ends with, as ``test`` or ``test_full``."""
        super().log_eval_metrics(metrics, head=f"{self.arm}/{part}")

    def log_eval_metrics(self, metrics: Mapping[str, Any], head: str = "eval") -> None:
        """Nothing: RecBole's trainer calls it after every evaluation and does not say of what."""


@contextmanager
def wandb_run(config: Any) -> Iterator[None]:
    """A W&B run from here to the end of the block; the caller's own if one is active, none unless ``log_wandb``."""
    if not config["log_wandb"]:
        yield
        return
    import wandb

    if wandb.run is not None:
        yield
        return
    with wandb.init(project=config["wandb_project"], config=config.to_dict()):
        yield
