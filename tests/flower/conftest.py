"""Fixtures of a federation without processes; Flower may be missing, and is imported by what needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recbole_attack import AttackConfig

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}


@pytest.fixture
def settings(config: Callable[..., AttackConfig]) -> Callable[..., AttackConfig]:
    """A configuration of a small run whose numbers do not depend on how clients are batched."""
    return lambda **changes: config(**{**NO_DROPOUT, **changes})


@pytest.fixture
def grid() -> Callable[..., Any]:
    """Makes a :class:`FunctionGrid`."""
    from function_grid import FunctionGrid

    return FunctionGrid


@pytest.fixture
def app_grid() -> Callable[..., Any]:
    """Makes an :class:`AppGrid`."""
    from function_grid import AppGrid

    return AppGrid
