"""Objectives on item rows that find out what is popular by comparing two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext
from recbole_attack.attack.states import pool_of, row_scores
from recbole_attack.data.histories import Profile, random_histories
from recbole_attack.data.movement import moved_most
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream


def mined_items(model: Any, count: int, context: AttackContext) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` items whose rows moved farthest between two models, farthest first, and all others.

    The targets are among the others. There are no popular items as long as there is no model to compare with.
    """
    if context.before is None:
        return context.targets[:0], context.targets[:0]
    now = model.item_embedding.weight.detach()[: model.n_items]
    items = moved_most(now, context.before[: model.n_items], last=context.targets)
    popular, others = items.tensor_split([min(count, len(items) - len(context.targets))])
    return popular, others


@dataclass(frozen=True)
class Alignment:
    """Turn the targets' rows to those of popular items.

    Of ``N`` mined items, the r-th has weight ``w_r = (N + 1 - r) / (1 + ... + N)`` and ``c_r = w_r cos(e_t, e_r)``.
    Loss: ``-tau (mean of the positive c_r + mean of the others)``, the mean of none being 0; once the mean of the
    cosines is above ``aligned``, minus the length of ``e_t``, so that the gradient does not vanish. Averaged over
    targets; popular rows are constants.

    Attributes:
        items: N.
        strength: tau.
        aligned: Mean cosine from which on the row is lengthened.
    """

    items: int
    strength: float
    aligned: float = 0.95

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        targets, (popular, _) = model.item_embedding(context.targets), mined_items(model, self.items, context)
        cosines = F.normalize(targets, dim=1) @ F.normalize(model.item_embedding(popular).detach(), dim=1).T
        ranks = torch.arange(len(popular), 0, -1, device=cosines.device).to(cosines.dtype)
        weighted = cosines * (ranks / ranks.sum().clamp(min=1))
        positive = cosines.detach() > 0
        drawn = -self.strength * (_mean(weighted, positive) + _mean(weighted, ~positive))
        turned = cosines.detach().sum(dim=1) > self.aligned * max(len(popular), 1)
        return torch.where(turned, -targets.norm(dim=1), drawn).mean().expand(len(users))


@dataclass(frozen=True)
class PopularUsers:
    """The targets' scores towards 1 for users who had popular items alone: BCE, averaged over users and targets.

    The users' histories are mined items in random order, their states constants.

    Attributes:
        items: N mined items.
        histories: Users.
        length: Items of a history, fewer than N.
    """

    items: int
    histories: int
    length: int

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        popular, others = mined_items(model, self.items, context)
        if not len(popular):
            return 0.0 * model.item_embedding(context.targets).sum().expand(len(users))
        return torch.stack([self._loss(model, others, int(user), context) for user in users])

    def _loss(self, model: Any, others: torch.Tensor, user: int, context: AttackContext) -> torch.Tensor:
        rng = stream(context.seed, "popular users", context.epoch, context.step, user)
        histories = random_histories(model, self.histories, self.length, others, rng)
        return F.softplus(-row_scores(model, pool_of(model, histories).states, context.targets)).mean()


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """``[T]`` mean of the ``chosen`` entries of each row, 0 where there is none."""
    return torch.where(chosen, values, 0.0).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
