"""Trainers, picked by scenario."""

from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.trainer.central import CentralTrainer
from recbole_attack.trainer.federated import FederatedTrainer
from recbole_attack.trainer.stage import StageTrainer

TRAINERS: dict[str, type[AttackTrainer]] = {"federated": FederatedTrainer, "central": CentralTrainer}
"""Trainers by scenario, where an arm is a single training run."""

__all__ = ["TRAINERS", "AttackTrainer", "CentralTrainer", "FederatedTrainer", "StageTrainer"]
