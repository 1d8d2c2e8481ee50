"""Independent libraries that ours is tested against."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


def of_byzfl(module: str) -> Any:
    """A module of byzfl's, without its benchmarks, which the package imports and which want a torchvision that fits."""
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        assert spec is not None
        bare = ModuleType("byzfl")
        bare.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["byzfl"] = bare
    return importlib.import_module(f"byzfl.{module}")
