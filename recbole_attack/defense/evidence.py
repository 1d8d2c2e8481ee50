"""What a platform can see of a model it was given, and what a detector says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from recbole_attack.data.sequences import Int

Floats = NDArray[np.float64]
Rows = NDArray[Any]
"""Floats of any precision."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """What a platform sees of a model it was given.

    What stands in pairs is of the model and of the platform's own one, in this order; a part is ``None`` where it was
    not looked at, as in arms that were stored before it was, or where the model does not tell.

    Attributes:
        pretrained: ``[n_items, C]`` number of the platform's users whose top N holds the item under the pre-trained
            model, for ``C`` cut-offs N, ascending and shorter than the catalogue; the padding item 0 is not read.
        local: ``[n_items, C]`` the same under the platform's own model.
        popularity: ``[n_items]`` interactions with each item on the platform.
        users: Number of users counted, at least 1.
        rows: Two ``[n_items, H]``, the item embeddings up to a factor; their sizes may differ. NaN in rows of items
            that the model lacks.
        pushes: Two ``[n_items]``, how far users' states have to be pushed along an item's embedding to list it, see
            :func:`~recbole_attack.evaluator.model_view.smallest_pushes`; NaN where nothing can be said.
        lists: Two ``[users, K]``, the items of each user's list, 0 past its end; one user a row, in both.
        groups: ``[users, A]`` in which group a user is, by each of ``A`` divisions of the users; 0 in none.
        asked: ``[users]`` ids of the users, in the order of lists and groups; no detector reads them.
    """

    pretrained: Int
    local: Int
    popularity: Int
    users: int
    rows: tuple[Rows, Rows] | None = None
    pushes: tuple[Rows, Rows] | None = None
    lists: tuple[Int, Int] | None = None
    groups: Int | None = None
    asked: Int | None = None


@dataclass(frozen=True)
class Detection:
    """What a detector says.

    Attributes:
        scores: ``[n_items]``, higher is more suspicious; minus infinity for the padding item.
        flagged: ``[n_items]``; of two items the more suspicious one is flagged if the other is.
    """

    scores: Floats
    flagged: Mask


Detector = Callable[..., Detection | None]
"""``(evidence, seed, **parameters) -> Detection``; ``None`` where the evidence lacks what the detector reads."""


def popularity_classes(popularity: Int) -> NDArray[np.intp]:
    """``[n]`` class of each item: equal parts of the popularity ranking, equally popular items together.

    Up to ten classes, of about a hundred items or more where popularities differ: many equally popular items may leave
    few to the classes beside theirs.
    """
    count = min(max(len(popularity) // 100, 1), 10)
    below = (rankdata(popularity) - 0.5) / len(popularity)
    return (below * count).astype(np.intp)


def detection(scores: Floats, flagged: Mask) -> Detection:
    """Scores and flags of all items from those of items 1 and up."""
    return Detection(np.concatenate([[-np.inf], scores]), np.concatenate([[False], flagged]))
