"""Independent libraries that rules are tested against."""

from __future__ import annotations

from typing import Any

import pytest
from peers import of_byzfl


@pytest.fixture(scope="session")
def byzfl() -> Any:
    """byzfl's aggregators."""
    return of_byzfl("aggregators.aggregators")


@pytest.fixture(scope="session")
def byzfl_mixing() -> Any:
    """byzfl's pre-aggregators."""
    return of_byzfl("aggregators.preaggregators")
