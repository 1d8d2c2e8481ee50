"""What a malicious client does to its sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from recbole_attack.attack.attack import AttackContext
from recbole_attack.attack.profiles import Filler, most_popular, promote
from recbole_attack.data.histories import Profile
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream
from recbole_attack.utils.shares import part_of


def keep(model: Any, profile: Profile, users: Int, targets: torch.Tensor, context: AttackContext) -> Profile:
    """Leave the sequence as it is."""
    return profile


@dataclass(frozen=True)
class FakeProfile:
    """A fake profile: popular items, random items and the targets, as long as what the model reads of the sequence it
    replaces. Popular and random items are drawn from all items, so that a target may be there twice.

    A client keeps its fake profile over all rounds. Targets stand at random positions after the first, since the
    first item of a sequence is never predicted; a profile shorter than the list of targets holds as many as fit.

    Attributes:
        popular_share: Share of the profile drawn from the popular items, rounded up.
        popular_items: The popular items, as a share of the catalogue, the most popular first; of equally popular ones
            the smaller id counts as more popular. At least as many as the profile needs.
    """

    popular_share: float = 0.0
    popular_items: float = 0.0

    def __call__(
        self, model: Any, profile: Profile, users: Int, targets: torch.Tensor, context: AttackContext
    ) -> Profile:
        fake, promoted = np.zeros(profile.item_seq.shape, dtype=np.int64), context.targets.cpu().numpy()
        for row, (user, length) in enumerate(zip(users, profile.item_seq_len.tolist(), strict=True)):
            fake[row, :length] = self._draw(int(user), length, promoted, context)
        return Profile(torch.from_numpy(fake).to(profile.item_seq), profile.item_seq_len)

    def _draw(self, user: int, length: int, promoted: Int, context: AttackContext) -> Int:
        rng = stream(context.seed, "fake profile", user)
        items = self._filler(rng, length, context)
        promote(rng, items, promoted)
        return items

    def _filler(self, rng: np.random.Generator, length: int, context: AttackContext) -> Int:
        """``[length]`` items, none twice unless the catalogue is too small."""
        catalogue = np.arange(1, context.outside.n_items)
        ranking = most_popular(context.outside.popularity, catalogue) if self.popular_share else catalogue[:0]
        return Filler(catalogue, ranking, self.popular_share, part_of(len(catalogue), self.popular_items))(rng, length)


@dataclass(frozen=True)
class Substitute:
    """Replace the most influential item (DV-FSR, Algorithm 2; after Yue et al., RecSys 2022).

    The position is the one whose embedding gradient of the cross-entropy towards the target is largest. Its embedding
    moves one sign step down that gradient and is projected back: items are ranked by cosine similarity to the moved
    embedding, times 1 if their cosine similarity to the original one is at least ``min_cosine`` and 0 otherwise. Of
    the first ``candidates`` items, the one that gives the target the highest score is put in.

    As in the pseudo-code, items that fail the threshold keep rank value 0, so they are tried when fewer than
    ``candidates`` items pass with a positive similarity. With 64 dimensions and a threshold of 0.5, as published, that
    is the rule in the first epochs: hardly any two embeddings are that similar yet, and the one item that passes is the
    replaced item itself (``valid_candidates`` in ``rounds.csv``). Such ties are broken at random, anew for each client
    in each epoch. The item itself and the target are candidates like any other. The search runs without dropout.

    Released code differs: it breaks ties by item id, so items 1 to 10 are tried over and over, and it adds positions to
    the embedding it moves but not to the items it compares that with. We choose draws that do not depend on ids, and
    embeddings on both sides, as in the paper's text.

    Attributes:
        min_cosine: Threshold tau.
        candidates: Search time T. The paper names 9 as its default; the released code tries 10.
    """

    min_cosine: float
    candidates: int

    def __call__(
        self, model: Any, profile: Profile, users: Int, targets: torch.Tensor, context: AttackContext
    ) -> Profile:
        rows = torch.arange(len(targets), device=targets.device)
        position, perturbed, original = self._perturb(model, profile, targets)
        ties = _random_orders(users, context).to(targets.device)
        with torch.no_grad():
            chosen = self._project(perturbed, original, _item_rows(model, context), ties)
            tried = profile.repeat(chosen.shape[1])
            tried.item_seq.scatter_(1, position.repeat_interleave(chosen.shape[1])[:, None], chosen.view(-1, 1))
            wanted, column = torch.unique(targets, return_inverse=True)
            scores = model.item_scores(model.forward(*tried), wanted).view(*chosen.shape, -1)[rows, :, column]
            item_seq = profile.item_seq.clone()
            item_seq[rows, position] = chosen[rows, scores.argmax(dim=1)]
        return Profile(item_seq, profile.item_seq_len)

    def valid_candidates(
        self, model: Any, profile: Profile, targets: torch.Tensor, context: AttackContext
    ) -> torch.Tensor:
        """``[B]`` number of items that pass the threshold, the replaced item included."""
        _, _, original = self._perturb(model, profile, targets)
        with torch.no_grad():
            return self._allowed(original, F.normalize(_item_rows(model, context), dim=-1)).sum(dim=1)

    def _perturb(
        self, model: Any, profile: Profile, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Position ``[B]`` to attack, its embedding ``[B, H]`` after the sign step and before."""
        item_seq, lengths = profile
        with torch.enable_grad():
            item_emb = model.embed(item_seq).detach().requires_grad_()
            logits = model.item_scores(model.state(item_seq, lengths, item_emb))[:, 1:]
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, targets - 1, reduction="sum"), item_emb)
        position = gradient.norm(dim=-1).masked_fill(item_seq == 0, -1).argmax(dim=1)
        rows = torch.arange(len(item_seq), device=item_seq.device)
        original = item_emb.detach()[rows, position]
        return position, original - gradient[rows, position].sign(), original

    def _project(
        self, perturbed: torch.Tensor, original: torch.Tensor, items: torch.Tensor, ties: torch.Tensor
    ) -> torch.Tensor:
        """``[B, T]`` items to try, most similar first; ``ties`` (``[B, V - 1]``) orders columns of equal rank."""
        items = F.normalize(items, dim=-1)
        similarity = F.normalize(perturbed, dim=-1) @ items.T
        value = (similarity * self._allowed(original, items)).gather(1, ties)
        ranking = ties.gather(1, value.argsort(dim=1, descending=True, stable=True))
        return ranking[:, : self.candidates] + 1

    def _allowed(self, original: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """``[B, V - 1]`` whether an item (rows of ``items``, of length 1) is similar enough to the original one."""
        return F.normalize(original, dim=-1) @ items.T >= self.min_cosine


def _item_rows(model: Any, context: AttackContext) -> torch.Tensor:
    """``[V - 1, H]`` embeddings of the items, without padding and a model's own tokens."""
    return model.item_embedding.weight[1 : context.outside.n_items]


def _random_orders(users: Int, context: AttackContext) -> torch.Tensor:
    """``[B, V - 1]`` columns in random order; the same for all rows of a user in one step."""
    orders = {
        user: stream(context.seed, "substitution ties", context.epoch, context.step, user).permutation(
            context.outside.n_items - 1
        )
        for user in np.unique(users).tolist()
    }
    return torch.from_numpy(np.stack([orders[user] for user in users.tolist()]))
