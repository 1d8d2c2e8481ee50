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

from recbole_attack.attack import BACKDOORS
from recbole_attack.config import AttackConfig
from recbole_attack.data import (
    ProviderSplit,
    RaggedSequentialDataset,
    SimilarTargets,
    TrainData,
    item_categories,
    similar_targets,
    split_users,
    user_group,
)
from recbole_attack.data.batches import Poison
from recbole_attack.defense import CUTOFFS
from recbole_attack.evaluator import score_of
from recbole_attack.experiment.base import (
    ArmResult,
    Experiment,
    Findings,
    create_dataset,
    evaluation_loader,
    final_metrics,
    party_data,
)
from recbole_attack.experiment.detection import judged, qualities
from recbole_attack.experiment.suspects import suspects
from recbole_attack.experiment.validation import check_valid_metric
from recbole_attack.model import PromptSASRec, SASRec, user_attributes
from recbole_attack.stages import Party, Stage, plans
from recbole_attack.threat import Threat, configured_targets
from recbole_attack.trainer import AttackTrainer, StageTrainer
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.rng import stream, torch_stream

_FLAGS = "excess_tail"
"""The detector that orders and flags items; k-means by itself may flag most of a catalogue."""


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
        changes = {"local": {"attack": "none", "platform": "local"}, "clean": {"attack": "none"}, "attacked": {}}
        plan, after = plans(self.config.final_config_dict), 0
        arms: dict[str, Callable[..., ArmResult]] = {}
        for name, stages in reversed(plan.items()):
            arms[name] = partial(self._run, self.config.replace(**changes[name]), stages, after)
            after += self._epochs(stages)
        return {name: arms[name] for name in plan}

    def _epochs(self, stages: Sequence[Stage]) -> int:
        return sum(self.config[f"{stage.name}_epochs"] for stage in stages)

    def trainer(
        self, config: AttackConfig, stage: Stage, folder: Path, before: AttackTrainer | None = None
    ) -> StageTrainer:
        """The trainer of one stage.

        Args:
            config: The arm's configuration.
            stage: The stage.
            folder: Where it leaves its checkpoints.
            before: The stage before, whose weights this one starts from; its prompts only if they are not drawn anew.
        """
        config = _stage_config(config, stage, folder)
        model = self.model(config)
        if before is not None:
            model.load_state_dict(before.model.state_dict(), strict=False)  # prompts come and go
        if stage.new_prompts:
            # Of each party's own: the platform does not know what its provider started from.
            with torch_stream(config["device"], config["seed"], f"prompts of the {stage.party}"):
                model.generator.reset_parameters()
        poison = self._poison(config) if stage.poisoned else None
        return StageTrainer(config, model, self.threat, self.dataset.split, stage.trained, poison)

    def _poison(self, config: AttackConfig) -> Poison | None:
        """What the attacking provider does to its training examples."""
        return BACKDOORS[config["attack"]](config.final_config_dict, self.similar, self.target_users)

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
        history: list[dict[str, Any]] = []
        for number, stage in enumerate(stages, start=1):
            trainer = self.trainer(config, stage, folder / f"{number}-{stage.name}", trainer)
            if saved and trainer.resume_file.is_file():
                trainer.resume_checkpoint(trainer.resume_file)
            trainer.fit(
                self.data[stage.party],
                verbose=verbose,
                saved=saved,
                show_progress=config["show_progress"],
                report_data=self.valid_data,
                report_part="valid",
                after=after + self._epochs(stages[number:]),
            )
            done = len(history)
            history += [{**record, "epoch": done + record["epoch"], "stage": stage.name} for record in trainer.history]
        deployed = self._deployed(config, stages[-1], folder, trainer, saved)
        valid = deployed.evaluate(self.valid_data, load_best_model=False)
        tested = final_metrics(deployed, self.test_data, load_best_model=False, folder=folder if saved else None)
        score = score_of(valid, deployed.valid_metric) if valid else float("-inf")
        asked = self.test_data and self._cutoffs
        shown, view = deployed.model_view(self.test_data, self._cutoffs) if asked else (None, None)
        seconds, epoch = perf_counter() - start, history[-1]["epoch"]
        return ArmResult(score, valid, *tested, history, seconds, epoch, item_exposure=shown, view=view)

    def _deployed(self, config: AttackConfig, last: Stage, folder: Path, trainer: Any, saved: bool) -> StageTrainer:
        """The trainer of the model users are served with; fake prompts are not part of it."""
        if last.prompted and not last.keeps_prompts:
            trainer = self.trainer(config, replace(last, prompted=False), folder / "shipped", trainer)
            if saved:
                trainer.save()
        trainer.eval_collector.data_collect(self.train_data)
        return trainer

    @property
    def _cutoffs(self) -> list[int]:
        """Lists of the detection that are shorter than the catalogue."""
        return [n for n in CUTOFFS if n < self.dataset.item_num - 1]

    def evidence(self, arm: ArmResult) -> dict[str, Any]:
        """What detectors read of one arm; see :func:`~recbole_attack.experiment.detection.detections`."""
        shown, view = arm.item_exposure, arm.view
        if shown is None or view is None or self.test_data is None:
            return {}
        popularity, targets = self.train_data.sequences.popularity(), self.threat.targets
        counted = {"counts": shown.counts, "users": shown.users, "popularity": popularity, "targets": targets}
        users = self.test_data.dataset.inter_feat[self.dataset.uid_field].numpy()
        return {**counted, **view.arrays(self.dataset.user_fields, users)}

    def findings(self, arms: Mapping[str, ArmResult]) -> Findings:
        """How well detectors find the targets, and all items by how suspicious they are; one detector orders and flags.

        Returns:
            ``detection`` in the record: arm -> detector -> how well it finds the targets, against the platform's own
            model; and a table of suspects for each of these arms.
        """
        evidence = {name: self.evidence(arm) for name, arm in arms.items()}
        said = judged(evidence, self.config.final_config_dict)
        tokens = self.dataset.tokens(self.dataset.iid_field, np.arange(self.dataset.item_num))
        tables = {
            name: suspects(tokens, seen, self._cutoffs, found, found[_FLAGS].flagged, _FLAGS)
            for name, (seen, found) in said.items()
        }
        return Findings({"detection": qualities(evidence, said)}, tables)

    def describe_data(self) -> dict[str, Any]:
        """Counts and hashes that identify the data, and the sizes of both parties."""
        return {**super().describe_data(), **self.parties.sizes()}

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


def _stage_config(config: AttackConfig, stage: Stage, folder: Path) -> AttackConfig:
    """The configuration a stage trains with."""
    plain = SASRec if config.model_class is PromptSASRec else config.model_class
    return config.replace(
        model=PromptSASRec if stage.prompted else plain,
        epochs=config[f"{stage.name}_epochs"],
        learning_rate=config[f"{stage.name}_learning_rate"],
        checkpoint_dir=str(folder),
    )


def prepare_pretrain(config: AttackConfig, dataset: RaggedSequentialDataset | None = None) -> PretrainExperiment:
    """Split users between the parties, and fix targets and target users.

    Args:
        config: The configuration.
        dataset: A dataset that was created but not built; created from ``config`` if absent.

    Raises:
        DataError: A field or token is missing, a party has nothing to train on, or the attack would change nothing.
    """
    dataset = dataset or create_dataset(config)
    parties = split_users(config["platform_users"], dataset.sequences(), stream(config["seed"], "platform users"))
    train, valid, test = dataset.build(parties.sequences)
    provider = party_data(config, train, dataset.split.train, "provider", parties.provider)
    platform = party_data(config, train, dataset.split.train, "platform", parties.platform)
    targets = configured_targets(config, dataset, provider.sequences)
    field, n_items = config["category_field"], dataset.split.train.n_items
    categories = item_categories(dataset, field) if field else np.ones(n_items, dtype=np.int64)
    target_users = user_group(config["target_group"], dataset.user_fields, dataset.split.train.n_users)
    others = np.flatnonzero(~parties.platform)
    experiment = PretrainExperiment(
        config,
        dataset,
        Threat(targets, malicious_users=targets[:0], target_users=target_users),
        platform,
        evaluation_loader(config, valid, others),
        evaluation_loader(config, test, others),
        parties=parties,
        similar=similar_targets(categories, targets),
        provider_data=provider,
    )
    _check(experiment)
    return experiment


def _check(experiment: PretrainExperiment) -> None:
    """Find out before anything is trained what a later stage would fail at, or do in vain."""
    others = np.flatnonzero(~experiment.parties.platform)
    check_valid_metric(experiment.config, experiment.dataset.split, experiment.threat, others)
    config, stages = experiment.config, [s for arm in plans(experiment.config.final_config_dict).values() for s in arm]
    if any(stage.prompted for stage in stages):
        user_attributes(experiment.dataset, config["prompt_fields"])
    if not any(stage.poisoned for stage in stages):
        return
    if not (experiment.target_users & experiment.parties.provider).any():
        raise DataError(f"target group '{config['target_group']}': expected users of the provider, found none")
    if not len(experiment.similar.targets):
        field = config["category_field"]
        raise DataError(f"attack '{config['attack']}' needs targets with a category: found none with a '{field}'")
