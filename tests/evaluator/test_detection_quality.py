"""Quality of a detection, by counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.evaluator import detection_quality

CASES = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-2, 2), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(1, n), unique=True, max_size=n),
    )
)


def average_precision(scores, targets):
    """Precision at every target's score, equal scores together, averaged over targets."""
    found = []
    for target in targets:
        listed = [item for item in scores if scores[item] >= scores[target]]
        found.append(sum(item in targets for item in listed) / len(listed))
    return sum(found) / len(found)


@given(CASES)
def test_quality_by_counting(case):
    values, flags, targets = case
    scores = dict(enumerate(values, 1))
    flagged = {item for item, flag in enumerate(flags, 1) if flag}
    result = detection_quality(np.array([-np.inf, *values]), np.array([True, *flags]), np.array(targets, dtype=int))
    hit = len(flagged & set(targets))
    precision, recall = hit / len(flagged) if flagged else 0, hit / len(targets) if targets else 0
    expected = {"precision": precision, "recall": recall, "flagged": len(flagged)}
    expected["f1"] = 2 * precision * recall / (precision + recall) if hit else 0
    others = set(scores) - set(targets)
    expected["auroc"] = expected["average_precision"] = math.nan
    if targets and others:
        wins = [(scores[t] > scores[o]) + 0.5 * (scores[t] == scores[o]) for t in targets for o in others]
        expected["auroc"] = sum(wins) / len(wins)
        expected["average_precision"] = average_precision(scores, targets)
    assert result == pytest.approx(expected, nan_ok=True)


def test_the_papers_f1_follows_from_its_precision_and_recall():
    """Table 3, CIKM, BRA: precision 0.563, recall 0.4, F1 0.467; 300 targets."""
    flagged = np.zeros(1001, dtype=bool)
    flagged[1:121] = flagged[901:994] = True
    result = detection_quality(flagged.astype(float), flagged, np.arange(1, 301))
    assert result["recall"] == 0.4
    assert result["precision"] == pytest.approx(0.563, abs=5e-4)
    assert result["f1"] == pytest.approx(0.467, abs=1e-3)
