"""Objectives of attacks that write the targets' embedding rows and leave all else of the model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.states import Pool, pool_of, row_scores
from recbole_attack.data.histories import LENGTHS, Profile, frozen, sampled_histories, weighted_histories
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream, without_dropout

_BACK = 0.1
"""What an upload of :class:`Uncounted` takes back besides what it gains, as a share of that."""


@dataclass(frozen=True)
class Margin:
    """Lift the targets above what users drawn from the model would be shown last.

    For ``S`` histories ``x`` sampled from the received model (:func:`~recbole_attack.data.histories.sampled_histories`)
    with states ``h(x)``, and targets ``t``: the mean of ``softplus(tau(x) + m - score(h(x), t))``, where ``tau(x)`` is
    the ``rank``-th best score among the items that are not in ``x``, the targets among them: as many targets as
    ``rank`` or more outbid each other without end. States and ``tau`` are constants, so the gradient of a target's row
    is ``-mean sigma(tau + m - score) h / T``, and zero for everything else.

    Attributes:
        histories: S.
        length: Items of a history.
        rank: Length K of the lists the targets are to enter.
        margin: m, in units of scores.
    """

    histories: int
    length: int
    rank: int
    margin: float

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        return torch.stack([self._loss(model, self.pool(model, int(user), context), context) for user in users])

    def pool(self, model: Any, user: int, context: AttackContext) -> Pool:
        """The users one client draws in this step."""
        rng = stream(context.seed, "sampled histories", context.epoch, context.step, user)
        return pool_of(model, sampled_histories(model, self.histories, self.length, context.targets, rng))

    def ways(self, model: Any, pool: Pool, context: AttackContext) -> torch.Tensor:
        """``[T, H]`` the way the loss would have each target's row go: its gradient, turned round."""
        with frozen(model):
            weights = torch.sigmoid(self._missing(model, pool, context))
        return weights.T @ pool.states / weights.numel()

    def direction(self, model: Any, pool: Pool, context: AttackContext) -> torch.Tensor:
        """``[T * H]`` the way of :meth:`ways`, all as one vector of length 1.

        It is there even where the targets lead by so much that no float holds the loss's own weights.
        """
        with frozen(model):
            missing = F.logsigmoid(self._missing(model, pool, context))
        weights = missing.flatten().softmax(dim=0).view_as(missing)
        return F.normalize((weights.T @ pool.states).flatten(), dim=0)

    def _loss(self, model: Any, pool: Pool, context: AttackContext) -> torch.Tensor:
        return F.softplus(self._missing(model, pool, context)).mean()

    def _missing(self, model: Any, pool: Pool, context: AttackContext) -> torch.Tensor:
        """``[S, T]`` how far each target is below the last item shown and the margin."""
        return pool.kth_best(self.rank)[:, None] + self.margin - row_scores(model, pool.states, context.targets)


@dataclass(frozen=True)
class Covert:
    """:class:`Margin`, out of sight of users without taste: made against rules that ask such users.

    To its loss comes ``weight`` times the mean of ``softplus(score(h(x), t) - tau(x) + m)`` over as many histories of
    items drawn in proportion to one more than their popularity
    (:func:`~recbole_attack.data.histories.weighted_histories`), a quarter of them as long as the model reads and the
    others of lengths up to that. So a target is to rise for states that histories with taste lead to, and to stay
    out of the lists of the others.

    Attributes:
        margin: Gives the rest.
        weight: Of that term.
        lengths: How lengths of these histories are spread; a key of :data:`~recbole_attack.data.histories.LENGTHS`.
    """

    margin: Margin
    weight: float
    lengths: str

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        lifted = self.margin(model, profile, original, users, repeats, context)
        seen = [self._seen(model, int(user), context) for user in users]
        return lifted + self.weight * torch.stack(seen)

    def _seen(self, model: Any, user: int, context: AttackContext) -> torch.Tensor:
        pool = _without_taste(model, self.margin.histories, self.lengths, user, context)
        missing = pool.kth_best(self.margin.rank)[:, None] - row_scores(model, pool.states, context.targets)
        return F.softplus(self.margin.margin - missing).mean()


@dataclass(frozen=True)
class Uncounted:
    """:class:`Margin`, turned so that a plain step along it shows no target to more users without taste.

    Made against rules that ask whether a client's row raises an item, and take for its answer the inner product of the
    row with the slope of the item's share of what users without taste are shown (those of :class:`Covert`). Of each
    target's row of the loss's gradient, the coordinates that gain most of that are turned round, as few as take back
    all that is gained and a tenth besides, for the rule's users are others than the attacker's. A server that scales
    every coordinate by itself, as Adam does, raises the target along the many others.

    Attributes:
        margin: Gives the gradient that is turned.
        lengths: As of :class:`Covert`.
    """

    margin: Margin
    lengths: str

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        return torch.stack([self._loss(model, int(user), context) for user in users])

    def _loss(self, model: Any, user: int, context: AttackContext) -> torch.Tensor:
        way = self.margin.ways(model, self.margin.pool(model, user, context), context)
        pool = _without_taste(model, self.margin.histories, self.lengths, user, context)
        shown = pool.scores.softmax(dim=1)[:, context.targets]
        slopes = (shown * (1 - shown)).T @ pool.states / len(shown)
        return linear_loss(model, context.targets, turned(way, slopes))


def turned(way: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """``way`` (``[T, H]``) with as few coordinates turned round as bring its products with ``slopes`` below 0."""
    gains = way * slopes
    most = gains.sort(dim=1, descending=True, stable=True)
    enough = (1 + _BACK) / 2 * gains.sum(dim=1, keepdim=True)
    before = most.values.cumsum(dim=1) - most.values
    back = torch.zeros_like(way, dtype=torch.bool).scatter(1, most.indices, before < enough)
    return way.where(~back, -way)


def _without_taste(model: Any, count: int, lengths: str, user: int, context: AttackContext) -> Pool:
    """What the model thinks of users who have items by how popular they are, and none of the targets."""
    shares = 1 + torch.from_numpy(context.outside.popularity).to(context.targets.device, torch.float64)
    shares[0] = shares[context.targets] = 0
    rng = stream(context.seed, "histories without taste", context.epoch, context.step, user)
    return pool_of(model, weighted_histories(shares, LENGTHS[lengths](count, model.max_seq_length), rng))


@dataclass(frozen=True)
class Quiet:
    """The direction of :class:`Margin`, as long as a small share of an honest update.

    The loss is linear in the targets' rows, ``-sum_t direction_t row_t``, so its gradient has the wanted length
    exactly. The honest update is that of the client's own history, without dropout; where that has nothing to train on
    (BERT4Rec may mask none of a short one), nothing is uploaded.

    Attributes:
        margin: Gives the direction.
        share: Length of the upload over that of the client's own honest update; of several local steps, in each.
    """

    margin: Margin
    share: float

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        lengths = self.share * honest_norms(model, original, users, context)
        losses = []
        for user, length in zip(users, lengths, strict=True):
            way = self.margin.direction(model, self.margin.pool(model, int(user), context), context)
            losses.append(linear_loss(model, context.targets, length * way))
        return torch.stack(losses)


def linear_loss(model: Any, targets: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient is ``-wanted`` (``[T, H]`` or as many numbers in a row) at the targets' rows, and zero
    elsewhere."""
    rows = model.item_embedding(targets)
    return -(rows * wanted.detach().view_as(rows)).sum()


def honest_norms(model: Any, profile: Profile, users: Int, context: AttackContext) -> torch.Tensor:
    """``[B]`` lengths of the gradients the clients would upload if they trained on their own histories."""
    parameters = list(model.parameters())
    norms = []
    with torch.enable_grad(), without_dropout(model):
        for row in range(len(users)):
            own = Profile(*(field[row : row + 1] for field in profile))
            loss = training_loss(model, own, own, users[row : row + 1], 1, context).sum()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            norms.append(torch.cat([g.flatten() for g in gradients if g is not None]).norm())
    return torch.stack(norms)
