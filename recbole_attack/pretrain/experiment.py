"""One pre-training experiment: a provider, a platform, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.utils import init_seed

from recbole_attack.attack import BACKDOORS, Replacement
from recbole_attack.config import AttackConfig
from recbole_attack.data import (
    NonInteracted,
    ProviderSplit,
    RaggedSequentialDataset,
    SimilarTargets,
    TrainData,
    UserSequences,
    item_categories,
    resolve_targets,
    similar_targets,
    split_users,
    user_group,
)
from recbole_attack.defense import DETECTORS, Evidence
from recbole_attack.errors import ConfigError
from recbole_attack.evaluator import detection_quality
from recbole_attack.experiment import ArmResult, create_dataset, describe_dataset, evaluation_loader
from recbole_attack.federated import Threat
from recbole_attack.model import PromptSASRec, SASRec
from recbole_attack.pretrain.stages import (
    LOCAL_TRAIN,
    Party,
    Stage,
    clean_twin,
    deployed_with_prompts,
    platform_stages,
    provider_stages,
)
from recbole_attack.rng import stream
from recbole_attack.trainer import AttackTrainer, StageTrainer, item_exposure
from recbole_attack.trainer.item_exposure import CUTOFFS


@dataclass(frozen=True)
class PretrainExperiment:
    """Everything the arms of a run share.

    Attributes:
        config: The attacked run's configuration.
        dataset: The built dataset.
        threat: Targets and whom they are promoted to; no user is malicious.
        parties: Provider's and platform's users.
        similar: The targets similar to each item.
        data: Training sequences of either party.
        valid_data: Validation loader over the platform's users.
        test_data: Test loader over the platform's users.
    """

    config: AttackConfig
    dataset: RaggedSequentialDataset
    threat: Threat
    parties: ProviderSplit
    similar: SimilarTargets
    data: dict[Party, TrainData]
    valid_data: FullSortEvalDataLoader | None
    test_data: FullSortEvalDataLoader | None

    @property
    def target_users(self) -> NDArray[np.bool_]:
        """``[n_users]`` whom targets are promoted to."""
        assert self.threat.target_users is not None
        return self.threat.target_users

    def plans(self) -> dict[str, tuple[Stage, ...]]:
        """Arm name -> its stages: the platform's own model, the clean model, the attacked one."""
        config = self.config
        plans: dict[str, tuple[Stage, ...]] = {"local": (LOCAL_TRAIN,)}
        if config["platform"] == "local":
            return plans
        asked = config["three_steps"]  # a parameter of pea alone
        three_steps = config["platform"] == "prompt_tune" if asked is None else asked
        attacked = provider_stages(config["attack"], three_steps)
        clean = clean_twin(attacked)
        if config["compare_clean"] or config["attack"] == "none":
            plans["clean"] = clean + platform_stages(config["platform"], clean[-1])
        if config["attack"] != "none":
            plans["attacked"] = attacked + platform_stages(config["platform"], attacked[-1])
        return plans

    def arms(self) -> dict[str, Callable[..., ArmResult]]:
        """Arm name -> ``(folder, saved, verbose) -> ArmResult``, in the order they run."""
        return {name: partial(self._run, stages) for name, stages in self.plans().items()}

    def model(self, config: AttackConfig) -> Any:
        """A new model with the same initial weights for every arm and stage."""
        init_seed(config["seed"], config["reproducibility"])
        return config.model_class(config, self.dataset).to(config["device"])

    def stage_config(self, stage: Stage, folder: Path) -> AttackConfig:
        """The configuration a stage trains with.

        Raises:
            ConfigError: It needs prompts, which the model has not.
        """
        model_class = self.config.model_class
        if stage.prompted:
            if not issubclass(model_class, SASRec):
                raise ConfigError(f"prompts need model 'SASRec': found '{self.config['model']}'")
            model_class = PromptSASRec
        return self.config.replace(
            model=model_class,
            epochs=self.config[f"{stage.name}_epochs"],
            learning_rate=self.config[f"{stage.name}_learning_rate"],
            checkpoint_dir=str(folder),
        )

    def trainer(self, stage: Stage, folder: Path, before: AttackTrainer | None) -> StageTrainer:
        """The trainer of one stage, its model started from the stage before."""
        config = self.stage_config(stage, folder)
        model = self.model(config)
        if before is not None and not stage.new_model:
            own = model.state_dict()
            kept = {name: value for name, value in before.model.state_dict().items() if name in own}
            if stage.new_prompts:
                kept = {name: value for name, value in kept.items() if not name.startswith("generator.")}
            model.load_state_dict({**own, **kept})
        poison = self.poison() if stage.poisoned else None
        return StageTrainer(config, model, self.threat, self.dataset.split, stage.trained, poison)

    def poison(self) -> Replacement | None:
        """What the attacking provider does to its training examples."""
        recipe = BACKDOORS[self.config["attack"]]
        return recipe(self.config.final_config_dict, self.similar, self.target_users)

    def _run(self, stages: tuple[Stage, ...], folder: Path, saved: bool, verbose: bool = True) -> ArmResult:
        start, trainer = perf_counter(), None
        history: list[dict[str, Any]] = []
        for number, stage in enumerate(stages, start=1):
            trainer = self.trainer(stage, folder / f"{number}-{stage.name}", trainer)
            if saved and trainer.resume_file.is_file():
                trainer.resume_checkpoint(trainer.resume_file)
            trainer.fit(
                self.data[stage.party],
                verbose=verbose,
                saved=saved,
                show_progress=self.config["show_progress"],
                report_data=self.valid_data,
            )
            trainer.tensorboard.close()
            done = len(history)
            history += [{**record, "epoch": done + record["epoch"], "stage": stage.name} for record in trainer.history]
        deployed = self._deployed(stages, folder, trainer)
        valid, test = (deployed.evaluate(data, load_best_model=False) for data in (self.valid_data, self.test_data))
        score = valid[self.config["valid_metric"].lower()] if valid else float("-inf")
        shown = item_exposure(deployed, self.test_data, self._cutoffs) if self.test_data and self._cutoffs else None
        return ArmResult(score, valid, test, None, history, perf_counter() - start, shown)

    @property
    def _cutoffs(self) -> list[int]:
        """Lists of the detection that are shorter than the catalogue."""
        return [n for n in CUTOFFS if n < self.dataset.item_num - 1]

    def findings(self, arms: Mapping[str, ArmResult]) -> dict[str, Any]:
        """``detection``: arm -> detector -> how well it finds the targets, against the platform's own model."""
        local, popularity = arms["local"].item_exposure, self.data["platform"].sequences.popularity()
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, arm in arms.items():
            if name == "local" or arm.item_exposure is None or local is None:
                continue
            shown = arm.item_exposure
            evidence = Evidence(shown.counts, local.counts, popularity, shown.users)
            found[name] = {}
            for detector, detect in DETECTORS.items():
                detection = detect(evidence, self.config["seed"])
                found[name][detector] = detection_quality(detection.scores, detection.flagged, self.threat.targets)
        return {"detection": found}

    def _deployed(self, stages: tuple[Stage, ...], folder: Path, trainer: Any) -> AttackTrainer:
        """The model users are served with; fake prompts are not part of it."""
        if not stages[-1].prompted or deployed_with_prompts(stages):
            return trainer
        plain = Stage("fine_tune", "platform")
        return self.trainer(plain, folder / "deployed", trainer)

    def describe_data(self) -> dict[str, Any]:
        """Counts and hashes that identify the data, and the sizes of both parties."""
        return {**describe_dataset(self.config, self.dataset), **self.parties.sizes()}

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
            "stages": {name: [stage.name for stage in stages] for name, stages in self.plans().items()},
        }


def prepare_pretrain(config: AttackConfig, dataset: RaggedSequentialDataset | None = None) -> PretrainExperiment:
    """Split users between the parties, and fix targets and target users.

    Args:
        config: The configuration.
        dataset: A dataset that was created but not built; created from ``config`` if absent.
    """
    dataset = dataset or create_dataset(config)
    parties = split_users(config["platform_users"], dataset.sequences(), stream(config["seed"], "platform users"))
    train, valid, test = dataset.build(parties.sequences)
    sequences = dataset.split.train
    masks: dict[Party, NDArray[np.bool_]] = {"provider": parties.provider, "platform": parties.platform}
    parts = {party: sequences.tail(np.where(mask, sequences.lengths, 0)) for party, mask in masks.items()}
    targets = resolve_targets(
        config["target_items"],
        dataset.field2id_token[dataset.iid_field],
        parts["provider"].popularity(),
        stream(config["seed"], "targets"),
    )
    field = config["category_field"]
    categories = item_categories(dataset, field) if field else np.ones(sequences.n_items, dtype=np.int64)
    loaders = [evaluation_loader(config, part, np.flatnonzero(~parties.platform)) for part in (valid, test)]
    return PretrainExperiment(
        config,
        dataset,
        Threat(targets, targets[:0], True, user_group(config["target_group"], dataset.user_fields, sequences.n_users)),
        parties,
        similar_targets(categories, targets),
        {party: _train_data(config, train, part) for party, part in parts.items()},
        *loaders,
    )


def _train_data(config: AttackConfig, dataset: RaggedSequentialDataset, sequences: UserSequences) -> TrainData:
    return TrainData(dataset, sequences, NonInteracted(sequences), config["MAX_ITEM_LIST_LENGTH"], config["seed"])
