"""Defences of the server."""

from recbole_attack.defense.aggregators import AGGREGATORS, Aggregate, Aggregator, configured_aggregator
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.gram import gram_matrix
from recbole_attack.defense.screening import refusal, screen, squared_norms, value_reasons
from recbole_attack.defense.weighting import STARTS, Weighting, WeightingRule

__all__ = [
    "AGGREGATORS",
    "STARTS",
    "Aggregate",
    "Aggregator",
    "CoordinateRule",
    "Weighting",
    "WeightingRule",
    "configured_aggregator",
    "gram_matrix",
    "refusal",
    "screen",
    "squared_norms",
    "value_reasons",
]
