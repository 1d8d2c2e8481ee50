"""Victims of the small configuration, and RecBole's own beside them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.data import TrainBatch
from recbole_attack.experiment import TrainingExperiment, prepare_training
from recbole_attack.model import HOSTS

LENGTH = 12  # MAX_ITEM_LIST_LENGTH of the fixtures
N_ITEMS = 40
SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 16},
    "LightSANs": {"hidden_size": 8, "inner_size": 16},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8},
    "NARM": {"hidden_size": 6, "embedding_size": 8},
    "STAMP": {"embedding_size": 8},
    "SINE": {"embedding_size": 8},
}


class Pair(NamedTuple):
    """A victim and RecBole's model of the same name with the same large weights, neither with dropout."""

    ours: Any
    host: Any
    experiment: TrainingExperiment

    def batch(self, every: int = 4) -> TrainBatch:
        """Users of every length, the longest cut to ``LENGTH``."""
        data = self.experiment.train_data
        return data.batch(data.trainable_users[::every], data.negatives(0), data.draws("masks", 0))


def settings_of(values: dict[str, Any], model: str, **changes: Any) -> AttackConfig:
    """Small parameters ``values`` with the sizes ``model`` has."""
    common = {key: value for key, value in values.items() if key not in ("hidden_size", "inner_size")}
    return AttackConfig(model, config_dict={**common, **SIZES[model], **changes})


@pytest.fixture
def pair(small: Callable[..., dict[str, Any]]) -> Callable[..., Pair]:
    """``pair(model, **changes)``."""

    def build(model: str, **changes: Any) -> Pair:
        settings = settings_of(small(), model, **changes)
        experiment = prepare_training(settings)
        ours = experiment.model(settings).eval()
        theirs = ChainMap({} if model not in ("SASRec", "GRU4Rec") else {"loss_type": "CE"}, settings.final_config_dict)
        named = dict.fromkeys(("MASK_ITEM_SEQ", "POS_ITEMS", "NEG_ITEMS", "MASK_INDEX"))
        host = HOSTS[model](ChainMap(theirs, named), experiment.dataset).eval()
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.normal_(0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
        host.load_state_dict(ours.state_dict())
        return Pair(ours, host, experiment)

    return build
