"""What federated and central training share: evaluation, history, early stopping, checkpoints and resuming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isinf, isnan
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from recbole.trainer import Trainer
from recbole.utils import early_stopping
from torch.utils.tensorboard import SummaryWriter

from recbole_attack.data import HISTORY_LENGTH, Split
from recbole_attack.evaluator import AttackCollector, ItemExposure, ListEvaluator, RankingProtocol, score_of
from recbole_attack.threat import Threat
from recbole_attack.trainer import resuming
from recbole_attack.trainer.reporting import EpochReport, NamedLog, curves_folder, cut_off, progress_bar
from recbole_attack.trainer.tracking import ArmLogger
from recbole_attack.utils.checkpoints import fitting, load_checkpoint, load_weights, save_checkpoint
from recbole_attack.utils.errors import TrainingError
from recbole_attack.utils.files import working_elsewhere
from recbole_attack.utils.host_warnings import without_future_warnings


class AttackTrainer(Trainer):
    """A RecBole trainer that keeps a history, resumes exactly and loads nothing that could carry code.

    The best model is ``<checkpoint_dir>/<model>.pth``; the state to resume from is ``last.pth`` beside it. Subclasses
    implement ``_train_epoch``.

    Args:
        config: The run's configuration.
        model: The victim.
        threat: Target items and malicious users.
        split: The dataset's split; rankings and eligibility come from its full sequences.

    Attributes:
        state: What a resumed run continues from, besides weights, optimiser and schedule.
        history: One dict per epoch: epoch, train_loss, learning_rate, and every metric of the evaluated ones.
    """

    state: tuple[str, ...] = ("start_epoch", "cur_step", "best_valid_score", "best_valid_result", "history", "finished")

    logger: Any
    tensorboard: SummaryWriter
    start_epoch: int
    cur_step: int
    best_valid_score: float
    best_valid_result: dict[str, float] | None

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split) -> None:
        folder = Path(config["checkpoint_dir"])
        names = self._names(folder)
        tracking = ArmLogger(config, *names)  # RecBole's own would start W&B's run in the temporary folder
        folder.mkdir(parents=True, exist_ok=True)
        with working_elsewhere():  # RecBole starts a TensorBoard run where the process stands
            super().__init__(config, model)
            self.tensorboard.close()
        self.wandblogger = tracking
        self.label, self.curves = ", ".join(names), curves_folder(folder, names)
        self.logger = NamedLog(self.logger, self.label)
        self.threat, self.seed = threat, int(config["seed"])
        self.saved_model_file, self.resume_file = str(folder / f"{config['model']}.pth"), folder / "last.pth"
        self.scheduler = torch.optim.lr_scheduler.StepLR(
            self.optimizer, config["lr_decay_step"] or self.epochs, config["lr_decay_gamma"]
        )
        self.evaluator = ListEvaluator(config)
        self.eval_collector = AttackCollector(config, threat.targets, split.full, threat.target_users)
        common, sampled = (split.full, threat.targets, config["mask_history"]), config["exposure_candidates"]
        self.full_protocol = RankingProtocol(*common, None, self.seed)
        self.protocol = self.full_protocol if sampled == "full" else RankingProtocol(*common, sampled, self.seed)
        self.history: list[dict[str, Any]] = []
        self.finished = False

    @staticmethod
    def _names(folder: Path) -> tuple[str, ...]:
        """Arm, and stage if an arm has several, that is trained in this folder."""
        return (folder.name,)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Any = None,
        report_data: Any = None,
        report_part: str = "test",
        after: int = 0,
    ) -> tuple[float, dict[str, float] | None]:
        """Train, and stop early on validation, as RecBole's trainer does.

        Args:
            train_data: A :class:`~recbole_attack.data.TrainData`.
            valid_data: Evaluated every ``eval_step`` epochs; selects the best model.
            verbose: Log every epoch.
            saved: Write the best model and, after every epoch, the state to resume from.
            show_progress: Show progress bars on a terminal.
            callback_fn: Called with (epoch, validation score).
            report_data: Evaluated for the history when there is no validation data; selects nothing.
            report_part: Whether that is ``test`` or ``valid`` data, for W&B.
            after: Epochs of the run that follow this training, for the time that is left.

        Returns:
            Best validation score and result; ``(-inf, None)`` without validation data. Where the score was undefined
            in every epoch, the last model stands for the best.
        """
        self.eval_collector.data_collect(train_data)
        if self.finished:
            return self.best_valid_score, self.best_valid_result
        report_data, part = (None, "valid") if valid_data else (report_data, report_part)
        with self._reporting(part, after, verbose, show_progress) as report:
            while self.start_epoch < self.epochs and not self.finished:
                record = self._one_epoch(train_data, self.start_epoch, show_progress)
                due = (record["epoch"] + 1) % self.eval_step == 0
                if valid_data and due:
                    score = self._validate(valid_data, record, saved)
                    if callback_fn:
                        callback_fn(record["epoch"], score)
                elif report_data and due:
                    record.update(self.evaluate(report_data, load_best_model=False) or {})
                self._finish_epoch(record, saved, best_is_last=not valid_data)
                report(record, 0 if self.finished else self.epochs - self.start_epoch)
        if self.best_valid_result and isinf(self.best_valid_score):
            self.logger.warning(f"{self.valid_metric} is undefined in every epoch: the last model is kept as the best")
        return self.best_valid_score, self.best_valid_result

    @contextmanager
    def _reporting(self, part: str, after: int, verbose: bool, show_progress: bool) -> Iterator[EpochReport]:
        """Reports epochs to the log, a progress bar, TensorBoard and W&B."""
        log = self.logger if verbose else None
        with (
            progress_bar(self.label, self.epochs, self.start_epoch, show_progress) as bar,
            SummaryWriter(str(self.curves)) as self.tensorboard,
        ):
            yield EpochReport(log, bar, self.tensorboard, self.wandblogger, part, cut_off(self.config["topk"]), after)

    def _one_epoch(self, train_data: Any, epoch: int, show_progress: bool) -> dict[str, Any]:
        start = perf_counter()
        record = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        with without_future_warnings():
            self.train_loss_dict[epoch] = self._train_epoch(train_data, epoch, show_progress=show_progress)
        record.update(train_loss=self.train_loss_dict[epoch], seconds=perf_counter() - start)
        self.scheduler.step()
        self.history.append(record)
        return record

    def _validate(self, valid_data: Any, record: dict[str, Any], saved: bool) -> float:
        result = self.evaluate(valid_data, load_best_model=False) or {}
        score = score_of(result, self.valid_metric)
        record.update(result)
        if isnan(score):  # says nothing about the model: no reason to stop, and the last model is as good as any
            improved = isinf(self.best_valid_score)
        else:
            self.best_valid_score, self.cur_step, self.finished, improved = early_stopping(
                score, self.best_valid_score, self.cur_step, self.stopping_step, self.valid_metric_bigger
            )
        if improved:
            self.best_valid_result = dict(result)
            if saved:
                self._save_checkpoint(record["epoch"], verbose=False)
        return float(score)

    def _finish_epoch(self, record: dict[str, Any], saved: bool, best_is_last: bool) -> None:
        self.start_epoch = record["epoch"] + 1
        self.finished |= self.start_epoch == self.epochs
        if saved and best_is_last:
            self._save_checkpoint(record["epoch"], verbose=False)
        if saved:
            self._save_state()

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
        full_ranking: bool = False,
    ) -> dict[str, float] | None:
        """Evaluate under the configured ranking protocol.

        Args:
            eval_data: Validation or test loader; ``None`` is returned when it is empty.
            load_best_model: Load ``model_file``, or the best model of the training, first.
            model_file: A checkpoint.
            show_progress: Show a progress bar.
            full_ranking: Rank all items even when ``exposure_candidates`` samples them.

        Raises:
            ConfigError: The best model is not of this training.
            DataError: The checkpoint is missing, damaged, of another model, or could carry code.
        """
        if not eval_data:
            return None
        if load_best_model:
            file = Path(model_file or self.saved_model_file)
            own = self.config.to_dict() if model_file is None else None
            resuming.load_model(self.model, load_checkpoint(file, self.device), file, own)
        configured, self.protocol = self.protocol, self.full_protocol if full_ranking else self.protocol
        try:
            result = super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
            return {key: float(value) for key, value in result.items()}
        finally:
            self.protocol = configured
            self.eval_collector.discard()  # what was collected before an interruption

    @property
    def best_epoch(self) -> int:
        """Epoch of the saved best model, from 0."""
        return int(load_checkpoint(Path(self.saved_model_file))["epoch"])

    def uploads(self) -> dict[str, float | None] | None:
        """What malicious clients uploaded beside honest ones; ``None`` where nobody uploads or nobody is malicious."""
        return None

    def detection(self) -> dict[str, dict[str, float | None]]:
        """What detectors of malicious clients found, by name; nothing where there are no clients."""
        return {}

    def item_exposure(self, eval_data: Any, cutoffs: Sequence[int]) -> ItemExposure:
        """Count for every item the users whose top N holds it.

        The model as it is, over full rankings with the configured masking: sampled candidates hold the targets, which
        a platform does not know. Memory is that of one batch of the evaluation.

        Args:
            eval_data: Loader with one row for each of the platform's users.
            cutoffs: Lengths N of the lists, at least 1 each.

        Raises:
            TrainingError: A score is not finite.
        """
        with self.eval_collector.counting(cutoffs) as exposure:
            self.evaluate(eval_data, load_best_model=False, full_ranking=True)
        return exposure

    def _full_sort_batch_eval(self, batched_data: Any) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        interaction, scores, positive_u, positive_i = super()._full_sort_batch_eval(batched_data)
        if not torch.isfinite(scores[:, 1:]).all():
            raise TrainingError("a score is not finite: training diverged")
        users = interaction[self.config["USER_ID_FIELD"]].cpu().numpy()
        history = interaction[HISTORY_LENGTH].cpu().numpy()
        scores = self.protocol.restrict(scores, users, history, positive_i.to(scores.device))
        return interaction, scores, positive_u, positive_i

    def save(self) -> None:
        """Write the model as it is where the best one belongs."""
        self._save_checkpoint(self.epochs - 1, verbose=False)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        path = Path(kwargs.pop("saved_model_file", self.saved_model_file))
        save_checkpoint(path, {**self._checkpoint(), "epoch": epoch})
        if verbose:
            self.logger.info(f"Saving current: {path}")

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _save_state(self) -> None:
        state = {key: getattr(self, key) for key in self.state}
        state["best_valid_score"] = float(self.best_valid_score)
        whole = {**self._checkpoint(), "scheduler": self.scheduler.state_dict(), "trainer": state}
        save_checkpoint(self.resume_file, whole)

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`_save_state` kept; refuse what no training leaves behind."""
        resuming.restore(self, self.state, state)
        resuming.check_epochs("history", self.history, self.start_epoch)
        resuming.check_numbers("best_valid_result", self.best_valid_result or {})

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Continue after the last finished epoch of an interrupted run.

        Args:
            resume_file: A ``last.pth`` written by :meth:`fit`.

        Raises:
            ConfigError: It was trained with other parameters.
            DataError: The file is missing, damaged, of another model, or could carry code.
        """
        checkpoint = load_checkpoint(Path(resume_file), self.device)
        with fitting(resume_file):
            resuming.check_same_parameters(checkpoint["config"], self.config.to_dict(), resume_file)
            load_weights(self.model, checkpoint, resume_file)
            resuming.restore_optimizer(self.optimizer, checkpoint["optimizer"])
            resuming.restore_schedule(self.scheduler, checkpoint["scheduler"])
            self._restore(checkpoint["trainer"])
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")
