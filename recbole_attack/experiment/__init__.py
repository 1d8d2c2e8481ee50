"""Experiments: one run's data, its threat, and the arms trained on them."""

from recbole_attack.experiment.arms import arm_parameters, data_hashes
from recbole_attack.experiment.base import ArmResult, Experiment, create_dataset
from recbole_attack.experiment.detection import detections
from recbole_attack.experiment.parties import prepare_pretrain
from recbole_attack.experiment.pretrain import PretrainExperiment
from recbole_attack.experiment.recbole_models import RecBoleExperiment, prepare_recbole
from recbole_attack.experiment.scenarios import PREPARE, prepare
from recbole_attack.experiment.training import TrainingExperiment, prepare_training, run_arm

__all__ = [
    "PREPARE",
    "ArmResult",
    "Experiment",
    "PretrainExperiment",
    "RecBoleExperiment",
    "TrainingExperiment",
    "arm_parameters",
    "create_dataset",
    "data_hashes",
    "detections",
    "prepare",
    "prepare_pretrain",
    "prepare_recbole",
    "prepare_training",
    "run_arm",
]
