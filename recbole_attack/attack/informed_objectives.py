"""Objectives of attackers who know more than the model: how popular items are, or a part of what users had."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext
from recbole_attack.attack.objective import target_bce, training_loss
from recbole_attack.attack.row_objectives import linear_loss
from recbole_attack.attack.states import pool_of
from recbole_attack.data.histories import Profile, without
from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.rng import stream, without_dropout

SHARES = (0.1, 0.45)
"""Up to which share of the catalogue, most popular first, items are of the top class and of the middle one."""

_HIDDEN, _RATE = (16, 8), 0.01


def popularity_classes(popularity: Int) -> Int:
    """``[V - 1]`` class of every item but padding: 0 for the top tenth, 1 for the next 35 %, 2 for all others.

    Of equally popular items the smaller id counts as more popular; the top class has an item at least.

    Args:
        popularity: ``[V]`` users who have each item.
    """
    count = len(popularity) - 1
    ranking = np.argsort(-popularity[1:], kind="stable")
    bounds = [max(int(share * count), 1) for share in SHARES]
    classes = np.empty(count, dtype=np.int64)
    classes[ranking] = np.searchsorted(bounds, np.arange(count), side="right")
    return classes


@dataclass(frozen=True)
class PopularityBoost:
    """Raise the targets' scores for the client itself, and make their rows look like those of popular items.

    ``L = L_exp + alpha L_pop``: :func:`~recbole_attack.attack.objective.target_bce`, and the cross-entropy towards the
    top class of an estimator of :func:`popularity_classes` at the targets' rows, averaged over targets.

    With the honest gradient ``g`` of the client's own history and ``d = grad L - g``, the upload is ``g + c d``, ``c``
    at most 1 and such that ``c d`` is at most ``distance`` times as long as ``g``. It is the gradient of
    ``(1 - c) L_honest + c L`` with a constant ``c``, which is taken without dropout: so far the bound is exact, and the
    losses' own dropout moves an upload a little within or beyond it.

    Attributes:
        strength: alpha.
        steps: Of the estimator's training, in each local step anew.
        distance: From the honest gradient, as a multiple of its length.
    """

    strength: float
    steps: int
    distance: float

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        estimator = trained_estimator(model, self.steps, context)
        honest, hostile = self._losses(model, estimator, original, users, context)
        parts = self._parts(model, estimator, original, users, context)
        return (1 - parts) * honest + parts * hostile

    def _losses(
        self, model: Any, estimator: list[torch.Tensor], profile: Profile, users: Int, context: AttackContext
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``[B]`` each, of honest clients and of attackers without a constraint."""
        honest = training_loss(model, profile, profile, users, 1, context)
        logits = class_scores(estimator, model.item_embedding(context.targets))
        popular = -logits.log_softmax(dim=1)[:, 0].mean()
        return honest, target_bce(model, profile, profile, users, 1, context) + self.strength * popular

    def _parts(
        self, model: Any, estimator: list[torch.Tensor], profile: Profile, users: Int, context: AttackContext
    ) -> torch.Tensor:
        """``[B]`` c of each client."""
        parameters, found = list(model.parameters()), []
        with torch.enable_grad(), without_dropout(model):
            for row in range(len(users)):
                own = Profile(*(field[row : row + 1] for field in profile))
                honest, hostile = self._losses(model, estimator, own, users[row : row + 1], context)
                g, way = (_flat(loss.sum(), parameters) for loss in (honest, hostile - honest))
                found.append((self.distance * g.norm() / way.norm()).nan_to_num(nan=1.0, posinf=1.0).clamp(max=1.0))
        return torch.stack(found)


def trained_estimator(model: Any, steps: int, context: AttackContext) -> list[torch.Tensor]:
    """Weights and biases of an MLP that tells classes from rows, trained on the items that are not promoted.

    Cross-entropy over all of them, ``steps`` steps of Adam from weights that are uniform as those of a linear layer
    are; none of it depends on what else is drawn in a run.
    """
    rows = model.item_embedding.weight.detach()[1 : model.n_items]
    classes = torch.from_numpy(popularity_classes(context.outside.popularity)).to(rows.device)
    known = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    known[context.targets - 1] = False
    rows, classes = rows[known], classes[known]
    rng = stream(context.seed, "popularity estimator", context.epoch, context.step)
    layers: list[torch.Tensor] = []
    for before, after in pairwise((rows.shape[1], *_HIDDEN, len(SHARES) + 1)):
        for shape in ((after, before), (after,)):
            drawn = rng.uniform(-(before**-0.5), before**-0.5, shape)
            layers.append(nn.Parameter(torch.from_numpy(drawn).to(rows)))
    optimizer = torch.optim.Adam(layers, lr=_RATE)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(class_scores(layers, rows), classes).backward(inputs=layers)
            optimizer.step()
    return [layer.detach() for layer in layers]


def class_scores(estimator: list[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """``[N, H]`` rows -> ``[N, 3]`` logits of the classes."""
    last = len(estimator) - 2
    for place in range(0, len(estimator), 2):
        rows = F.linear(rows, estimator[place], estimator[place + 1])
        rows = rows if place == last else rows.relu()
    return rows


@dataclass(frozen=True)
class KnownUsers:
    """Raise the targets over what users are shown of whom a part is known, and upload a few rows of that.

    Of every user the attacker knows a prefix, :func:`known_prefixes`. For such a user with state ``h``, a target ``t``
    and each of its ``competitors`` best items ``j`` that it is not known to have and that are not promoted, the loss is
    ``delta`` if ``delta = s_j - s_t`` is at least 0 and ``exp(delta) - 1`` if not, summed over all of them. States are
    constants, so its gradient reaches the rows of targets and competitors. In every local step each client changes the
    targets' rows and others drawn by the length of their gradient, ``rows`` in all, each gradient clipped to ``limit``.

    Attributes:
        share: xi of all interactions.
        users: Most users in a step, drawn anew in each and the same for all clients.
        competitors: Items a target is paired with for each user.
        rows: kappa, in a local step.
        limit: Of the length of a row's gradient.
    """

    share: float
    users: int
    competitors: int
    rows: int
    limit: float

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        gradient = self.gradient(model, context)
        return torch.stack([self._loss(model, gradient, int(user), context) for user in users])

    def gradient(self, model: Any, context: AttackContext) -> torch.Tensor:
        """``[n_items, H]`` of the summed loss."""
        sequences, users = self._drawn(context)
        if not len(users):
            return torch.zeros_like(model.item_embedding.weight[: model.n_items])
        recent = (torch.from_numpy(part) for part in sequences.last(users, model.max_seq_length))
        pool = pool_of(model, Profile(*recent).to(context.targets.device))
        had = torch.from_numpy(sequences.last(users, int(sequences.lengths[users].max()))[0])
        others = without(pool.scores, had.to(context.targets.device))
        others[:, context.targets] = -torch.inf
        best = others.topk(min(self.competitors, others.shape[1]), dim=1)
        lead = best.values[:, :, None] - model.item_scores(pool.states, context.targets).detach()[:, None]
        slope = lead.clamp(max=0.0).exp()
        weights = torch.zeros_like(pool.scores).scatter_add(1, best.indices, slope.sum(dim=2))
        weights[:, context.targets] -= slope.sum(dim=1)
        return weights.T @ pool.states

    def _loss(self, model: Any, gradient: torch.Tensor, user: int, context: AttackContext) -> torch.Tensor:
        targets = context.targets.cpu().numpy()
        chances = gradient.norm(dim=1).double().cpu().numpy()
        chances[targets] = 0.0
        count = min(max(self.rows - len(targets), 0), int(np.count_nonzero(chances)))
        rng = stream(context.seed, "uploaded rows", context.epoch, context.step, user)
        drawn = rng.choice(len(chances), count, replace=False, p=chances / chances.sum()) if count else targets[:0]
        chosen = torch.from_numpy(np.concatenate([targets, drawn])).to(gradient.device)
        rows = gradient[chosen]
        clipped = rows * (self.limit / rows.norm(dim=1, keepdim=True)).nan_to_num(nan=1.0, posinf=1.0).clamp(max=1.0)
        return linear_loss(model, chosen, -clipped)

    def _drawn(self, context: AttackContext) -> tuple[UserSequences, Int]:
        """What is known of everybody, and whom the attacker looks at."""
        assert context.sequences is not None
        lengths = known_prefixes(context.sequences, self.share, context.seed)
        users = np.flatnonzero(lengths)
        rng = stream(context.seed, "approximated users", context.epoch, context.step)
        return context.sequences.head(context.sequences.lengths - lengths), rng.permutation(users)[: self.users]


def known_prefixes(sequences: UserSequences, share: float, seed: int) -> Int:
    """``[n_users]`` how many of each user's first interactions are known: ``share`` of them, rounded at random.

    So a share of all interactions is known in expectation, the same in all of a run, and of most users none where they
    have few.
    """
    shares = stream(seed, "known interactions").random(len(sequences.lengths))
    return np.floor(share * sequences.lengths + shares).astype(np.int64).clip(max=sequences.lengths)


def _flat(loss: torch.Tensor, parameters: list[torch.Tensor]) -> torch.Tensor:
    found = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])
