"""Defences of the server, of the clients and of the platform."""

from recbole_attack.defense.aggregators import AGGREGATORS, Aggregate, Aggregator
from recbole_attack.defense.client_defenses import CLIENT_DEFENSES, ClientDefense
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.detection import DETECTORS, Detection, Detector, Evidence
from recbole_attack.defense.screening import screen, squared_norms
from recbole_attack.defense.weighting import STARTS, Weighting, WeightingRule, gram_matrix

__all__ = [
    "AGGREGATORS",
    "CLIENT_DEFENSES",
    "DETECTORS",
    "STARTS",
    "Aggregate",
    "Aggregator",
    "ClientDefense",
    "CoordinateRule",
    "Detection",
    "Detector",
    "Evidence",
    "Weighting",
    "WeightingRule",
    "gram_matrix",
    "screen",
    "squared_norms",
]
