"""One experiment: data, threat, and the clean and attacked arms trained on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_attack.attack import ATTACKS
from recbole_attack.config import AttackConfig
from recbole_attack.data import NonInteracted, RaggedSequentialDataset, TrainData
from recbole_attack.errors import DataError
from recbole_attack.evaluator import ItemExposure
from recbole_attack.federated import Threat, resolve_threat
from recbole_attack.files import sha256
from recbole_attack.trainer import TRAINERS, AttackTrainer

_KNOWLEDGE = ("model and training code", "global model of every round", "histories of its own clients")


def create_dataset(config: AttackConfig) -> RaggedSequentialDataset:
    """Load, filter and remap the dataset as RecBole does; never from a cache.

    Raises:
        DataError: The dataset is missing or lacks a field, or filters leave nothing.
    """
    with warnings.catch_warnings():
        # RecBole fills missing values in a way pandas 3 will refuse, and says so for every column.
        warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
        try:
            return RaggedSequentialDataset(config)
        except DataError:
            raise
        except (ValueError, LookupError) as error:
            raise DataError(f"dataset '{config['dataset']}' leaves no usable interaction: {error}") from error


@dataclass(frozen=True)
class Experiment:
    """Everything the arms of a run share.

    Attributes:
        config: The attacked run's configuration.
        dataset: The built dataset.
        threat: Targets and malicious users.
        train_data: Training sequences.
        valid_data: Validation loader over honest users; empty under ``test_only``.
        test_data: Test loader over honest users; empty under ``valid_only``.
    """

    config: AttackConfig
    dataset: RaggedSequentialDataset
    threat: Threat
    train_data: TrainData
    valid_data: FullSortEvalDataLoader | None
    test_data: FullSortEvalDataLoader | None

    def model(self, config: AttackConfig) -> Any:
        """A new victim with the same initial weights for every arm.

        Args:
            config: The arm's configuration.
        """
        init_seed(config["seed"], config["reproducibility"])
        return config.model_class(config, self.dataset).to(config["device"])

    def trainer(self, config: AttackConfig) -> AttackTrainer:
        """A new victim in the trainer its scenario asks for.

        Args:
            config: The arm's configuration.
        """
        return TRAINERS[config["scenario"]](config, self.model(config), self.threat, self.dataset.split)

    def arms(self) -> dict[str, Callable[..., ArmResult]]:
        """Arm name -> ``(folder, saved, verbose) -> ArmResult``, in the order they run."""
        attack = self.config["attack"]
        clean = {"clean": "none"} if attack == "none" or self.config["compare_clean"] else {}
        attacked = {} if attack == "none" else {"attacked": attack}
        return {name: partial(self._run, of) for name, of in {**clean, **attacked}.items()}

    def _run(self, attack: str, folder: Path, saved: bool, verbose: bool = True) -> ArmResult:
        return run_arm(self, self.config.replace(attack=attack, checkpoint_dir=str(folder)), saved, verbose)

    def findings(self, arms: Mapping[str, ArmResult]) -> dict[str, Any]:
        """What ``result.json`` says besides the arms' metrics; nothing."""
        return {}

    def describe_data(self) -> dict[str, Any]:
        """Counts and hashes that identify the data: users and items without padding."""
        return describe_dataset(self.config, self.dataset)

    def describe_threat(self) -> dict[str, Any]:
        """Target and malicious-user tokens and what the attacker knows and controls."""
        dataset, attack = self.dataset, ATTACKS[self.config["attack"]](self.config.final_config_dict)
        users = self.threat.malicious_users if attack else self.threat.malicious_users[:0]
        return {
            "attack": self.config["attack"],
            "knowledge": [*_KNOWLEDGE, *(attack.knowledge if attack else ())],
            "gradient_scale": self.config["gradient_scale"],
            "norm_budget": self.config["norm_budget"],
            "target_items": dataset.tokens(dataset.iid_field, self.threat.targets),
            "mode": self.config["malicious_clients"],
            "malicious_clients": len(users),
            "malicious_share": len(users) / (dataset.user_num - 1),
            "malicious_users": dataset.tokens(dataset.uid_field, users) if len(users) else [],
            "malicious_interactions": int(dataset.split.train.lengths[users].sum()),
        }


def describe_dataset(config: AttackConfig, dataset: RaggedSequentialDataset) -> dict[str, Any]:
    """Counts and hashes that identify a built dataset: users and items without padding."""
    split, name = dataset.split, dataset.dataset_name
    files = [Path(dataset.dataset_path) / f"{name}.{suffix}" for suffix in ("inter", "user", "item")]
    return {
        "name": name,
        "users": split.full.n_users - 1,
        "items": split.full.n_items - 1,
        "interactions": len(split.full.items),
        "train_interactions": len(split.train.items),
        "valid_users": len(split.valid.users),
        "test_users": len(split.test.users),
        "sha256": {file.name: sha256(file) for file in files if file.is_file()},
    }


def prepare(config: AttackConfig, dataset: RaggedSequentialDataset | None = None) -> Experiment:
    """Split the data and fix the threat.

    Args:
        config: The configuration.
        dataset: A dataset that was created but not built; created from ``config`` if absent.
    """
    dataset = dataset or create_dataset(config)
    train, valid, test = dataset.build()
    threat = resolve_threat(config, dataset)
    sequences = dataset.split.train
    train_data = TrainData(
        dataset=train,
        sequences=sequences,
        outside=NonInteracted(sequences),
        max_length=config["MAX_ITEM_LIST_LENGTH"],
        seed=config["seed"],
    )
    if not len(train_data.trainable_users):
        raise DataError(f"dataset '{config['dataset']}' has no user with 2 training interactions")
    valid_data, test_data = (evaluation_loader(config, part, threat.dishonest_users) for part in (valid, test))
    return Experiment(config, dataset, threat, train_data, valid_data, test_data)


def evaluation_loader(
    config: AttackConfig, dataset: RaggedSequentialDataset, excluded: Any
) -> FullSortEvalDataLoader | None:
    """RecBole's loader over the rows of all users but the ``excluded`` ids, ``None`` without rows."""
    rows: Interaction = dataset.inter_feat
    honest = np.flatnonzero(~np.isin(rows[dataset.uid_field].numpy(), excluded))
    if not len(honest):
        return None
    return FullSortEvalDataLoader(config, dataset.copy(rows[honest]), None, shuffle=False)


@dataclass(frozen=True)
class ArmResult:
    """What one arm of a run ended with.

    Attributes:
        best_valid_score: Best validation score.
        best_valid_result: All metrics at that point; ``None`` without validation data.
        test_result: Test metrics under the configured protocol; ``None`` without test data.
        test_result_full: Test metrics over full rankings, where the configured protocol samples candidates.
        history: One dict per epoch.
        seconds: Wall-clock seconds of this call.
        item_exposure: How many test users were shown each item, where a scenario asks for it.
    """

    best_valid_score: float
    best_valid_result: dict[str, float] | None
    test_result: dict[str, float] | None
    test_result_full: dict[str, float] | None
    history: list[dict[str, Any]]
    seconds: float
    item_exposure: ItemExposure | None = None

    def metrics(self) -> dict[str, Any]:
        """The three results by name."""
        return {key: getattr(self, key) for key in ("best_valid_result", "test_result", "test_result_full")}


def run_arm(experiment: Experiment, config: AttackConfig, saved: bool = True, verbose: bool = True) -> ArmResult:
    """Train and test one arm, continuing where an earlier call was interrupted.

    Args:
        experiment: The shared data.
        config: The arm's configuration; its ``checkpoint_dir`` is the arm's folder.
        saved: Write checkpoints; without them the last model is tested instead of the best.
        verbose: Log every epoch.
    """
    start = perf_counter()
    trainer = experiment.trainer(config)
    if saved and trainer.resume_file.is_file():
        trainer.resume_checkpoint(trainer.resume_file)
    score, valid_result = trainer.fit(
        experiment.train_data,
        experiment.valid_data,
        verbose=verbose,
        saved=saved,
        show_progress=config["show_progress"],
        report_data=experiment.test_data,
    )
    tested = final_metrics(trainer, experiment.test_data, load_best_model=saved)
    trainer.tensorboard.close()
    return ArmResult(float(score), valid_result, *tested, trainer.history, perf_counter() - start)


def final_metrics(trainer: AttackTrainer, test_data: Any, load_best_model: bool) -> tuple[Any, Any]:
    """Metrics under the configured protocol, and over full rankings where that one samples candidates."""
    configured = trainer.evaluate(test_data, load_best_model)
    if trainer.protocol is trainer.full_protocol:
        return configured, None
    return configured, trainer.evaluate(test_data, load_best_model, full_ranking=True)
