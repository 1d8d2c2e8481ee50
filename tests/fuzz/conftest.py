"""Harnesses are scripts beside the package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """``harness(name)``: a module of theirs."""
    monkeypatch.syspath_prepend(str(FUZZ))
    return importlib.import_module
