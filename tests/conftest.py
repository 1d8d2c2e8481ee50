"""Fixtures all tests share: the tiny dataset, and a working directory of each test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from recbole_attack import AttackConfig
from recbole_attack.stages import STAGES

# A shared machine can be slow at any moment; how long an example takes says nothing about the code. New examples are
# looked for at the desk: a change is judged on the same ones every time.
settings.register_profile("shared machine", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("shared machine")

DATASETS = Path(__file__).resolve().parent.parent / "dataset"
SMALL = {
    "data_path": str(DATASETS),
    "dataset": "tiny",
    "hidden_size": 8,
    "inner_size": 16,
    "MAX_ITEM_LIST_LENGTH": 12,
    "epochs": 2,
    "clients_per_round": 16,
    "malicious_ratio": 0.05,
    "show_progress": False,
}
PRETRAIN = {
    "scenario": "pretrain",
    "platform_users": "random:0.4:9",
    "target_items": "random:3",
    "target_group": "gender=M",
    "prompt_fields": ["age", "gender"],
    "train_batch_size": 200,
    **{f"{stage}_epochs": 1 for stage in STAGES},
}


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, on one thread: RecBole writes its logs where it stands."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def small() -> Callable[..., dict[str, Any]]:
    """Parameters of a run that takes about a second, with changes."""
    return lambda **changes: {**SMALL, **changes}


@pytest.fixture
def pretrain(small: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The same of the pre-training scenario: a provider's and a platform's users, every stage one epoch."""
    return lambda **changes: small(**{**PRETRAIN, **changes})


@pytest.fixture
def config(small: Callable[..., dict[str, Any]]) -> Callable[..., AttackConfig]:
    """A configuration of a small run, with changes."""
    return lambda **changes: AttackConfig(config_dict=small(**changes))
