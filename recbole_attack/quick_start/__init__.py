"""One run, from Python: configuration in, tables and files out."""

from recbole_attack.quick_start.arm import TrainedArm, train_arm
from recbole_attack.quick_start.quick_start import load_data_and_model, objective_function, run_recbole_attack

__all__ = ["TrainedArm", "load_data_and_model", "objective_function", "run_recbole_attack", "train_arm"]
