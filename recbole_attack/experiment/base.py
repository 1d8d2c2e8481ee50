"""What experiments of all scenarios have in common: data, threat, and the arms trained on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_attack.config import AttackConfig
from recbole_attack.data import NonInteracted, RaggedSequentialDataset, TrainData, UserSequences
from recbole_attack.evaluator import OUTCOMES, ItemExposure, ModelView, Outcomes, standard_errors, write_outcomes
from recbole_attack.experiment.arms import atomic_hashes
from recbole_attack.experiment.suspects import Table
from recbole_attack.threat import Threat
from recbole_attack.trainer import AttackTrainer
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.host_warnings import without_future_warnings
from recbole_attack.utils.rng import stream


@dataclass(frozen=True)
class Shipped:
    """A model as a platform was given it, before it repaired it.

    Attributes:
        detector: What flagged items.
        flagged: How many.
        flagged_targets: How many of them are promoted.
        test_result: As of :class:`ArmResult`, as all below.
        test_result_full: See above.
        standard_error: See above.
        standard_error_full: See above.
    """

    detector: str
    flagged: int
    flagged_targets: int
    test_result: dict[str, float] | None
    test_result_full: dict[str, float] | None
    standard_error: dict[str, float] | None
    standard_error_full: dict[str, float] | None


@dataclass(frozen=True)
class ArmResult:
    """What one arm of a run ended with.

    Attributes:
        best_valid_score: Best validation score.
        best_valid_result: All metrics at that point; ``None`` without validation data.
        test_result: Test metrics under the configured protocol; ``None`` without test data.
        test_result_full: Test metrics over full rankings, where the configured protocol samples candidates.
        standard_error: Standard errors over users of ``test_result``, of the metrics that have one.
        standard_error_full: The same of ``test_result_full``.
        history: One dict per epoch.
        seconds: Wall-clock seconds of this call.
        tested_epoch: Epoch after which the tested model stood as it is, from 0, as in ``history``.
        uploads: See :meth:`~recbole_attack.trainer.AttackTrainer.uploads`.
        item_exposure: How many test users were shown each item, where a scenario asks for it.
        view: What else a platform sees of the model, there.
        detection: See :meth:`~recbole_attack.trainer.AttackTrainer.detection`.
        shipped: What the model was before it was repaired, where it was; what is shown and seen is of that one, and all
            else of the repaired one.
        tail: See :func:`~recbole_attack.experiment.tail.tail_figures`, in the scenarios ``federated`` and ``central``;
            ``None`` in others, and where outcomes are not written.
    """

    best_valid_score: float
    best_valid_result: dict[str, float] | None
    test_result: dict[str, float] | None
    test_result_full: dict[str, float] | None
    standard_error: dict[str, float] | None
    standard_error_full: dict[str, float] | None
    history: list[dict[str, Any]]
    seconds: float
    tested_epoch: int
    uploads: dict[str, float | None] | None = None
    item_exposure: ItemExposure | None = None
    view: ModelView | None = None
    detection: dict[str, dict[str, float | None]] = field(default_factory=dict)
    shipped: Shipped | None = None
    tail: dict[str, float | None] | None = None

    def report(self) -> dict[str, Any]:
        """What ``result.json`` says of the arm, by name."""
        measured = ("best_valid_result", "test_result", "test_result_full", "standard_error", "standard_error_full")
        shipped = {} if self.shipped is None else {"shipped": asdict(self.shipped)}
        return {**{key: getattr(self, key) for key in (*measured, "tested_epoch", "uploads", "tail")}, **shipped}


class Findings(NamedTuple):
    """What follows from all arms together.

    Attributes:
        record: What ``result.json`` says besides the arms' metrics.
        suspects: Arm -> the content of its ``flagged.csv``, for arms that have one.
    """

    record: dict[str, Any]
    suspects: dict[str, Table]


@dataclass(frozen=True)
class Experiment(ABC):
    """Everything the arms of a run share.

    Attributes:
        config: The attacked run's configuration.
        dataset: The built dataset.
        threat: Who is malicious, what is promoted, and to whom.
        train_data: Training sequences of the users the evaluated model serves.
        valid_data: Validation loader over honest users; ``None`` without validation rows.
        test_data: Test loader over honest users; ``None`` without test rows.
    """

    config: AttackConfig
    dataset: RaggedSequentialDataset
    threat: Threat
    train_data: TrainData
    valid_data: FullSortEvalDataLoader | None
    test_data: FullSortEvalDataLoader | None

    def model(self, config: AttackConfig) -> Any:
        """A new model with the same initial weights whatever trains it.

        Args:
            config: Of the arm, or of a stage of it.
        """
        init_seed(config["seed"], config["reproducibility"])
        return config.model_class(config, self.dataset).to(config["device"])

    def training_data(self, config: AttackConfig) -> Any:
        """What an arm is trained on.

        Args:
            config: Of the arm.
        """
        return self.train_data

    @abstractmethod
    def arms(self) -> dict[str, Callable[..., ArmResult]]:
        """Arm name -> ``(folder, saved, verbose) -> ArmResult``, in the order they run."""

    @abstractmethod
    def describe_threat(self) -> dict[str, Any]:
        """What the attacker promotes, knows and controls."""

    def describe_data(self) -> dict[str, Any]:
        """Counts and hashes that identify the data: users and items without padding; ``train_users`` can train."""
        split = self.dataset.split
        return {
            "name": self.dataset.dataset_name,
            "users": split.full.n_users - 1,
            "items": split.full.n_items - 1,
            "interactions": len(split.full.items),
            "train_interactions": len(split.train.items),
            "train_users": int((split.train.lengths > 1).sum()),
            "valid_users": len(split.valid.users),
            "test_users": len(split.test.users),
            "sha256": atomic_hashes(Path(self.dataset.dataset_path), self.config["additional_feat_suffix"] or ()),
        }

    def evidence(self, arm: ArmResult) -> dict[str, Any]:
        """Arrays from which :meth:`findings` of arms follow that were trained apart."""
        return {}

    def findings(self, arms: Mapping[str, ArmResult]) -> Findings:
        """What there is to say besides the arms' metrics: what detectors found."""
        found = {name: arm.detection for name, arm in arms.items() if arm.detection}
        return Findings({"detection": found} if found else {}, {})


def create_dataset(
    config: AttackConfig, kind: type[RaggedSequentialDataset] = RaggedSequentialDataset
) -> RaggedSequentialDataset:
    """Load, filter and remap the dataset as RecBole does; never from a cache.

    Args:
        config: The configuration.
        kind: What its rows are to be.

    Raises:
        DataError: The dataset is missing, a file is not what it should be, or filters leave nothing.
    """
    with without_future_warnings():  # how it fills missing values, for every column
        try:
            return kind(config)
        except DataError:
            raise
        except (ValueError, LookupError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"dataset '{config['dataset']}' cannot be used as configured: {reason}") from error


def party_data(
    config: AttackConfig,
    dataset: RaggedSequentialDataset,
    sequences: UserSequences,
    party: str,
    users: Any,
    known: NDArray[np.bool_] | None = None,
) -> TrainData:
    """Training sequences of some of the users.

    Args:
        config: The configuration.
        dataset: The training copy of the dataset.
        sequences: Training sequences of all users.
        party: Whose users they are, for the message.
        users: ``[n_users]`` mask of them.
        known: ``[n_items]`` the items of its catalogue: the others are in no sequence and nobody's negatives.

    Raises:
        DataError: There is nothing to train on.
    """
    own = sequences.only(users)
    outside = NonInteracted(own)
    if known is not None:
        own = own.among(known)
        outside = NonInteracted(own.with_all(np.flatnonzero(~known)[1:]))
    rows = dataset.inter_feat
    dataset = dataset.copy(rows[np.flatnonzero(users[rows[dataset.uid_field].numpy()])])
    data = TrainData(dataset, own, outside, config["MAX_ITEM_LIST_LENGTH"], config["seed"])
    if not len(data.trainable_users):
        raise DataError(f"the {party} needs a user with 2 training interactions: found none ({config['dataset']})")
    return data


def evaluation_loader(
    config: AttackConfig, dataset: RaggedSequentialDataset, excluded: Any
) -> FullSortEvalDataLoader | None:
    """RecBole's loader over the rows of all users but the ``excluded`` ids, ``None`` without rows.

    With ``eval_users``, of that many of them: the first that have rows here in an order of all users that depends on
    the seed alone, so that models are compared on the same users, and validation is on those of the test, as far as
    both have rows of them.
    """
    rows: Interaction = dataset.inter_feat
    users = rows[dataset.uid_field].numpy()
    chosen = np.flatnonzero(~np.isin(users, excluded))
    if not len(chosen):
        return None
    if config["eval_users"] is not None:
        order = stream(config["seed"], "evaluated users").permutation(dataset.user_num)[users[chosen]]
        chosen = np.sort(chosen[np.argsort(order, kind="stable")[: config["eval_users"]]])
    return FullSortEvalDataLoader(config, dataset.copy(rows[chosen]), None, shuffle=False)


def final_metrics(
    trainer: AttackTrainer, test_data: Any, load_best_model: bool, folder: Path | None = None
) -> tuple[Any, Any, Any, Any]:
    """Metrics under the configured protocol, and over full rankings where that one samples candidates.

    Args:
        trainer: Of the tested model.
        test_data: Test loader; nothing is measured without one.
        load_best_model: Test the best model and not the last.
        folder: Where what the configured protocol finds for each user is written, if it is.

    Returns:
        Both, and the standard errors of both; ``None`` for what was not measured.
    """
    configured, error, outcomes = _measured(trainer, test_data, load_best_model)
    if folder is not None and outcomes is not None:
        write_outcomes(folder / OUTCOMES, outcomes)
    trainer.wandblogger.log_test(configured or {})
    if trainer.protocol is trainer.full_protocol:
        return configured, None, error, None
    full, error_full, _ = _measured(trainer, test_data, load_best_model, full_ranking=True)
    trainer.wandblogger.log_test(full or {}, "test_full")
    return configured, full, error, error_full


def _measured(
    trainer: AttackTrainer, test_data: Any, load_best_model: bool, full_ranking: bool = False
) -> tuple[dict[str, float] | None, dict[str, float] | None, Outcomes | None]:
    """Metrics, their standard errors, and what they were measured on."""
    with trainer.eval_collector.recording() as recorder:
        result = trainer.evaluate(test_data, load_best_model, full_ranking=full_ranking)
    found, target_users = recorder.outcomes(), trainer.threat.target_users
    if result is None or found is None:
        return result, None, found
    inside = None if target_users is None else target_users[found.user]
    return result, standard_errors(result, found.rank_truth, found.rank_target, found.eligible, inside), found
