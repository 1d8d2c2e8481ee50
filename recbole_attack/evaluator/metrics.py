"""Exposure as RecBole metrics: ``ER``, ``Target_NDCG`` and ``Exposure_Share``, each ``@k`` for every ``topk``.

With ``_In`` or ``_Out`` behind its name, one of them or ``Hit`` or ``NDCG`` counts target users only, or all others
only; ``Invisibility`` compares the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from recbole.evaluator.base_metric import AbstractMetric, TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import NDCG, Hit
from recbole.evaluator.register import metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.utils import EvaluatorType

from recbole_attack.evaluator.exposure import Mask, exposure_ratio, exposure_share, invisibility, target_ndcg
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown


def register_metric(name: str, metric: type[AbstractMetric]) -> None:
    """Make a metric known to RecBole by name, so that ``metrics: [<name>]`` finds it.

    RecBole itself has no such entry. Besides RecBole's own ``metric_need`` keys, a metric may ask for
    ``rec.target_rank`` and ``rec.target_eligible`` (``[U, T]``, see :mod:`recbole_attack.evaluator.exposure`),
    ``rec.users`` (``[U]`` user ids), ``rec.target_user`` (``[U]``, whether the attacker means the user) and
    ``rec.list_length`` (``[U]``, how long the user's list is). Behind a list's end ``rec.items`` holds 0.
    Registering the same class again changes nothing.

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


def result_keys(name: str, topk: Sequence[int]) -> set[str]:
    """Keys under which a metric may report: RecBole's own either at every cut-off or without one.

    Args:
        name: Of a known metric, any case; of one that is neither RecBole's nor derived from its or ours, both.
        topk: The cut-offs.
    """
    metric, key = metrics_dict[name.lower()], name.lower()
    at_cut_offs = {f"{key}@{k}" for k in topk}
    if issubclass(metric, (TopkMetric, TargetMetric)):
        return at_cut_offs
    if metric.__module__ == Hit.__module__:
        return at_cut_offs if {"rec.topk", "rec.items"} & {*metric.metric_need} else {key}
    return {key, *at_cut_offs}


def score_of(result: Mapping[str, float], name: str) -> float:
    """The figure of a metric among those that were measured.

    Raises:
        ConfigError: It is not among them.
    """
    if name not in result:
        known = f"expected one of {', '.join(result)}{did_you_mean(name, result)}"
        raise ConfigError(f"valid_metric {shown(name)} is not measured: {known}")
    return result[name]


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
    """Exposure ratio as a share of the largest one that lists of K allow."""

    key = "exposure_share"
    measure = staticmethod(exposure_share)


class Invisibility(TargetMetric):
    """How many times as exposed targets are to target users: the mean of in / out over ER and NDCG.

    ``invisibility@k`` for every cut-off, ``invisibility`` over all of ``topk`` (the paper's lambda with ``[5, 10]``),
    both NaN where a ratio is undefined, and ``invisibility_defined``, the number of defined ratios of
    ``2 * len(topk)``. See :func:`~recbole_attack.evaluator.exposure.invisibility`.
    """

    key = "invisibility"
    metric_need: ClassVar[list[str]] = [*TargetMetric.metric_need, "rec.target_user"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        ranks, eligible = (dataobject.get(f"rec.target_{name}").numpy() for name in ("rank", "eligible"))
        inside = dataobject.get("rec.target_user").numpy()[:, None]

        def exposure(users: Mask) -> list[list[float]]:
            return [
                [measure(ranks, eligible & users, k) for measure in (exposure_ratio, target_ndcg)] for k in self.topk
            ]

        sides = np.array([exposure(inside), exposure(~inside)])
        value, defined = invisibility(*sides)
        values = {f"{self.key}@{k}": invisibility(*sides[:, i])[0] for i, k in enumerate(self.topk)}
        rounded = {key: round(number, self.decimal_place) for key, number in {**values, self.key: value}.items()}
        return {**rounded, f"{self.key}_defined": float(defined)}


def of_group(name: str, metric: type[AbstractMetric], inside: bool) -> type[AbstractMetric]:
    """A metric over target users only, or over all others only; NaN when there is none.

    Args:
        name: The metric's name.
        metric: Measures users by the rows of what it needs (``rec.topk``, ``rec.target_rank``, ...).
        inside: Whether target users count, or the others.

    Returns:
        A metric that reports ``<key>_in@k`` or ``<key>_out@k`` where ``metric`` reports ``<key>@k``.
    """
    side, users = ("in", "target users") if inside else ("out", "users outside the target group")

    def calculate_metric(self: AbstractMetric, dataobject: Any) -> dict[str, float]:
        rows = dataobject.get("rec.target_user") == inside
        empty = not rows.any()
        part = DataStruct()
        for need in metric.metric_need:  # of an empty group only the keys are wanted
            part.set(need, dataobject.get(need)[rows | empty])
        values = metric.calculate_metric(self, part)
        return {key.replace("@", f"_{side}@"): float("nan") if empty else value for key, value in values.items()}

    attributes = {
        "__doc__": f"{name} over {users} only.",
        "metric_need": [*metric.metric_need, "rec.target_user"],
        "calculate_metric": calculate_metric,
    }
    return type(f"{metric.__name__}{side.title()}", (metric,), attributes)


_OVERALL: dict[str, type[AbstractMetric]] = {"ER": ER, "Target_NDCG": TargetNDCG, "Exposure_Share": ExposureShare}
EXPOSURE_METRICS: dict[str, type[AbstractMetric]] = {
    **_OVERALL,
    **{
        f"{name}_{side}": of_group(name, metric, side == "In")
        for name, metric in {**_OVERALL, "Hit": Hit, "NDCG": NDCG}.items()
        for side in ("In", "Out")
    },
    "Invisibility": Invisibility,
}
"""This package's metrics by the name ``metrics`` takes."""


def register_metrics() -> None:
    """Register this package's metrics; calling it again changes nothing."""
    for name, metric in EXPOSURE_METRICS.items():
        register_metric(name, metric)
