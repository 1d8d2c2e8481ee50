"""A victim and clients for the tests of per-client updates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from recbole_attack.data import TrainBatch
from recbole_attack.experiment import prepare_training


@pytest.fixture
def victim(config: Callable[..., Any]) -> Callable[..., Any]:
    """A SASRec in training mode whose weights are large enough for every parameter to matter; no dropout by default."""

    @cache
    def build(dropout: float = 0.0, scale: float = 0.8) -> Any:
        settings = config(hidden_dropout_prob=dropout, attn_dropout_prob=dropout)
        model = prepare_training(settings).trainer(settings).model.train()
        generator = torch.Generator().manual_seed(8)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, scale, generator=generator)
        return model

    return build


@pytest.fixture
def clients_of() -> Callable[..., TrainBatch]:
    """One client for each length, with random items among ``1..n_items-1``; few items are repeated and shared."""

    def build(lengths: list[int], seed: int = 0, n_items: int = 40) -> TrainBatch:
        fields = np.random.default_rng(seed).integers(1, n_items, (3, len(lengths), max(lengths)))
        fields[:, np.arange(max(lengths)) >= np.array(lengths)[:, None]] = 0
        return TrainBatch(*torch.from_numpy(fields))

    return build
