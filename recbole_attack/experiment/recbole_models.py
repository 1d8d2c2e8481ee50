"""RecBole's own models on the same split, users, targets and metrics: the baselines of a table."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import ModelType, init_seed

from recbole_attack.config import AttackConfig
from recbole_attack.data import RaggedSequentialDataset
from recbole_attack.data.recbole_rows import ROWS
from recbole_attack.experiment.base import ArmResult, create_dataset, evaluation_loader
from recbole_attack.experiment.fake_users import FAKE_USERS, Poison, configured_poison, described
from recbole_attack.experiment.training import TrainingExperiment
from recbole_attack.experiment.validation import check_valid_metric
from recbole_attack.model.recbole_models import refusing
from recbole_attack.threat import resolve_threat
from recbole_attack.trainer import AttackTrainer
from recbole_attack.trainer.recbole_trainer import trainer_of
from recbole_attack.utils.errors import DataError


@dataclass(frozen=True)
class RecBoleExperiment(TrainingExperiment):
    """A model of RecBole's, its clean arm, and its twin with fake users in the log.

    The twin has a larger table of users, so where a model initialises that before its items' both start from other
    numbers.

    Attributes:
        train_data: RecBole's loader of the real log.
        poison: The fake users; ``None`` without an attack.
        poisoned_data: RecBole's loader of the log with them.
    """

    train_data: Any
    poison: Poison | None = None
    poisoned_data: Any = None

    def training_data(self, config: AttackConfig) -> Any:
        """RecBole's loader of the log an arm reads; see :meth:`Experiment.training_data`."""
        return self.train_data if config["attack"] == "none" else self.poisoned_data

    def model(self, config: AttackConfig) -> Any:
        """A new model, seeded as RecBole seeds it, that knows the training data and no other.

        Raises:
            ConfigError: It cannot be built.
        """
        init_seed(config["seed"], config["reproducibility"])
        data = self.training_data(config)
        with refusing(config.model_class, "built"):
            # The loader's configuration names the fields its transform adds to a batch.
            return config.model_class(data.config, data._dataset).to(config["device"])

    def trainer(self, config: AttackConfig) -> AttackTrainer:
        """A new model in RecBole's trainer."""
        model = self.model(config)
        with refusing(config.model_class, "trained"):
            return trainer_of(config.model_class)(config, model, self.threat, self.dataset.split)

    def describe_threat(self) -> dict[str, Any]:
        """Target tokens, and the fake users if there are any."""
        if self.poison is None:
            return super().describe_threat()
        return described(self.poison, self.config, self.dataset, self.threat)

    def _run(self, attack: str, after: int, folder: Path, saved: bool, verbose: bool = True) -> ArmResult:
        if saved and attack != "none" and self.poison is not None:
            self.poison.write(folder / FAKE_USERS, self.dataset)
        return super()._run(attack, after, folder, saved, verbose)


def prepare_recbole(config: AttackConfig) -> RecBoleExperiment:
    """Split the data as for every other scenario, and make RecBole's loaders of it.

    Raises:
        DataError: There is nothing to train on, or nothing to draw negatives from; see also
            :func:`~recbole_attack.experiment.fake_users.configured_poison`.
    """
    dataset = create_dataset(config, ROWS[config.model_class.type])
    train, valid, test = dataset.build()
    threat = resolve_threat(config, dataset)
    if not (dataset.split.train.lengths >= 2).any():
        raise DataError(f"dataset '{config['dataset']}' has no user with 2 training interactions")
    train_data = _training_loader(config, dataset, [train, valid, test])
    by_row = _private(config)
    by_row["MODEL_TYPE"] = ModelType.SEQUENTIAL  # else RecBole's loader masks its own idea of a user's history
    with refusing(config.model_class, "trained"):
        valid_data, test_data = (evaluation_loader(by_row, part, threat.dishonest_users) for part in (valid, test))
    check_valid_metric(config, dataset.split, threat, valid_data)
    experiment = RecBoleExperiment(config, dataset, threat, train_data, valid_data, test_data)
    if config["attack"] == "none":
        return experiment
    poison = configured_poison(config, dataset, threat)
    grown, poisoned = poison.added_to(dataset)
    return replace(experiment, poison=poison, poisoned_data=_training_loader(config, grown, [poisoned, valid, test]))


def _training_loader(config: AttackConfig, dataset: RaggedSequentialDataset, built: list[Any]) -> Any:
    """RecBole's loader of training rows, the first of ``built``, with negatives that no part of it has."""
    own = _private(config)
    own["valid_neg_sample_args"] = own["test_neg_sample_args"] = {"distribution": "none"}  # all items are ranked
    try:
        sampler, _, _ = create_samplers(own, dataset, built)
    except ValueError as error:
        raise DataError(f"dataset '{config['dataset']}': {' '.join(str(error).split())}") from error
    with refusing(config.model_class, "trained"):
        return get_dataloader(own, "train")(own, built[0], sampler, shuffle=own["shuffle"])


def _private(config: AttackConfig) -> AttackConfig:
    """The same parameters for RecBole to write into."""
    own = copy(config)
    own.final_config_dict = dict(config.final_config_dict)
    return own
