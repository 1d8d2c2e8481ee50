"""What the absence of flags is worth: an item that everybody is shown, against a literal reading."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from recbole_attack.defense import DETECTORS, Evidence
from recbole_attack.inspection.power import noticed

N_ITEMS, USERS = 31, 40
CONFIG = {"seed": 1}


@pytest.fixture
def evidence():
    draw = np.random.default_rng(3)
    counts = [np.sort(draw.integers(0, USERS, (N_ITEMS, 2)), axis=1) for _ in range(2)]
    for of in counts:
        of[0] = 0
    popularity, asked = draw.integers(0, 10, N_ITEMS), draw.permutation(2 * USERS)[:USERS]
    pushes = tuple(draw.normal(size=N_ITEMS) + 1 for _ in range(2))
    lists = tuple(np.array([1 + draw.permutation(N_ITEMS - 1)[:4] for _ in range(USERS)]) for _ in range(2))
    return Evidence(*counts, popularity, USERS, None, pushes, lists, draw.integers(0, 3, (USERS, 2)), asked)


HAD = np.random.default_rng(4).random((2 * USERS, N_ITEMS)) < 0.3
"""Who has had which item, of twice as many users as are asked."""


def had(items):
    return HAD[:, items]


def shown(evidence, item):
    """The same evidence, by loops, had every user without the item been shown it."""
    without = [not HAD[user, item] for user in evidence.asked]
    wanted = sum(without)
    pretrained = evidence.pretrained.tolist()
    pretrained[item] = [max(of, wanted) for of in pretrained[item]]
    pushes = evidence.pushes[0].tolist()
    pushes[item] = min(pushes[item], 0.0)
    lists = evidence.lists[0].tolist()
    for row, lacks in zip(lists, without, strict=True):
        if lacks and item not in row:
            row[-1] = item
    return Evidence(
        *(np.array(pretrained), evidence.local, evidence.popularity, USERS, None),
        *((np.array(pushes), evidence.pushes[1]), (np.array(lists), evidence.lists[1]), evidence.groups),
    )


@pytest.mark.parametrize("detector", [name for name in DETECTORS if name != "spectral"])
def test_it_is_how_many_would_be_flagged_if_everybody_were_shown_them(evidence, detector):
    known = np.arange(N_ITEMS) > 0
    known[5] = False
    order = sorted((item for item in range(1, N_ITEMS) if known[item]), key=lambda item: evidence.local[item, 1])
    tried = [order[round(place)] for place in np.linspace(0, len(order) - 1, 20)]
    scores = []
    for item in tried:
        scores.append(DETECTORS[detector](shown(evidence, item), 1).scores[item])
    clean = np.quantile(scores, [0.2, 0.4, 0.6])
    for k in (1, 2, 3, 4):
        literal = sum(1 + sum(other >= score for other in clean) <= k for score in scores)
        assert noticed(evidence, had, known, clean, detector, Fraction(k, 4), CONFIG) == (literal, 20)
    flagged = 6 if detector == "groups" else 8  # there, items are equally suspicious
    assert noticed(evidence, had, known, clean, detector, Fraction(1, 4), CONFIG) == (flagged, 20)


def test_no_other_detector_is_asked(evidence, monkeypatch):
    for name in DETECTORS.keys() - {"kmeans"}:
        monkeypatch.setitem(DETECTORS, name, None)
    assert noticed(evidence, had, np.arange(N_ITEMS) > 0, np.array([-9.0]), "kmeans", Fraction(1, 2), CONFIG) == (
        20,
        20,
    )


def test_with_a_detector_that_does_not_look_at_exposure_nothing_is_tried(evidence):
    known = np.arange(N_ITEMS) > 0
    assert noticed(evidence, had, known, np.array([0.0]), "spectral", Fraction(1, 2), CONFIG) == (0, 0)


def test_few_items_are_all_tried_once(evidence):
    known = np.isin(np.arange(N_ITEMS), [3, 7, 9])
    assert noticed(evidence, had, known, np.array([-9.0]), "kmeans", Fraction(1, 2), CONFIG) == (3, 3)
    assert noticed(evidence, had, known, np.array([99.0]), "kmeans", Fraction(1, 2), CONFIG) == (0, 3)
