"""How many users are shown each item: what a platform can measure of any model without knowing the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass
class ItemExposure:
    """Counts over users, added up batch by batch: nothing of size users x items is kept.

    Attributes:
        n_items: Number of item ids, the padding item 0 included.
        cutoffs: ``C`` lengths N of lists, at least 1 each.
        counts: ``[n_items, C]`` number of users whose top N holds the item; 0 for the padding item.
        users: Number of users counted.
    """

    n_items: int
    cutoffs: Sequence[int]
    counts: NDArray[np.int64] = field(init=False)
    users: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.n_items, len(self.cutoffs)), dtype=np.int64)

    def add(self, scores: torch.Tensor) -> None:
        """Count one batch.

        Args:
            scores: ``[B, n_items]``, minus infinity where an item is not to be recommended; lists end early then.
        """
        values, items = torch.topk(scores, min(max(self.cutoffs), scores.shape[1]), dim=-1)
        listed = torch.where(torch.isfinite(values), items, 0).cpu()
        for column, n in enumerate(self.cutoffs):
            self.counts[:, column] += torch.bincount(listed[:, :n].flatten(), minlength=self.n_items).numpy()
        self.counts[0] = 0
        self.users += len(scores)
