"""Experiments of the pre-training scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recbole_attack import AttackConfig
from recbole_attack.experiment import PretrainExperiment, prepare_pretrain


@pytest.fixture
def experiment(pretrain: Callable[..., dict[str, Any]]) -> Callable[..., PretrainExperiment]:
    """``experiment(**changes)``."""
    return lambda **changes: prepare_pretrain(AttackConfig(config_dict=pretrain(**changes)))
