"""Objectives of the field's attacks on item rows, read for models that have states after sequences and no user vectors.

All of them take the users they need from :mod:`~recbole_attack.data.histories`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext
from recbole_attack.attack.row_objectives import linear_loss
from recbole_attack.attack.states import pool_of, row_scores
from recbole_attack.data.histories import Profile, random_histories, sampled_histories
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream


@dataclass(frozen=True)
class HardUsers:
    """The targets' scores towards 1 for users who like them least: BCE, averaged over targets.

    ``pool`` random histories, as long as the client's own, are scored without dropout; the ``repeats`` with the lowest
    mean score of the targets are trained on. Their embeddings are constants, as a user's vector is in the paper, so the
    gradient reaches the targets' rows and what all users share: the encoder (and BERT4Rec's mask token).

    Attributes:
        pool: Histories P to choose from, or as many as are wanted if that is more.
    """

    pool: int

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        losses = []
        for user, length in zip(users[::repeats], original.item_seq_len[::repeats].tolist(), strict=True):
            hardest = self.hardest(model, int(user), length, repeats, context)
            state = model.state(*hardest, model.embed(hardest.item_seq).detach())
            losses.append(F.softplus(-model.item_scores(state, context.targets)).mean(dim=1))
        return torch.cat(losses)

    def hardest(self, model: Any, user: int, length: int, count: int, context: AttackContext) -> Profile:
        """``count`` of the client's random histories, the least fond of the targets first."""
        rng = stream(context.seed, "hard users", context.epoch, context.step, user)
        histories = random_histories(model, max(self.pool, count), length, context.targets, rng)
        scores = row_scores(model, pool_of(model, histories).states, context.targets).detach().mean(dim=1)
        chosen = scores.argsort(stable=True)[:count]
        return Profile(histories.item_seq[chosen], histories.item_seq_len[chosen])


@dataclass(frozen=True)
class TowardsDirection:
    """Draw each target's row to ``scale`` times a direction: the update is the way there, ``row - scale * p``.

    With several local steps each is ``local_learning_rate`` times the way that is left, and the update their sum.

    Attributes:
        direction: A name in :data:`DIRECTIONS`.
        scale: Lambda.
        items: k items whose mean is the direction ``items``.
        histories: Users whose mean state is the direction ``states``.
        length: Items of their histories.
    """

    direction: str
    scale: float
    items: int
    histories: int
    length: int

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        rows = model.item_embedding(context.targets).detach()
        losses = []
        for user in users:
            goal = self.scale * DIRECTIONS[self.direction](self, model, int(user), context)
            losses.append(linear_loss(model, context.targets, goal - rows))
        return torch.stack(losses)


def _of_items(about: TowardsDirection, model: Any, user: int, context: AttackContext) -> torch.Tensor:
    rows = model.item_embedding.weight.detach()[: model.n_items]
    inner = rows @ rows[1:].mean(dim=0)
    inner[0] = inner[context.targets] = torch.inf
    count = min(about.items, model.n_items - 1 - len(context.targets))
    return rows[inner.argsort(stable=True)[:count]].sum(dim=0) / max(count, 1)


def _of_states(about: TowardsDirection, model: Any, user: int, context: AttackContext) -> torch.Tensor:
    rng = stream(context.seed, "users of a direction", context.epoch, context.step, user)
    histories = sampled_histories(model, about.histories, about.length, context.targets, rng)
    mean = F.normalize(pool_of(model, histories).states, dim=1).mean(dim=0)
    return mean * model.item_embedding.weight.detach()[1 : model.n_items].norm(dim=1).mean()


DIRECTIONS: dict[str, Callable[[TowardsDirection, Any, int, AttackContext], torch.Tensor]] = {
    "items": _of_items,
    "states": _of_states,
}
"""``[H]`` where to, by the name ``row_direction`` takes.

- ``items``: the mean row of the items with the smallest inner product with the mean row, the targets left out (the
  released code's popular items).
- ``states``: the mean of the unit states of users drawn from the model, times the mean length of rows, so the shorter
  the more users differ (ours: item rows are weights of the output here, so what raises a score for most users is their
  mean state).
"""


@dataclass(frozen=True)
class Competition:
    """Raise the targets over the items they compete with, for a user made up anew in every step.

    The user's history is random. A target's competitors are the user's best items, and of the others those most similar
    to the target by the inner product of their rows; targets do not compete with each other. Loss: the sum of
    ``sigma(score_competitor - score_target)`` over them, averaged over targets. Users and competitors are constants;
    the gradient reaches the targets' rows alone, and goes to zero as a target passes its competitors.

    Attributes:
        length: Items of the history.
        recommended: The user's best items that compete.
        competitors: Items that compete, in all.
    """

    length: int
    recommended: int
    competitors: int

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        return torch.stack([self._loss(model, int(user), context) for user in users])

    def _loss(self, model: Any, user: int, context: AttackContext) -> torch.Tensor:
        rng = stream(context.seed, "synthetic user", context.epoch, context.step, user)
        pool = pool_of(model, random_histories(model, 1, self.length, context.targets, rng))
        rows = model.item_embedding.weight.detach()[: model.n_items]
        ranked = pool.scores.repeat(len(context.targets), 1)
        ranked[:, context.targets] = -torch.inf
        likeness = (rows[context.targets] @ rows.T).masked_fill(ranked.isinf(), -torch.inf)
        likeness.scatter_(1, ranked.topk(min(self.recommended, model.n_items), dim=1).indices, torch.inf)
        against = ranked.gather(1, likeness.topk(min(self.competitors, model.n_items), dim=1).indices)
        own = row_scores(model, pool.states, context.targets).T
        return torch.sigmoid(against - own).sum(dim=1).mean()
