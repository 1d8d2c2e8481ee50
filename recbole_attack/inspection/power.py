"""Whether an item that is shown to everybody would be noticed: what "none is flagged" is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int
from recbole_attack.defense import Evidence
from recbole_attack.experiment.detection import detected_by
from recbole_attack.inspection.calibration import is_flagged, p_values

Mask = NDArray[np.bool_]

TRIED = 20
"""Items that are tried, one at a time."""

BLIND = frozenset({"spectral"})
"""Detectors that do not read whom items are shown to."""


def noticed(
    evidence: Evidence,
    had: Callable[[Int], Mask],
    known: Mask,
    clean: NDArray[np.float64],
    detector: str,
    rate: Fraction,
    config: Mapping[str, Any],
) -> tuple[int, int]:
    """How many of some items would be flagged if the model showed them to everybody, and how many were tried.

    All else is as it is. Tried are items from the least to the most shown one, in equal steps; none is with a detector
    that does not read whom items are shown to.

    Args:
        evidence: What was seen of the model, and who was asked.
        had: ``[T]`` items -> ``[n_users, T]`` who has had them, and so is not shown them.
        known: ``[n_items]`` which items it has.
        clean: ``[m]`` highest score of each clean model.
        detector: The one that decides.
        rate: Largest p-value that is flagged.
        config: The seed, and the parameters of detectors.
    """
    if detector in BLIND:
        return 0, 0
    items = np.flatnonzero(known)
    items = items[np.argsort(evidence.local[items, -1], kind="stable")]
    tried = items[np.unique(np.linspace(0, len(items) - 1, TRIED).round().astype(int))]
    without = ~had(tried)[evidence.asked]
    scores = [_score(evidence, item, of, detector, config) for item, of in zip(tried, without.T, strict=True)]
    p = [p_values(score, clean)[0] for score in scores]
    return int(is_flagged(np.array(p), rate).sum()), len(tried)


def _score(
    evidence: Evidence, item: int, without: Mask, detector: str, config: Mapping[str, Any]
) -> NDArray[np.float64]:
    """``[1]`` what a detector says of an item that all users without it find in all their lists."""
    said = detected_by(detector, shown_to_everybody(evidence, item, without), config)
    assert said is not None  # it reads what it read of the model as it is
    return said.scores[[item]]


def shown_to_everybody(evidence: Evidence, item: int, without: Mask) -> Evidence:
    """What would be seen if a model showed an item to everybody who has not had it.

    Counts grow to that, no push is needed any more, and it takes the last place of their lists.

    Args:
        evidence: What was seen.
        item: The item.
        without: ``[users]`` who of those that were asked has not had it.
    """
    shown = evidence.pretrained.copy()
    shown[item] = np.maximum(shown[item], without.sum())
    changed = replace(evidence, pretrained=shown)
    if evidence.pushes is not None:
        pushes = evidence.pushes[0].copy()
        pushes[item] = np.minimum(pushes[item], 0.0)
        changed = replace(changed, pushes=(pushes, evidence.pushes[1]))
    if evidence.lists is not None:
        lists, own = evidence.lists[0].copy(), evidence.lists[1]
        lists[without & ~(lists == item).any(axis=1), -1] = item
        changed = replace(changed, lists=(lists, own))
    return changed
