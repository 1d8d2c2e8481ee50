"""A platform's own users: models trained on some of them, and whom models show which item."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.config import AttackConfig
from recbole_attack.data import HISTORY_LENGTH, RaggedSequentialDataset
from recbole_attack.data.sequences import Int
from recbole_attack.defense import CUTOFFS, Evidence
from recbole_attack.evaluator import ItemExposure, ModelWatch, RankingProtocol
from recbole_attack.experiment import create_dataset
from recbole_attack.experiment.base import evaluation_loader, party_data
from recbole_attack.experiment.detection import side_by_side
from recbole_attack.inspection.catalogue import Catalogue
from recbole_attack.inspection.given_model import GivenModel, build
from recbole_attack.threat import Threat, configured_targets
from recbole_attack.trainer import TRAINERS
from recbole_attack.utils.checkpoints import load_checkpoint, load_weights
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import write_bytes

Mask = NDArray[np.bool_]

_FURTHER_BACK = 10
"""How many times as many items as a model reads are looked through for those it has."""


@dataclass(frozen=True)
class Platform:
    """What a platform has: its interactions, split as a run of its configuration splits them.

    Attributes:
        config: The configuration of its models.
        dataset: The built dataset.
        train: Its training interactions.
        valid: A row for each validated user.
        test: A row for each tested user: all of a history but its last item.
        threat: Who is malicious: nobody.
    """

    config: AttackConfig
    dataset: RaggedSequentialDataset
    train: RaggedSequentialDataset
    valid: RaggedSequentialDataset
    test: RaggedSequentialDataset
    threat: Threat

    @cached_property
    def users(self) -> Mask:
        """``[n_users]`` who has interactions."""
        return self.dataset.split.full.lengths > 0

    @cached_property
    def own_items(self) -> Catalogue:
        """The catalogue of a model that is trained here."""
        n_items = self.dataset.item_num
        return Catalogue(np.arange(n_items), n_items, (), assumed=False)

    def trained(self, users: Mask, seed: int, file: Path | None = None, known: Mask | None = None) -> GivenModel:
        """A clean model of some of the users, the best epoch of the validation on them.

        Args:
            users: ``[n_users]`` whose training interactions it learns from.
            seed: Of its initial weights and all that training draws.
            file: Where the checkpoint is kept, if it is; it is read where it is there already.
            known: ``[n_items]`` the items it ever hears of; all of them by default.

        Raises:
            DataError: There is nothing to train on.
            TrainingError: Training diverged.
        """
        with TemporaryDirectory() as folder:
            config = self.config.replace(seed=seed, checkpoint_dir=folder)
            model = build(config, self.dataset, self.dataset.item_num)
            if file is None or not file.is_file():
                written = self._fit(config, model, users, known)
                if file is not None:
                    write_bytes(file, written.read_bytes())
                file = written
            load_weights(model, load_checkpoint(file, config["device"]), file)
        if known is None:
            return GivenModel(model.eval(), self.own_items)
        return GivenModel(model.eval(), replace(self.own_items, rows=np.where(known, self.own_items.rows, 0)))

    def _fit(self, config: AttackConfig, model: Any, users: Mask, known: Mask | None) -> Path:
        data = party_data(config, self.train, self.dataset.split.train, "platform", users, known)
        valid = evaluation_loader(config, self.valid, np.flatnonzero(~users))
        trainer = TRAINERS["central"](config, model, self.threat, self.dataset.split)
        trainer.fit(data, valid, verbose=False)
        return Path(trainer.saved_model_file)

    def evidence(self, given: GivenModel, local: GivenModel, users: Mask) -> Evidence:
        """What detectors read of a model: whom it and the platform's own one show each item.

        Both rank the items that ``given`` has, for the users with one of them in their history. Each is asked with as
        many of the last items as it reads, of those it has. Pushes are asked of some of the users that are evaluated.

        Args:
            given: The model that is judged.
            local: The platform's own.
            users: ``[n_users]`` the users, on whose training interactions popularity is counted.

        Raises:
            DataError: A score is not finite, or there is nobody to ask for.
        """
        loader = evaluation_loader(self.config, self._tests(given, local), np.flatnonzero(~users))
        models = (given, local)
        exposures = [ItemExposure(self.dataset.item_num, cutoffs(given)) for _ in models]
        evaluated = loader.dataset.inter_feat[self.dataset.uid_field].numpy() if loader else np.zeros(0, dtype=np.int64)
        watches = [ModelWatch(model.item_rows(), evaluated, self.config["seed"]) for model in models]
        seen = []
        for interaction, _, _, positives in loader or ():
            asked = given.lengths(interaction[given.model.ITEM_SEQ]).cpu() > 0
            if not asked.any():
                continue
            here = interaction[asked]
            seen.append(here[self.dataset.uid_field].cpu().numpy())
            for model, exposure, watch in zip(models, exposures, watches, strict=True):
                scores = self._ranked(model, given.known, here, positives[asked])
                exposure.add(scores)
                watch.add(scores, model.states(here), here[self.dataset.uid_field])
        if not seen:
            raise DataError(
                f"dataset '{self.config['dataset']}' has no user to ask the model for: expected one with 3 items"
            )
        popularity = self.dataset.split.train.only(users).popularity()
        counted = Evidence(exposures[0].counts, exposures[1].counts, popularity, exposures[0].users)
        people = np.concatenate(seen)
        views = [
            watch.view(clustered=model is local).arrays(self.dataset.user_fields, people)
            for model, watch in zip(models, watches, strict=True)
        ]
        return replace(counted, asked=people, **side_by_side(*views))

    def _tests(self, given: GivenModel, local: GivenModel) -> RaggedSequentialDataset:
        """A row for each tested user, with all that either model reads; where items are lacking, those before, too."""
        longest = max(model.model.max_seq_length for model in (given, local))
        longest *= 1 if bool(given.known[1:].all()) else _FURTHER_BACK
        if longest == self.test.max_item_list_len:
            return self.test
        return self.dataset.copy(self.dataset.evaluation_rows(self.dataset.split.test, longest))

    def had(self, items: Int) -> Mask:
        """``[n_users, T]`` who has had each of the ``T`` items before the test."""
        split = self.dataset.split
        return split.before(split.test).owners(items)

    def _ranked(
        self, model: GivenModel, known: torch.Tensor, interaction: Any, positives: torch.Tensor
    ) -> torch.Tensor:
        scores = model.scores(interaction)
        if not torch.isfinite(scores[:, known]).all():
            raise DataError("a score of the model is not finite: expected weights that give numbers")
        scores = torch.where(known, scores, -torch.inf)
        users, history = (interaction[name].cpu().numpy() for name in (self.dataset.uid_field, HISTORY_LENGTH))
        return self._protocol.restrict(scores, users, history, positives.to(scores.device))

    @cached_property
    def _protocol(self) -> RankingProtocol:
        split, none = self.dataset.split, np.zeros(0, dtype=np.int64)
        return RankingProtocol(split.full, none, self.config["mask_history"], None, self.config["seed"])


def cutoffs(given: GivenModel) -> list[int]:
    """Lengths of the lists that are compared: shorter than the items both sides have, all of which a longer one holds.

    Raises:
        DataError: They have too few.
    """
    common = int(given.known.sum())
    lengths = [n for n in CUTOFFS if n < common]
    if not lengths:
        raise DataError(
            f"expected more than {min(CUTOFFS)} items that the model and the dataset both have, found {common}"
        )
    return lengths


def prepare_platform(config: AttackConfig) -> Platform:
    """Read the platform's data.

    Raises:
        DataError: A file, field or token is missing.
    """
    dataset = create_dataset(config)
    train, valid, test = dataset.build()
    nobody = np.zeros(0, dtype=np.int64)
    threat = Threat(configured_targets(config, dataset, dataset.split.train), nobody)
    return Platform(config, dataset, train, valid, test, threat)
