"""Exposure metrics, their registration with RecBole, and the ranking protocols."""

from recbole_attack.evaluator.collector import AttackCollector
from recbole_attack.evaluator.metrics import EXPOSURE_METRICS, TargetMetric, register_metric, register_metrics
from recbole_attack.evaluator.protocol import RankingProtocol

__all__ = [
    "EXPOSURE_METRICS",
    "AttackCollector",
    "RankingProtocol",
    "TargetMetric",
    "register_metric",
    "register_metrics",
]
