"""RecBole's own models on the same split, users, targets and metrics: the baselines of a table."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import ModelType, init_seed

from recbole_attack.config import AttackConfig
from recbole_attack.data.recbole_rows import ROWS
from recbole_attack.experiment.base import create_dataset, evaluation_loader
from recbole_attack.experiment.training import TrainingExperiment
from recbole_attack.experiment.validation import check_valid_metric
from recbole_attack.model.recbole_models import refusing
from recbole_attack.threat import resolve_threat
from recbole_attack.trainer import AttackTrainer
from recbole_attack.trainer.recbole_trainer import trainer_of
from recbole_attack.utils.errors import DataError


@dataclass(frozen=True)
class RecBoleExperiment(TrainingExperiment):
    """A model of RecBole's and its clean arm; ``train_data`` is RecBole's loader."""

    train_data: Any

    def model(self, config: AttackConfig) -> Any:
        """A new model, seeded as RecBole seeds it, that knows the training data and no other.

        Raises:
            ConfigError: It cannot be built.
        """
        init_seed(config["seed"], config["reproducibility"])
        with refusing(config.model_class, "built"):
            # The loader's configuration names the fields its transform adds to a batch.
            return config.model_class(self.train_data.config, self.train_data._dataset).to(config["device"])

    def trainer(self, config: AttackConfig) -> AttackTrainer:
        """A new model in RecBole's trainer."""
        model = self.model(config)
        with refusing(config.model_class, "trained"):
            return trainer_of(config.model_class)(config, model, self.threat, self.dataset.split)


def prepare_recbole(config: AttackConfig) -> RecBoleExperiment:
    """Split the data as for every other scenario, and make RecBole's loaders of it.

    Raises:
        DataError: There is nothing to train on, or nothing to draw negatives from.
    """
    dataset = create_dataset(config, ROWS[config.model_class.type])
    built = dataset.build()
    train, valid, test = built
    threat = resolve_threat(config, dataset)
    if not (dataset.split.train.lengths >= 2).any():
        raise DataError(f"dataset '{config['dataset']}' has no user with 2 training interactions")
    check_valid_metric(config, dataset.split, threat, threat.dishonest_users)
    own, by_row = _private(config), _private(config)
    own["valid_neg_sample_args"] = own["test_neg_sample_args"] = {"distribution": "none"}  # all items are ranked
    try:
        sampler, _, _ = create_samplers(own, dataset, built)
    except ValueError as error:
        raise DataError(f"dataset '{config['dataset']}': {' '.join(str(error).split())}") from error
    by_row["MODEL_TYPE"] = ModelType.SEQUENTIAL  # else RecBole's loader masks its own idea of a user's history
    with refusing(config.model_class, "trained"):
        train_data = get_dataloader(own, "train")(own, train, sampler, shuffle=own["shuffle"])
        valid_data, test_data = (evaluation_loader(by_row, part, threat.dishonest_users) for part in (valid, test))
    return RecBoleExperiment(config, dataset, threat, train_data, valid_data, test_data)


def _private(config: AttackConfig) -> AttackConfig:
    """The same parameters for RecBole to write into."""
    own = copy(config)
    own.final_config_dict = dict(config.final_config_dict)
    return own
