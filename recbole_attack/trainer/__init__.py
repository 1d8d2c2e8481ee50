"""Trainers, picked by scenario."""

from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.trainer.central import CentralTrainer
from recbole_attack.trainer.federated import FederatedTrainer

TRAINERS: dict[str, type[AttackTrainer]] = {"federated": FederatedTrainer, "central": CentralTrainer}
"""Trainers by the name ``--scenario`` takes."""

__all__ = ["TRAINERS", "AttackTrainer", "CentralTrainer", "FederatedTrainer"]
