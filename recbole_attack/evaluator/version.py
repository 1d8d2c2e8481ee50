"""The version of what the numbers mean, and what parameters mean that came since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVALUATOR_VERSION = 1
"""Bumped whenever the same parameters and data give other numbers than before: when a metric, a ranking protocol, a
split, a selector, a model, a loss, an attack or a rule is defined anew, or draws other random numbers.

Stored results are found by it, and results of different versions never stand in one table.
"""

NEUTRAL: dict[str, Any] = {
    **{"rounds_per_epoch": None, "eval_users": None, "claimed_interactions": None},
    **{"pre_aggregator": "none", "upload": "computed", "client_detectors": {}, "repair": "none"},
    **{"quota_topk": None, "quota_lengths": "even", "asked_lengths": "even"},
}
"""Parameter that came after stores had been written -> the value with which everything is as it was without it.

An arm with that value is the arm that was stored before. A parameter that has no such value changes what is stored, and
asks for another :data:`EVALUATOR_VERSION`.
"""

_OF_RECIPES = {
    ("aggregator", "exposure_quota"): ("quota_topk", "quota_lengths"),
    **{("attack", name): ("asked_lengths",) for name in ("covert", "uncounted")},
}
"""Those of them that today's recipe has another value of, and which recipe that is."""


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a record, with those its recipes have today at the values with which it was made.

    >>> completed({"aggregator": "exposure_quota", "quota_topk": 5})
    {'quota_topk': 5, 'quota_lengths': 'even', 'aggregator': 'exposure_quota'}
    """
    later = [key for (kind, name), keys in _OF_RECIPES.items() if config.get(kind) == name for key in keys]
    return {**{key: NEUTRAL[key] for key in later}, **config}
