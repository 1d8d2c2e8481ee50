"""Exposure as RecBole metrics: ``ER``, ``Target_NDCG`` and ``Exposure_Share``, each ``@k`` for every ``topk``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from recbole.evaluator.base_metric import AbstractMetric
from recbole.evaluator.register import metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.utils import EvaluatorType

from recbole_attack.errors import ConfigError
from recbole_attack.evaluator.exposure import exposure_ratio, exposure_share, target_ndcg


def register_metric(name: str, metric: type[AbstractMetric]) -> None:
    """Make a metric known to RecBole by name, so that ``metrics: [<name>]`` finds it.

    RecBole itself has no such entry. Besides RecBole's own ``metric_need`` keys, a metric may ask for
    ``rec.target_rank`` and ``rec.target_eligible`` (``[U, T]``, see :mod:`recbole_attack.evaluator.exposure`) and
    ``rec.users`` (``[U]`` user ids). Registering the same class again changes nothing.

    Args:
        name: The name in ``metrics``, any case; result keys are up to the metric.
        metric: A concrete subclass of RecBole's ``AbstractMetric`` with ``metric_type`` and ``metric_need``.

    Raises:
        ConfigError: The class lacks one of them, or the name belongs to another metric.
    """
    key = name.lower()
    for attribute in ("metric_type", "metric_need"):
        if not hasattr(metric, attribute):
            raise ConfigError(f"metric '{name}' ({metric.__name__}) has no attribute '{attribute}'")
    if metrics_dict.get(key, metric) is not metric:
        raise ConfigError(f"metric '{name}' is already registered as {metrics_dict[key].__name__}")
    metrics_dict[key] = metric
    metric_information[key] = metric.metric_need
    metric_types[key] = metric.metric_type
    if metric.smaller and key not in smaller_metrics:
        smaller_metrics.append(key)


class TargetMetric(AbstractMetric):
    """A reduction of the targets' ranks, reported as ``<key>@k``."""

    metric_type = EvaluatorType.RANKING
    metric_need: ClassVar[list[str]] = ["rec.target_rank", "rec.target_eligible"]
    key: ClassVar[str]
    measure: ClassVar[Callable[..., float]]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.topk = config["topk"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        ranks = dataobject.get("rec.target_rank").numpy()
        eligible = dataobject.get("rec.target_eligible").numpy()
        measure = type(self).measure
        return {f"{self.key}@{k}": round(measure(ranks, eligible, k), self.decimal_place) for k in self.topk}


class ER(TargetMetric):
    """Exposure ratio: share of the users who could be shown a target and have it in their top K."""

    key = "er"
    measure = staticmethod(exposure_ratio)


class TargetNDCG(TargetMetric):
    """The same, discounted by the logarithm of the target's rank."""

    key = "target_ndcg"
    measure = staticmethod(target_ndcg)


class ExposureShare(TargetMetric):
    """Exposure ratio as a share of what a list of K can hold."""

    key = "exposure_share"
    measure = staticmethod(exposure_share)


EXPOSURE_METRICS: dict[str, type[TargetMetric]] = {
    "ER": ER,
    "Target_NDCG": TargetNDCG,
    "Exposure_Share": ExposureShare,
}
"""This package's metrics by the name ``metrics`` takes."""


def register_metrics() -> None:
    """Register this package's metrics; calling it again changes nothing."""
    for name, metric in EXPOSURE_METRICS.items():
        register_metric(name, metric)
