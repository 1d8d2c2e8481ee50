"""Defences of the server, of the clients and of the platform."""

from recbole_attack.defense.aggregator import NEEDS, Aggregate, Aggregator
from recbole_attack.defense.aggregators import AGGREGATORS, PARTS, configured_aggregator
from recbole_attack.defense.client_defenses import (
    CLIENT_DEFENSES,
    ClientDefense,
    Remembering,
    Spreading,
    configured_client_defense,
)
from recbole_attack.defense.client_detection import CLIENT_DETECTORS, Sent
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.detection import CUTOFFS, DETECTORS
from recbole_attack.defense.evidence import Detection, Detector, Evidence
from recbole_attack.defense.gram import gram_matrix
from recbole_attack.defense.judging import Judged, Known
from recbole_attack.defense.mixing import PRE_AGGREGATORS, MixingRule, Mixture
from recbole_attack.defense.rfa import MEAN_WEIGHTS, STARTS
from recbole_attack.defense.screening import refusal, screen, squared_norms, value_reasons
from recbole_attack.defense.support import VOTES, Support
from recbole_attack.defense.weighting import Weighting, WeightingRule

__all__ = [
    "AGGREGATORS",
    "CLIENT_DEFENSES",
    "CLIENT_DETECTORS",
    "CUTOFFS",
    "DETECTORS",
    "MEAN_WEIGHTS",
    "NEEDS",
    "PARTS",
    "PRE_AGGREGATORS",
    "STARTS",
    "VOTES",
    "Aggregate",
    "Aggregator",
    "ClientDefense",
    "CoordinateRule",
    "Detection",
    "Detector",
    "Evidence",
    "Judged",
    "Known",
    "MixingRule",
    "Mixture",
    "Remembering",
    "Sent",
    "Spreading",
    "Support",
    "Weighting",
    "WeightingRule",
    "configured_aggregator",
    "configured_client_defense",
    "gram_matrix",
    "refusal",
    "screen",
    "squared_norms",
    "value_reasons",
]
