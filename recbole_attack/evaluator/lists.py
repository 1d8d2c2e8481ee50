"""RecBole's metrics of whole lists, right also where a list ends early.

A list ends early when fewer items compete than it has places: a small catalogue, a long history that is not recommended
again, few sampled candidates. RecBole's matrix of listed items has no such end; here it holds 0 behind it, and its
metrics would take that for one more item, shown to everybody and never bought. Full lists give RecBole's figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.evaluator import metrics as recbole
from recbole.evaluator.base_metric import AbstractMetric
from recbole.evaluator.evaluator import Evaluator


def listed_only(items: NDArray[np.integer]) -> NDArray[np.integer]:
    """``[U, K]`` items, 0 behind a list's end -> ``[1, n]`` the listed ones, for what only counts items."""
    return items[items > 0][None]


def go_on(values: NDArray[Any], lengths: NDArray[np.integer]) -> NDArray[np.floating]:
    """Continue every list with its own mean, so that a mean over K places is one over the listed items.

    Args:
        values: ``[U, K]``, a value for each place; 0 behind the list's end.
        lengths: ``[U]`` numbers of listed items, at least 1.
    """
    means = values.sum(axis=1) / lengths
    return np.where(np.arange(values.shape[1]) < lengths[:, None], values, means[:, None])


class ItemCoverage(recbole.ItemCoverage):
    """Share of the catalogue that is listed."""

    def get_coverage(self, item_matrix: NDArray[np.integer], num_items: int) -> float:
        return super().get_coverage(listed_only(item_matrix), num_items)


class ShannonEntropy(recbole.ShannonEntropy):
    """Entropy of the listed items."""

    def get_entropy(self, item_matrix: NDArray[np.integer]) -> float:
        return super().get_entropy(listed_only(item_matrix))


class GiniIndex(recbole.GiniIndex):
    """Inequality of how often items are listed."""

    def get_gini(self, item_matrix: NDArray[np.integer], num_items: int) -> float:
        return super().get_gini(listed_only(item_matrix), num_items)


class AveragePopularity(recbole.AveragePopularity):
    """Mean popularity of a list's items."""

    def get_pop(self, item_matrix: NDArray[np.integer], item_count: dict[int, int]) -> NDArray[np.floating]:
        return go_on(super().get_pop(item_matrix, item_count), (item_matrix > 0).sum(axis=1))


class TailPercentage(recbole.TailPercentage):
    """Share of rare items in a list."""

    def get_tail(self, item_matrix: NDArray[np.integer], count_items: dict[int, int]) -> NDArray[np.floating]:
        return go_on(super().get_tail(item_matrix, count_items), (item_matrix > 0).sum(axis=1))


class Precision(recbole.Precision):
    """Share of a list's items that are relevant."""

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        hits, _ = self.used_info(dataobject)
        lengths = dataobject.get("rec.list_length").numpy()
        return self.topk_result("precision", self.metric_info(go_on(hits, lengths)))


_METRICS: dict[str, type[AbstractMetric]] = {
    metric.__name__.lower(): metric
    for metric in (ItemCoverage, ShannonEntropy, GiniIndex, AveragePopularity, TailPercentage, Precision)
}


class ListEvaluator(Evaluator):
    """RecBole's evaluator with the metrics above; those of all other names are as registered."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.metric_class |= {name: _METRICS[name](config) for name in self.metrics if name in _METRICS}
