"""What a malicious client optimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext, Objective
from recbole_attack.data import histories
from recbole_attack.data.batches import TrainBatch
from recbole_attack.data.histories import Profile
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream, without_dropout


def training_loss(
    model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
) -> torch.Tensor:
    """The victim's own loss, computed on the profile as an honest client would."""
    return model.client_losses(training_batch(model, profile, users, repeats, context))


def training_batch(
    model: Any, profile: Profile, users: Int, repeats: int, context: AttackContext, purpose: str = "fake"
) -> TrainBatch:
    """What an honest client with this profile would train on (:func:`~recbole_attack.data.histories.training_batch`).

    A fake item is never pushed down by its own client. ``purpose`` tells these draws from those of others.
    """
    keys = [(context.epoch, context.step, int(user), row % repeats) for row, user in enumerate(users)]
    return histories.training_batch(profile, context.outside.n_items, model.needs_draws, context.seed, purpose, keys)


def target_bce(
    model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
) -> torch.Tensor:
    """Raise the targets' scores after the last item: BCE towards 1, averaged over targets (DV-FSR, eq. 4)."""
    scores = model.item_scores(model.forward(*profile), context.targets)
    return F.softplus(-scores).mean(dim=1)


def search_loss(
    model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
) -> torch.Tensor:
    """Cross-entropy over all items towards the targets, on the original sequence and without dropout.

    The loss whose gradient DV-FSR's Algorithm 2 looks for a position with, averaged over targets.
    """
    with without_dropout(model):
        logits = model.item_scores(model.forward(*original))[:, 1:]
    return -logits.log_softmax(dim=1)[:, context.targets - 1].mean(dim=1)


@dataclass(frozen=True)
class Contrastive:
    """Draw the targets' embeddings to the client's items (DV-FSR, eq. 5-7), averaged over targets.

    Anchor: a target's embedding. Positive: the mean embedding of the client's *original* items (Algorithm 1, line 7).
    Negatives: random items outside its history. Cross-entropy over cosine similarities, the positive being the class.

    Attributes:
        negatives: Number n of negatives, drawn with replacement.
    """

    negatives: int

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        anchors = F.normalize(model.item_embedding(context.targets), dim=-1)
        total = model.embed(original.item_seq).masked_fill((original.item_seq == 0)[..., None], 0.0).sum(dim=1)
        positive = F.normalize(total / original.item_seq_len[:, None], dim=-1) @ anchors.T
        sampled = _outside("contrastive", self.negatives, users, repeats, context)
        negative = F.normalize(model.item_embedding(sampled), dim=-1) @ anchors.T
        similarity = torch.cat([positive[:, None], negative], dim=1)
        return -similarity.log_softmax(dim=1)[:, 0].mean(dim=1)


@dataclass(frozen=True)
class Total:
    """The sum of several objectives (DV-FSR, eq. 8)."""

    parts: tuple[Objective, ...]

    def __call__(
        self, model: Any, profile: Profile, original: Profile, users: Int, repeats: int, context: AttackContext
    ) -> torch.Tensor:
        return torch.stack([part(model, profile, original, users, repeats, context) for part in self.parts]).sum(dim=0)


def _outside(purpose: str, count: int, users: Int, repeats: int, context: AttackContext) -> torch.Tensor:
    """``[B, count]`` random items outside the history of each row's user, drawn with replacement."""
    draws = [
        context.outside.sample(
            stream(context.seed, purpose, context.epoch, context.step, int(user)), np.full((repeats, count), user)
        )
        for user in users[::repeats]
    ]
    return torch.from_numpy(np.concatenate(draws)).to(context.targets.device)
