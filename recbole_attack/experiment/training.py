"""Federated and central training: the clean arm and its attacked twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_attack.attack import LEVELS, configured_attack
from recbole_attack.config import AttackConfig
from recbole_attack.data import NonInteracted, RaggedSequentialDataset, TrainData
from recbole_attack.evaluator import OUTCOMES, read_outcomes
from recbole_attack.experiment.base import ArmResult, Experiment, create_dataset, evaluation_loader, final_metrics
from recbole_attack.experiment.tail import tail_figures
from recbole_attack.experiment.validation import check_someone_is_honest, check_valid_metric
from recbole_attack.model import Victim
from recbole_attack.threat import resolve_threat
from recbole_attack.trainer import TRAINERS, AttackTrainer
from recbole_attack.utils.errors import DataError

_KNOWLEDGE = ("model and training code", LEVELS["K0"], "histories of its own clients")


@dataclass(frozen=True)
class TrainingExperiment(Experiment):
    """A victim trained by clients and a server, or by a server alone."""

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
        arms = {**clean, **attacked}
        after = {name: self.config["epochs"] * left for left, name in enumerate(reversed(arms))}
        return {name: partial(self._run, of, after[name]) for name, of in arms.items()}

    def _run(self, attack: str, after: int, folder: Path, saved: bool, verbose: bool = True) -> ArmResult:
        config = self.config.replace(attack=attack, checkpoint_dir=str(folder))
        return run_arm(self, config, saved, verbose, after)

    def describe_threat(self) -> dict[str, Any]:
        """Target and malicious-user tokens and what the attacker knows and controls."""
        dataset, attack = self.dataset, configured_attack(self.config.final_config_dict)
        users = self.threat.malicious_users if attack else self.threat.malicious_users[:0]
        return {
            "attack": self.config["attack"],
            "knowledge": [*_KNOWLEDGE, *(attack.knowledge if attack else ())],
            "knowledge_level": attack.level if attack else None,
            "gradient_scale": self.config["gradient_scale"],
            "norm_budget": self.config["norm_budget"],
            "claimed_interactions": self.config["claimed_interactions"],
            "target_items": dataset.tokens(dataset.iid_field, self.threat.targets),
            "mode": self.config["malicious_clients"],
            "malicious_clients": len(users),
            "malicious_share": len(users) / (dataset.user_num - 1),
            "malicious_users": dataset.tokens(dataset.uid_field, users) if len(users) else [],
            "malicious_interactions": int(dataset.split.train.lengths[users].sum()),
        }


def prepare_training(config: AttackConfig, dataset: RaggedSequentialDataset | None = None) -> TrainingExperiment:
    """Split the data and fix the threat.

    Args:
        config: The configuration.
        dataset: A dataset that was created but not built; created from ``config`` if absent.
    """
    dataset = dataset or create_dataset(config)
    train, valid, test = dataset.build()
    threat = resolve_threat(config, dataset)
    check_someone_is_honest(config, dataset.split, threat)
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
    check_valid_metric(config, dataset.split, threat, valid_data)
    return TrainingExperiment(config, dataset, threat, train_data, valid_data, test_data)


def run_arm(
    experiment: TrainingExperiment, config: AttackConfig, saved: bool = True, verbose: bool = True, after: int = 0
) -> ArmResult:
    """Train and test one arm, continuing where an earlier call was interrupted.

    Args:
        experiment: The shared data.
        config: The arm's configuration; its ``checkpoint_dir`` is the arm's folder.
        saved: Write checkpoints; without them the last model is tested instead of the best.
        verbose: Log every epoch.
        after: Epochs of the run that follow the arm.
    """
    start = perf_counter()
    trainer = experiment.trainer(config)
    if saved and trainer.resume_file.is_file():
        trainer.resume_checkpoint(trainer.resume_file)
    score, valid_result = trainer.fit(
        experiment.training_data(config),
        experiment.valid_data,
        verbose=verbose,
        saved=saved,
        show_progress=config["show_progress"],
        report_data=experiment.test_data,
        after=after,
    )
    folder = Path(config["checkpoint_dir"]) if saved else None
    tested = final_metrics(trainer, experiment.test_data, load_best_model=saved, folder=folder)
    seconds = perf_counter() - start
    epoch = trainer.best_epoch if saved else trainer.start_epoch - 1
    measured = (float(score), valid_result, *tested, trainer.history, seconds, epoch)
    tail = _tail(experiment, config, trainer, folder)
    return ArmResult(*measured, uploads=trainer.uploads(), detection=trainer.detection(), tail=tail)


def _tail(
    experiment: TrainingExperiment, config: AttackConfig, trainer: AttackTrainer, folder: Path | None
) -> dict[str, float | None] | None:
    """What the tested model is to tail items, where its outcomes were written; RecBole's own need not have rows."""
    if folder is None or not (folder / OUTCOMES).is_file() or not isinstance(trainer.model, Victim):
        return None
    models = (experiment.model(config), trainer.model)
    before, after = (model.item_embedding.weight[: model.n_items] for model in models)
    dataset, rows = experiment.dataset, experiment.test_data._dataset.inter_feat  # type: ignore[union-attr]
    truth, popularity = rows[dataset.iid_field].numpy(), dataset.split.train.popularity()
    return tail_figures(read_outcomes(folder / OUTCOMES), truth, popularity, before, after, config["topk"])
