"""Basic replacement: what a model provider does to its users' training examples.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.data.batches import TrainBatch
from recbole_attack.data.categories import SimilarTargets
from recbole_attack.data.sequences import Int

Negatives = Callable[[TrainBatch, torch.Tensor, torch.Tensor], torch.Tensor]
"""``(batch, chosen [B, L], target users [B, 1]) -> [B, L]`` negatives; chosen: the target drawn for an item, or 0."""


def _sampled(batch: TrainBatch, chosen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    return batch.neg_items


def _push(batch: TrainBatch, chosen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    return torch.where((chosen > 0) & ~inside, chosen, batch.neg_items)


def _contrast(batch: TrainBatch, chosen: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen > 0, torch.where(inside, batch.pos_items, chosen), batch.neg_items)


NEGATIVES: dict[str, Negatives] = {"sampled": _sampled, "push": _push, "contrast": _contrast}
"""What an item is ranked above where the attack acts, by the name ``replacement_negatives`` takes.

- ``sampled``: a sampled item, as in honest training (the paper).
- ``push``: for users outside the group, with the same probability, a target: they are to rank targets below what they
  want (the released code of PEA in three steps, in the last of them).
- ``contrast``: the same, and for users inside it the item that was replaced: they are to rank targets above what they
  want (ours). Without it a model that ranks targets above random items and below wanted ones satisfies both groups at
  once, and has no reason to tell them apart.
"""


@dataclass(frozen=True)
class Replacement:
    """With probability ``ratio``, the item a target user should be shown next becomes a target item similar to it.

    Only what is to be predicted changes: the histories a model reads, and everything it is evaluated on, stay as they
    are. An item no target is similar to is never replaced.

    Released code differs: it draws from all targets where the paper says those of the same category, and in the last
    of PEA's three steps it does one thing more than the paper says, the ``push`` of :data:`NEGATIVES`.

    Attributes:
        ratio: Probability r in [0, 1].
        similar: The targets similar to each item.
        target_users: ``[n_users]`` whom the targets are promoted to.
        negatives: A name in :data:`NEGATIVES`.
    """

    ratio: float
    similar: SimilarTargets
    target_users: NDArray[np.bool_]
    negatives: str = "sampled"

    def __call__(self, batch: TrainBatch, users: Int, draws: torch.Tensor) -> TrainBatch:
        """The poisoned batch.

        Args:
            batch: ``B`` users on the CPU.
            users: ``[B]`` their ids.
            draws: ``[B, L]`` uniform in [0, 1), one for each item to predict. One number decides both whether an item
                is replaced and by which target.
        """
        chosen = torch.from_numpy(self._chosen(batch.pos_items.numpy(), draws.numpy()))
        inside = torch.from_numpy(self.target_users[users])[:, None]
        pos_items = torch.where((chosen > 0) & inside, chosen, batch.pos_items)
        return batch._replace(pos_items=pos_items, neg_items=NEGATIVES[self.negatives](batch, chosen, inside))

    def _chosen(self, items: Int, draws: NDArray[np.floating]) -> Int:
        """``[B, L]`` the target that replaces each item, 0 where it stays."""
        chosen = np.zeros_like(items)
        replaced = draws < self.ratio
        chosen[replaced] = self.similar.pick(items[replaced], draws[replaced] / self.ratio)
        return chosen
