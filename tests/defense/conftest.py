"""Independent libraries that rules are tested against."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def byzfl() -> Any:
    """byzfl's aggregators without its benchmarks, which want a torchvision that fits."""
    spec = importlib.util.find_spec("byzfl")
    assert spec is not None
    bare = ModuleType("byzfl")
    bare.__path__ = list(spec.submodule_search_locations or [])
    sys.modules.setdefault("byzfl", bare)
    return importlib.import_module("byzfl.aggregators.aggregators")


@pytest.fixture(scope="session")
def byzfl_mixing(byzfl: Any) -> Any:
    """byzfl's pre-aggregators."""
    return importlib.import_module("byzfl.aggregators.preaggregators")
