"""Trainers, picked by scenario."""

from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.trainer.central import CentralTrainer
from recbole_attack.trainer.federated import FederatedTrainer
from recbole_attack.trainer.item_exposure import item_exposure

TRAINERS: dict[str, type[AttackTrainer]] = {"federated": FederatedTrainer, "central": CentralTrainer}
"""Trainers by the name ``--scenario`` takes."""

__all__ = ["TRAINERS", "AttackTrainer", "CentralTrainer", "FederatedTrainer", "item_exposure"]
