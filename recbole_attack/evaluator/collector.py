"""Collects what the metrics need, in one pass over the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.evaluator.collector import Collector, DataStruct
from torch.nn import functional as F

from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.evaluator.item_exposure import ItemExposure
from recbole_attack.evaluator.outcomes import OutcomeRecorder

Watcher = Callable[[torch.Tensor, Any], None]
"""``(scores, interaction)`` of a batch, as :meth:`AttackCollector.eval_batch_collect` has them."""

_KEPT = "data."
_REDRAWN = "data.label"


class AttackCollector(Collector):
    """RecBole's collector plus the targets' ranks and, on request, every item's exposure.

    Three faults of RecBole 1.2.1 do not occur here: values that are not tensors (item counts) no longer crash the
    metrics that need them, whatever a batch added is cleared after every evaluation, and items that do not compete
    (scored minus infinity) do not count as recommended.

    Args:
        config: The run's configuration.
        targets: ``[T]`` ids of the target items.
        sequences: Full sequences: a user who interacted with a target at any time does not count for it.
        target_users: ``[n_users]`` the users the attacker means; everybody by default.
    """

    def __init__(
        self, config: Any, targets: Int, sequences: UserSequences, target_users: NDArray[np.bool_] | None = None
    ) -> None:
        super().__init__(config)
        self._user_field = config["USER_ID_FIELD"]
        self._targets = targets
        self._column = torch.full((sequences.n_items,), -1)
        self._column[torch.from_numpy(targets)] = torch.arange(len(targets))
        self._eligible = torch.from_numpy(~sequences.owners(targets))
        everybody = np.ones(sequences.n_users, dtype=bool)
        self._target_users = torch.tensor(everybody if target_users is None else target_users)
        self._item_exposure: ItemExposure | None = None
        self._watcher: Watcher | None = None
        self._recorder: OutcomeRecorder | None = None

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect one batch.

        Args:
            scores_tensor: ``[B, n_items]`` scores; minus infinity where an item is not to be recommended. With fewer
                items than ``max(topk)`` the list ends early.
            interaction: The batch.
            positive_u: ``[B]`` row of each item to predict.
            positive_i: ``[B]`` id of each item to predict.
        """
        if self._item_exposure is not None:
            self._item_exposure.add(scores_tensor)
        if self._watcher is not None:
            self._watcher(scores_tensor, interaction)
        missing = max(self.topk) - scores_tensor.shape[1]
        if missing > 0:
            scores_tensor = F.pad(scores_tensor, (0, missing), value=-np.inf)
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        values, items = torch.topk(scores_tensor, max(self.topk), dim=-1)
        listed = torch.where(torch.isfinite(values), items, 0)
        if self.register.need("rec.items"):
            self.data_struct["rec.items"][-len(listed) :] = listed
        users = interaction[self._user_field].cpu().long()
        self.data_struct.update_tensor("rec.users", users)
        self.data_struct.update_tensor("rec.target_user", self._target_users[users])
        self.data_struct.update_tensor("rec.target_eligible", self._eligible[users])
        self.data_struct.update_tensor("rec.list_length", (listed > 0).sum(dim=1).cpu())
        self.data_struct.update_tensor("rec.target_rank", self._target_ranks(listed.cpu()))
        if self._recorder is not None:
            whole = scores_tensor[:, : len(self._column)]
            self._recorder.add(whole, listed, positive_i, users, self._eligible[users])

    @contextmanager
    def counting(self, cutoffs: Sequence[int]) -> Iterator[ItemExposure]:
        """Also count, for all that is evaluated within the block, who is shown which item.

        Args:
            cutoffs: Lengths of the lists, at least 1 each.
        """
        self._item_exposure = ItemExposure(len(self._column), tuple(cutoffs))
        try:
            yield self._item_exposure
        finally:
            self._item_exposure = None

    @contextmanager
    def watched(self, watcher: Watcher) -> Iterator[None]:
        """Also show a watcher all that is evaluated within the block."""
        self._watcher = watcher
        try:
            yield
        finally:
            self._watcher = None

    @contextmanager
    def recording(self) -> Iterator[OutcomeRecorder]:
        """Also record, for all that is evaluated within the block, where each user's ranking holds what counts."""
        self._recorder = OutcomeRecorder(self._targets)
        try:
            yield self._recorder
        finally:
            self._recorder = None

    def _target_ranks(self, listed: torch.Tensor) -> torch.Tensor:
        """``[B, K]`` items, 0 past the list's end -> ``[B, T]`` ranks from 1, ``K + 1`` for an unlisted target."""
        column = self._column[listed]
        row, position = torch.nonzero(column >= 0, as_tuple=True)
        ranks = torch.full((len(listed), self._eligible.shape[1]), listed.shape[1] + 1, dtype=torch.int32)
        ranks[row, column[row, position]] = (position + 1).to(ranks.dtype)
        return ranks

    def get_data_struct(self) -> DataStruct:
        """What was collected since the last call, on the CPU; static data stays for the next evaluation."""
        collected = DataStruct()
        for key, value in self.data_struct._data_dict.items():
            collected.set(key, value.cpu() if isinstance(value, torch.Tensor) else value)
        self.discard()
        return collected

    def discard(self) -> None:
        """Forget what was collected, as of an evaluation that was interrupted; static data stays."""
        for key in list(self.data_struct._data_dict):
            if key == _REDRAWN or not key.startswith(_KEPT):
                del self.data_struct[key]
