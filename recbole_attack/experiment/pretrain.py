"""One pre-training experiment: a provider, a platform, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.attack import configured_backdoor
from recbole_attack.config import AttackConfig
from recbole_attack.data import (
    ProviderSplit,
    SimilarTargets,
    TrainData,
)
from recbole_attack.defense import CUTOFFS
from recbole_attack.evaluator import ItemExposure, ModelView, score_of
from recbole_attack.experiment.arms import LOCAL
from recbole_attack.experiment.base import (
    ArmResult,
    Experiment,
    Findings,
    Shipped,
    final_metrics,
)
from recbole_attack.experiment.detection import flagged_items, judged, qualities
from recbole_attack.experiment.repair import drawn_anew
from recbole_attack.experiment.suspects import suspects
from recbole_attack.model import PromptSASRec, SASRec
from recbole_attack.stages import LOCAL_TRAIN, Party, Stage, plans
from recbole_attack.trainer import AttackTrainer, StageTrainer
from recbole_attack.utils.rng import stream, torch_stream

_FLAGS = "excess_tail"
"""The detector that orders and flags items where none decides on a repair; k-means by itself may flag most of a
catalogue."""


@dataclass(frozen=True)
class PretrainExperiment(Experiment):
    """A provider's model and what a platform makes of it; the platform's users are trained for and evaluated.

    Attributes:
        parties: Provider's and platform's users.
        similar: The targets similar to each item.
        provider_data: Training sequences of the provider's users.
    """

    parties: ProviderSplit
    similar: SimilarTargets
    provider_data: TrainData

    @property
    def target_users(self) -> NDArray[np.bool_]:
        """``[n_users]`` whom targets are promoted to."""
        assert self.threat.target_users is not None
        return self.threat.target_users

    @property
    def data(self) -> dict[Party, TrainData]:
        """Training sequences of either party."""
        return {"provider": self.provider_data, "platform": self.train_data}

    def arms(self) -> dict[str, Callable[..., ArmResult]]:
        """Arm name -> ``(folder, saved, verbose) -> ArmResult``, in the order they run."""
        changes = {"local": LOCAL, "clean": {"attack": "none"}, "attacked": {}}
        plan, after = plans(self.config.final_config_dict), 0
        arms: dict[str, Callable[..., ArmResult]] = {}
        for name, stages in reversed(plan.items()):
            arms[name] = partial(self._run, self.config.replace(**changes[name]), stages, after)
            after += self._epochs(stages)
        return {name: arms[name] for name in plan}

    def _epochs(self, stages: Sequence[Stage]) -> int:
        return sum(self.config[f"{stage.name}_epochs"] for stage in stages)

    def trainer(
        self,
        config: AttackConfig,
        stage: Stage,
        folder: Path,
        before: AttackTrainer | None = None,
        flagged: NDArray[np.bool_] | None = None,
    ) -> StageTrainer:
        """The trainer of one stage.

        Args:
            config: The arm's configuration.
            stage: The stage.
            folder: Where it leaves its checkpoints.
            before: The stage before, whose weights this one starts from; its prompts only if they are not drawn anew.
            flagged: ``[n_items]`` the items whose embeddings are drawn anew, and change alone, in a repair.
        """
        config = _stage_config(config, stage, folder)
        model = self.model(config.replace(seed=_first_seed(config, stage)))
        if before is not None:
            model.load_state_dict(before.model.state_dict(), strict=False)  # prompts come and go
        if stage.new_prompts:
            # Of each party's own, as its first weights are.
            with torch_stream(config["device"], config["seed"], f"prompts of the {stage.party}"):
                model.generator.reset_parameters()
        known = (config.final_config_dict, self.similar, self.target_users)
        poison = configured_backdoor(*known) if stage.poisoned else None
        rows = None if flagged is None else drawn_anew(config, self.dataset, model, flagged)
        return StageTrainer(config, model, self.threat, self.dataset.split, stage.trained, poison, rows)

    def _run(
        self,
        config: AttackConfig,
        stages: tuple[Stage, ...],
        after: int,
        folder: Path,
        saved: bool,
        verbose: bool = True,
    ) -> ArmResult:
        start, trainer = perf_counter(), None
        repair = stages[-1] if stages[-1].trained == "items" else None
        local = self._local_evidence(folder, saved, verbose) if repair else {}
        history: list[dict[str, Any]] = []
        for number, stage in enumerate(stages[:-1] if repair else stages, start=1):
            left = after + self._epochs(stages[number:])
            trainer = self._trained(config, stage, folder / f"{number}-{stage.name}", trainer, saved, verbose, left)
            history += _epochs_of(stage, trainer, len(history))
        last = stages[-2] if repair else stages[-1]
        deployed, shipped = self._deployed(config, last, folder, trainer, saved), None
        shown, view = self._seen(deployed)
        if repair:
            flagged = flagged_items(config["repair"], self._arrays(shown, view), local, config.final_config_dict)
            shipped = self._shipped(config, flagged, deployed)
            if flagged.any():
                place = folder / f"{len(stages)}-{repair.name}"
                deployed = self._trained(config, repair, place, deployed, saved, verbose, after, flagged)
                history += _epochs_of(repair, deployed, len(history))
        valid = deployed.evaluate(self.valid_data, load_best_model=False)
        tested = final_metrics(deployed, self.test_data, load_best_model=False, folder=folder if saved else None)
        score = score_of(valid, deployed.valid_metric) if valid else float("-inf")
        seconds, epoch = perf_counter() - start, history[-1]["epoch"]
        measured = (score, valid, *tested, history, seconds, epoch)
        return ArmResult(*measured, item_exposure=shown, view=view, shipped=shipped)

    def _trained(
        self,
        config: AttackConfig,
        stage: Stage,
        folder: Path,
        before: StageTrainer | None,
        saved: bool,
        verbose: bool,
        after: int,
        flagged: NDArray[np.bool_] | None = None,
    ) -> StageTrainer:
        """The trainer of a finished stage, which goes on where it was interrupted; see :meth:`trainer`."""
        trainer = self.trainer(config, stage, folder, before, flagged)
        if saved and trainer.resume_file.is_file():
            trainer.resume_checkpoint(trainer.resume_file)
        trainer.fit(
            self.data[stage.party],
            verbose=verbose,
            saved=saved,
            show_progress=config["show_progress"],
            report_data=self.valid_data,
            report_part="valid",
            after=after,
        )
        return trainer

    def _deployed(self, config: AttackConfig, last: Stage, folder: Path, trainer: Any, saved: bool) -> StageTrainer:
        """The trainer of the model users are served with; fake prompts are not part of it."""
        if last.prompted and not last.keeps_prompts:
            trainer = self.trainer(config, replace(last, prompted=False), folder / "shipped", trainer)
            if saved:
                trainer.save()
        trainer.eval_collector.data_collect(self.train_data)
        return trainer

    def _local_evidence(self, folder: Path, saved: bool, verbose: bool) -> dict[str, Any]:
        """What the platform sees of its own model, of the arm ``local``; trained here, since arms are trained apart.

        Raises:
            ConfigError: The detector of the repair cannot read it.
        """
        config = self.config.replace(**LOCAL)
        own = self._trained(config, LOCAL_TRAIN, folder / f"0-{LOCAL_TRAIN.name}", None, saved, verbose, 0)
        seen = self._arrays(*self._seen(own))
        flagged_items(self.config["repair"], seen, seen, self.config.final_config_dict)
        return seen

    def _shipped(self, config: AttackConfig, flagged: NDArray[np.bool_], deployed: StageTrainer) -> Shipped:
        found = (config["repair"], int(flagged.sum()), int(flagged[self.threat.targets].sum()))
        return Shipped(*found, *final_metrics(deployed, self.test_data, load_best_model=False))

    def _seen(self, deployed: StageTrainer) -> tuple[ItemExposure, ModelView] | tuple[None, None]:
        """What detectors look at of a model; nothing without test users, or with too few items."""
        if not self.test_data or not self.cutoffs:
            return None, None
        return deployed.model_view(self.test_data, self.cutoffs)

    @property
    def cutoffs(self) -> list[int]:
        """Lists of the detection that are shorter than the catalogue."""
        return [n for n in CUTOFFS if n < self.dataset.item_num - 1]

    def evidence(self, arm: ArmResult) -> dict[str, Any]:
        """What detectors read of one arm; see :func:`~recbole_attack.experiment.detection.detections`."""
        return self._arrays(arm.item_exposure, arm.view)

    def _arrays(self, shown: ItemExposure | None, view: ModelView | None) -> dict[str, Any]:
        if shown is None or view is None or self.test_data is None:
            return {}
        popularity, targets = self.train_data.sequences.popularity(), self.threat.targets
        counted = {"counts": shown.counts, "users": shown.users, "popularity": popularity, "targets": targets}
        users = self.test_data.dataset.inter_feat[self.dataset.uid_field].numpy()
        return {**counted, **view.arrays(self.dataset.user_fields, users)}

    def findings(self, arms: Mapping[str, ArmResult]) -> Findings:
        """How well detectors find the targets, and all items by how suspicious they are; one detector orders and flags.

        It is the one whose flagged items are repaired, where they are.

        Returns:
            ``detection`` in the record: arm -> detector -> how well it finds the targets, against the platform's own
            model; and a table of suspects for each of these arms.
        """
        evidence = {name: self.evidence(arm) for name, arm in arms.items()}
        said, repair = judged(evidence, self.config.final_config_dict), self.config["repair"]
        first = _FLAGS if repair == "none" else repair
        tokens = self.dataset.tokens(self.dataset.iid_field, np.arange(self.dataset.item_num))
        tables = {
            name: suspects(tokens, seen, self.cutoffs, found, found[first].flagged, first)
            for name, (seen, found) in said.items()
        }
        return Findings({"detection": qualities(evidence, said)}, tables)

    def describe_data(self) -> dict[str, Any]:
        """Counts and hashes that identify the data, and the sizes of both parties.

        Users of the validation and of the test are the platform's, which alone are evaluated.
        """
        split, own = self.dataset.split, self.parties.platform
        evaluated = {"valid_users": int(own[split.valid.users].sum()), "test_users": int(own[split.test.users].sum())}
        return {**super().describe_data(), **evaluated, **self.parties.sizes()}

    def describe_threat(self) -> dict[str, Any]:
        """Target tokens, and what the attacker knows and controls."""
        dataset = self.dataset
        return {
            "attack": self.config["attack"],
            "knowledge": ["model and training code", "histories and attributes of the provider's users"],
            "target_items": dataset.tokens(dataset.iid_field, self.threat.targets),
            "target_group": self.config["target_group"],
            "target_users_of_provider": int((self.target_users & self.parties.provider).sum()),
            "target_users_of_platform": int((self.target_users & self.parties.platform).sum()),
            "stages": {
                name: [stage.name for stage in stages] for name, stages in plans(self.config.final_config_dict).items()
            },
        }


def _epochs_of(stage: Stage, trainer: StageTrainer, before: int) -> list[dict[str, Any]]:
    """A stage's history as a part of the arm's, behind as many epochs."""
    return [{**record, "epoch": before + record["epoch"], "stage": stage.name} for record in trainer.history]


def _first_seed(config: AttackConfig, stage: Stage) -> int:
    """What draws the first weights of a model."""
    seed: int = config["seed"]
    return platform_seed(seed) if stage == LOCAL_TRAIN else seed


def platform_seed(seed: int) -> int:
    """What draws the first weights of a platform's own model: it does not know what its provider started from.

    Models that start alike are alike afterwards, and detectors would find whatever is not.

    Args:
        seed: The platform's, which may well be the provider's: both may have left it as it is by default.
    """
    return int(stream(seed, "model of the platform").integers(2**32))


def _stage_config(config: AttackConfig, stage: Stage, folder: Path) -> AttackConfig:
    """The configuration a stage trains with."""
    plain = SASRec if config.model_class is PromptSASRec else config.model_class
    return config.replace(
        model=PromptSASRec if stage.prompted else plain,
        epochs=config[f"{stage.name}_epochs"],
        learning_rate=config[f"{stage.name}_learning_rate"],
        checkpoint_dir=str(folder),
    )
