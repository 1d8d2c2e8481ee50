"""What a platform can see of any model besides how often it shows what: embeddings, pushes, lists, kinds of users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream

Floats = NDArray[np.floating]

LIST = 10
"""Length K of the lists that are kept, and that pushes lift items into."""

SHARE = 0.9
"""Share of the users into whose lists a push lifts an item."""

MOST_USERS = 1000
"""Users that are asked how far they are from each item."""

CLUSTERS = 5
"""Clusters of users."""

_LINEAR = 1e-3
"""Share of the largest score up to which a score may differ from the inner product and the item's own constant."""


@dataclass(frozen=True)
class ModelView:
    """A model as a platform sees it. Nothing of size users x items is kept.

    Attributes:
        rows: ``[n_items, H]`` item embeddings as half-precision numbers, of mean square 1 along a row.
        pushes: ``[n_items]``, see :func:`smallest_pushes`; ``None`` where scores are no inner products of states and
            item embeddings, give or take a constant of the item.
        lists: ``[users, K]`` items of each user's list, 0 past its end.
        clusters: ``[users]`` from 1, which users' states are alike; ``None`` where nobody asked.
    """

    rows: NDArray[np.float16]
    pushes: NDArray[np.float32] | None
    lists: NDArray[np.int32]
    clusters: NDArray[np.int32] | None

    def groups(self, fields: Mapping[str, Any], users: Int) -> NDArray[np.int32] | None:
        """``[U, 1 + fields]`` in which cluster each of ``[U]`` users is, and in which group by each user field.

        See :func:`division`; ``None`` without clusters.
        """
        if self.clusters is None:
            return None
        return np.stack([self.clusters, *(division(values[users]) for values in fields.values())], axis=1)

    def arrays(self, fields: Mapping[str, Any], users: Int) -> dict[str, NDArray[Any]]:
        """All that detectors read by name; ``groups`` and ``pushes`` only where they are known.

        Args:
            fields: User field -> ``[n_users]`` values.
            users: ``[U]`` ids of the users of ``lists``.
        """
        found: dict[str, NDArray[Any]] = {"rows": self.rows, "lists": self.lists}
        more = {"groups": self.groups(fields, users), "pushes": self.pushes}
        return found | {name: values for name, values in more.items() if values is not None}


class ModelWatch:
    """Looks on while a model is evaluated, and says what was seen.

    Args:
        item_rows: ``[n_items, H]`` the model's item embeddings; NaN where it lacks the item.
        users: ``[U]`` all users that may come, from whom :data:`MOST_USERS` are drawn.
        seed: What is drawn follows from it.
    """

    def __init__(self, item_rows: torch.Tensor, users: Int, seed: int) -> None:
        self._rows = item_rows.detach()
        order = np.sort(users)
        drawn = stream(seed, "users of pushes").permutation(len(order))[:MOST_USERS]
        self._drawn = torch.from_numpy(np.isin(np.arange(users.max(initial=0) + 1), order[drawn]))
        self._seed = seed
        self._lists: list[torch.Tensor] = []
        self._states: list[torch.Tensor] = []
        self._pushes: list[torch.Tensor] = []
        self._range: tuple[torch.Tensor, torch.Tensor] | None = None
        self._largest = 0.0

    def add(self, scores: torch.Tensor, states: torch.Tensor, users: torch.Tensor) -> None:
        """Look at one batch.

        Args:
            scores: ``[B, n_items]``, minus infinity where an item is not to be recommended.
            states: ``[B, H]`` what the scores were made of.
            users: ``[B]`` ids.
        """
        values, items = torch.topk(scores, min(LIST, scores.shape[1]), dim=-1)
        self._lists.append(torch.where(torch.isfinite(values), items, 0).int().cpu())
        self._states.append(states.float().cpu())
        chosen = self._drawn[users.cpu().long()].to(scores.device)
        if chosen.any():
            self._add_pushes(scores[chosen], values[chosen], states[chosen])

    def _add_pushes(self, scores: torch.Tensor, best: torch.Tensor, states: torch.Tensor) -> None:
        if states.shape[1] != self._rows.shape[1]:
            self._largest = float("nan")
            return
        shown, rows = torch.isfinite(scores), self._rows.to(scores)
        constant = scores - states.to(scores) @ rows.T
        low = torch.where(shown, constant, torch.inf).amin(dim=0).cpu()
        high = torch.where(shown, constant, -torch.inf).amax(dim=0).cpu()
        before = self._range or (low, high)
        self._range = torch.minimum(before[0], low), torch.maximum(before[1], high)
        self._largest = max(self._largest, float(torch.where(shown, scores, 0.0).abs().max()))
        last = torch.where(torch.isfinite(best), best, torch.inf).amin(dim=1, keepdim=True)
        length = rows.norm(dim=1)
        push = (last - scores) / torch.where(length > 0, length, torch.nan)
        self._pushes.append(torch.where(shown, push, torch.nan).float().cpu())

    def view(self, clustered: bool = True) -> ModelView:
        """What was seen; asked once a batch at least was added.

        Args:
            clustered: Whether to find clusters of users.
        """
        kinds = clusters(torch.cat(self._states).numpy(), self._seed) if clustered else None
        pushes = smallest_pushes(torch.cat(self._pushes).numpy()) if self._is_linear() else None
        lists = torch.cat(self._lists).numpy()
        return ModelView(unit_rows(self._rows.cpu().numpy()), pushes, lists, kinds)

    def _is_linear(self) -> bool:
        """Whether ``score - h e`` is the same for all users of an item."""
        if self._range is None or not np.isfinite(self._largest):
            return False
        low, high = self._range
        unseen = (low == torch.inf) & (high == -torch.inf)  # the padding item and what nobody is recommended
        return bool((high - low <= _LINEAR * self._largest)[~unseen].all())  # no number is not within


def smallest_pushes(pushes: Floats, share: float = SHARE) -> NDArray[np.float32]:
    """The push that lists an item for a share of the users.

    Args:
        pushes: ``[U, n_items]`` what lists the item for each user, NaN where the user is not to be recommended it.
        share: In ``(0, 1]``.

    Returns:
        ``[n_items]``: of ``c`` users' pushes the ``ceil(share c)``-th smallest; NaN without any.
    """
    ordered = np.sort(pushes, axis=0)  # NaN at the end
    count = np.isfinite(ordered).sum(axis=0)
    place = np.ceil(share * count - 1e-9).astype(np.int64) - 1
    found = np.take_along_axis(ordered, place.clip(min=0)[None], axis=0)[0]
    return np.where(count > 0, found, np.nan).astype(np.float32)


def unit_rows(rows: Floats) -> NDArray[np.float16]:
    """Rows divided by their mean length (root of the mean square), the padding item's 0.

    Rounded to half precision: three digits, which is far below what tells models apart, in a quarter of the space. No
    number of fewer than 4e9 of mean square 1 along a row is too large for that.
    """
    rows = rows.astype(np.float64)
    rows[0] = 0.0
    known = np.asarray(np.isfinite(rows).all(axis=1))
    largest = np.abs(rows[known]).max(initial=0.0)
    scaled = rows / largest if largest > 0 else rows
    length = np.sqrt(np.square(scaled[known][1:]).sum(axis=1).mean()) if known[1:].any() else 0.0
    return (scaled / length if length > 0 else scaled).astype(np.float16)


def clusters(states: Floats, seed: int, count: int = CLUSTERS) -> NDArray[np.int32]:
    """``[U]`` cluster of each of ``[U, H]`` states, from 1: k-means, the best of 10 starts drawn with ``seed``.

    States are scaled to length 1 first: the direction says what a user likes.
    """
    length = np.linalg.norm(states, axis=1, keepdims=True)
    unit = states / np.where(length > 0, length, 1.0)
    count = min(count, len(np.unique(unit, axis=0)))
    return 1 + KMeans(n_clusters=count, n_init=10, random_state=seed).fit_predict(unit).astype(np.int32)


def division(values: Any, most: int = 10) -> NDArray[np.int32]:
    """``[U]`` in which group each user is, by one thing that is known of users: from 1, 0 where it is not known.

    Args:
        values: ``[U]`` texts with ``None``, or numbers with NaN, where nothing is known.
        most: Different numbers up to which each is a group; where there are more, quarters of the users are.
    """
    known = np.array([value is not None and value == value for value in values], dtype=bool)
    codes = np.zeros(len(values), dtype=np.int32)
    if known.any():
        kinds, code = np.unique(values[known], return_inverse=True)
        if values.dtype.kind == "f" and len(kinds) > most:
            code = np.searchsorted(np.quantile(values[known], [0.25, 0.5, 0.75]), values[known], side="left")
        codes[known] = 1 + code
    return codes
