"""Defences of the server."""

from recbole_attack.defense.aggregators import AGGREGATORS, Aggregate, Aggregator
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.screening import screen, squared_norms
from recbole_attack.defense.weighting import STARTS, Weighting, WeightingRule, gram_matrix

__all__ = [
    "AGGREGATORS",
    "STARTS",
    "Aggregate",
    "Aggregator",
    "CoordinateRule",
    "Weighting",
    "WeightingRule",
    "gram_matrix",
    "screen",
    "squared_norms",
]
