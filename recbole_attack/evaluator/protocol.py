"""Which items compete in a user's ranking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.rng import stream


@dataclass(frozen=True)
class RankingProtocol:
    """Removes items from a ranking by setting their scores to minus infinity.

    Attributes:
        sequences: Full sequences of all users.
        targets: ``[T]`` ids of the target items.
        mask_history: Remove what the user interacted with before the item to predict. RecBole does so with
            general models, and not with sequential ones.
        candidates: ``None`` ranks all items. A number n ranks n random items the user never interacted with, the item
            to predict and the targets: the protocol of DV-FSR (n = 1000). A user's candidates stay the same
            throughout a run and between a clean run and its attacked twin; the released code redraws them at every
            evaluation.
        seed: The run's seed.
    """

    sequences: UserSequences
    targets: Int
    mask_history: bool
    candidates: int | None
    seed: int

    def restrict(self, scores: torch.Tensor, users: Int, history: Int, positives: torch.Tensor) -> torch.Tensor:
        """Scores with everything that does not compete removed; ``scores`` may be changed where they stand.

        Args:
            scores: ``[B, n_items]``.
            users: ``[B]`` user ids.
            history: ``[B]`` number of interactions before the item to predict.
            positives: ``[B]`` the item to predict; it always competes, even when it repeats.
        """
        rows = torch.arange(len(scores), device=scores.device)
        truth = scores[rows, positives].clone()
        if self.candidates is not None:
            kept = torch.full_like(scores, -torch.inf)
            for columns in (torch.from_numpy(self._sampled(users)), torch.from_numpy(self.targets)[None]):
                columns = columns.to(scores.device).expand(len(scores), -1)
                kept.scatter_(1, columns, scores.gather(1, columns))
            scores = kept
        if self.mask_history:
            row, column = self._history(users, history)
            scores[row.to(scores.device), column.to(scores.device)] = -torch.inf
        scores[:, 0] = -torch.inf
        scores[rows, positives] = truth
        return scores

    def _history(self, users: Int, history: Int) -> tuple[torch.Tensor, torch.Tensor]:
        row = np.repeat(np.arange(len(users)), history)
        step = np.arange(len(row)) - np.repeat(np.cumsum(history) - history, history)
        items = self.sequences.items[self.sequences.offsets[users[row]] + step]
        return torch.from_numpy(row), torch.from_numpy(items.astype(np.int64))

    def _sampled(self, users: Int) -> Int:
        """``[B, n]`` candidates of some users, 0 where one has fewer; drawn when they are first asked for."""
        assert self.candidates is not None
        for user in users.tolist():
            if user not in self._drawn:
                drawn = self._outside.sample_distinct(stream(self.seed, "candidates", user), user, self.candidates)
                self._drawn[user] = np.pad(drawn.astype(np.int32), (0, self.candidates - len(drawn)))
        return np.stack([self._drawn[user] for user in users.tolist()]).astype(np.int64)

    @cached_property
    def _outside(self) -> NonInteracted:
        return NonInteracted(self.sequences)

    @cached_property
    def _drawn(self) -> dict[int, Int]:
        """User -> candidates."""
        return {}
