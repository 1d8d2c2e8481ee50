"""Basic replacement: what a model provider does to its users' training examples.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.data.batches import TrainBatch
from recbole_attack.data.categories import SimilarTargets
from recbole_attack.data.sequences import Int


@dataclass(frozen=True)
class Replacement:
    """With probability ``ratio``, the item a target user should be shown next becomes a target item similar to it.

    Only what is to be predicted changes: the histories a model reads, and everything it is evaluated on, stay as they
    are. An item no target is similar to is never replaced.

    Released code differs: it draws from all targets where the paper says those of the same category, and it does one
    thing more than the paper says (``push``): for users outside the group, with the same probability, the *negative*
    item becomes a target, which pushes targets down for them.

    Attributes:
        ratio: Probability r in [0, 1].
        similar: The targets similar to each item.
        target_users: ``[n_users]`` whom the targets are promoted to.
        push: Whether to push targets down for everybody else.
    """

    ratio: float
    similar: SimilarTargets
    target_users: NDArray[np.bool_]
    push: bool = False

    def __call__(self, batch: TrainBatch, users: Int, draws: torch.Tensor) -> TrainBatch:
        """The poisoned batch.

        Args:
            batch: ``B`` users on the CPU.
            users: ``[B]`` their ids.
            draws: ``[B, L]`` uniform in [0, 1), one for each item to predict. One number decides both whether an item
                is replaced and by which target.
        """
        chosen = torch.from_numpy(self._chosen(batch.pos_items.numpy(), draws.numpy()))
        target_user = torch.from_numpy(self.target_users[users])[:, None]
        pos_items = torch.where((chosen > 0) & target_user, chosen, batch.pos_items)
        if not self.push:
            return batch._replace(pos_items=pos_items)
        neg_items = torch.where((chosen > 0) & ~target_user, chosen, batch.neg_items)
        return batch._replace(pos_items=pos_items, neg_items=neg_items)

    def _chosen(self, items: Int, draws: NDArray[np.floating]) -> Int:
        """``[B, L]`` the target that replaces each item, 0 where it stays."""
        chosen = np.zeros_like(items)
        replaced = draws < self.ratio
        chosen[replaced] = self.similar.pick(items[replaced], draws[replaced] / self.ratio)
        return chosen
