"""Exposure metrics, their registration with RecBole, and the ranking protocols."""

from recbole_attack.evaluator.collector import AttackCollector
from recbole_attack.evaluator.detection import detection_quality
from recbole_attack.evaluator.exposure import exposure_gaps, invisibility
from recbole_attack.evaluator.item_exposure import ItemExposure
from recbole_attack.evaluator.lists import ListEvaluator
from recbole_attack.evaluator.metrics import (
    EXPOSURE_METRICS,
    TargetMetric,
    register_metric,
    register_metrics,
    result_keys,
    score_of,
)
from recbole_attack.evaluator.model_view import ModelView, ModelWatch
from recbole_attack.evaluator.outcomes import OUTCOMES, Outcomes, read_outcomes, write_outcomes
from recbole_attack.evaluator.protocol import RankingProtocol
from recbole_attack.evaluator.significance import ROUNDED, PairedTest, paired_t_test
from recbole_attack.evaluator.standard_errors import standard_errors

__all__ = [
    "EXPOSURE_METRICS",
    "OUTCOMES",
    "ROUNDED",
    "AttackCollector",
    "ItemExposure",
    "ListEvaluator",
    "ModelView",
    "ModelWatch",
    "Outcomes",
    "PairedTest",
    "RankingProtocol",
    "TargetMetric",
    "detection_quality",
    "exposure_gaps",
    "invisibility",
    "paired_t_test",
    "read_outcomes",
    "register_metric",
    "register_metrics",
    "result_keys",
    "score_of",
    "standard_errors",
    "write_outcomes",
]
