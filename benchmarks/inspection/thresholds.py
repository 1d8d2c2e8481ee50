"""What is flagged above a score, how right that is, and which score to choose on models whose targets are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Flags:
    """What was flagged of one model: how many items, how many of them promoted ones, and how many of these it has."""

    flagged: int
    right: int
    targets: int

    @property
    def f1(self) -> float:
        """``2 right / (flagged + targets)``; NaN of an honest model, which has nothing to find."""
        return 2 * self.right / (self.flagged + self.targets) if self.targets else float("nan")


def flags(scores: Floats, promoted: Mask, threshold: float) -> Flags:
    """Flag what is above a threshold.

    Args:
        scores: ``[n]`` of the items of a model.
        promoted: ``[n]``.
        threshold: The highest score that is not flagged.
    """
    flagged = scores > threshold
    return Flags(int(flagged.sum()), int((flagged & promoted).sum()), int(promoted.sum()))


@dataclass(frozen=True)
class Summary:
    """What was flagged of some models.

    Attributes:
        models: How many they are.
        caught: Those of which something was flagged.
        flagged: Items flagged in all of them.
        precision: Share of promoted items among these; NaN where nothing was flagged.
        recall: Share of the promoted items that were flagged; NaN where none is promoted.
        f1: Mean over models; NaN where none is promoted.
    """

    models: int
    caught: int
    flagged: int
    precision: float
    recall: float
    f1: float


def summary(found: Sequence[Flags]) -> Summary:
    """Count items over all models, and take the mean of their F1."""
    flagged, right, targets = (sum(getattr(of, name) for of in found) for name in ("flagged", "right", "targets"))
    return Summary(
        len(found),
        sum(of.flagged > 0 for of in found),
        flagged,
        right / flagged if flagged else float("nan"),
        right / targets if targets else float("nan"),
        sum(of.f1 for of in found) / len(found) if targets else float("nan"),
    )


def best_threshold(scores: Sequence[Floats], promoted: Sequence[Mask]) -> float:
    """The threshold with the highest F1 of the items of some models, taken together.

    Whatever is flagged of an honest model counts as a wrong item. Of equally good ones it is that which flags fewest.

    Args:
        scores: ``[n]`` of each model.
        promoted: ``[n]`` of each; an item of one of them at least is.

    Returns:
        Halfway between the lowest score that is flagged and the next one below; minus infinity if all are.
    """
    all_scores, right = np.concatenate(scores), np.concatenate(promoted)
    order = np.argsort(-all_scores, kind="stable")
    below = np.append(all_scores[order][1:], -np.inf)
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + right.sum())
    last = np.where(all_scores[order] > below, f1, -1.0).argmax()  # equal scores are flagged together
    return float((all_scores[order][last] + below[last]) / 2)
