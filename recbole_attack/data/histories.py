"""Histories that nobody has: drawn from a model or at random, and what an honest client with such a one would train on.

A sequential model has no vectors of users; it has states after histories, and who holds the model can make histories
up: an attacker that aims at users it never saw, or a server that wants an update of its own. Nothing here is
differentiated, and nothing sees dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_attack.data.batches import TrainBatch
from recbole_attack.data.negatives import NonInteracted
from recbole_attack.data.sequences import from_pairs
from recbole_attack.utils.rng import stream, without_dropout


class Profile(NamedTuple):
    """The sequences ``B`` clients train on.

    Attributes:
        item_seq: ``[B, L]`` items, padded with 0 on the right.
        item_seq_len: ``[B]`` lengths, at least 1.
    """

    item_seq: torch.Tensor
    item_seq_len: torch.Tensor

    def repeat(self, times: int) -> Profile:
        """Every client ``times`` times in a row."""
        return Profile(*(field.repeat_interleave(times, dim=0) for field in self))

    def to(self, device: torch.device) -> Profile:
        """The same on another device."""
        return Profile(*(field.to(device) for field in self))


def sampled_histories(model: Any, count: int, length: int, barred: torch.Tensor, rng: np.random.Generator) -> Profile:
    """Users drawn from the model itself: histories sampled item by item from its own next-item distribution.

    The first item is uniform, as a model without a history says nothing; every other one is drawn with probability
    ``softmax(scores)`` among the items that are not in the history yet. Where the model is trained with uniform
    negatives, a score is the log-odds of an item against a random one, so this is the distribution it has learned.

    Args:
        model: The model as received.
        count: Histories S.
        length: Items of each, cut to what the model reads and the catalogue has.
        barred: ``[T]`` items nobody has: what is promoted is promoted to those who do not have it.
        rng: Draws a number for each item, whatever the model is.
    """

    def by_score(items: torch.Tensor, closed: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        if not items.shape[1]:
            return _by_place(closed, share, model.n_items)
        scores = model.score_items(items, torch.full((count,), items.shape[1], device=items.device))
        chances = without(scores.double(), closed).softmax(dim=1).cumsum(dim=1)
        chosen = torch.searchsorted(chances, share[:, None] * chances[:, -1:], right=True)
        return chosen[:, 0].clamp(max=model.n_items - 1)

    return _drawn(model, count, length, barred, rng, by_score)


def random_histories(model: Any, count: int, length: int, barred: torch.Tensor, rng: np.random.Generator) -> Profile:
    """The same of items drawn without asking the model, all of them alike."""

    def alike(_: torch.Tensor, closed: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        return _by_place(closed, share, model.n_items)

    return _drawn(model, count, length, barred, rng, alike)


def weighted_histories(
    shares: torch.Tensor, lengths: Sequence[int] | np.ndarray[Any, Any], rng: np.random.Generator
) -> Profile:
    """Users without taste: items drawn in proportion to their shares, and put into a random order.

    They are drawn one after the other without replacement, which those with the largest ``u^(1/share)`` are (Efraimidis
    and Spirakis 2006).

    Args:
        shares: ``[n_items]``, that of the padding item 0; at least two others are positive.
        lengths: ``[S]`` items of each history, cut to what leaves an item over.
        rng: Draws a number for each history and item, and for each place.
    """
    device, most = shares.device, max(int((shares > 0).sum()) - 1, 1)
    sizes = np.minimum(lengths, most)
    uniform, order = rng.random((len(sizes), len(shares))), rng.random((len(sizes), sizes.max()))
    order[np.arange(sizes.max()) >= sizes[:, None]] = 2.0  # padding comes last
    ranked = (torch.from_numpy(uniform).to(device).log() / shares).nan_to_num(nan=-torch.inf)
    drawn = ranked.topk(int(sizes.max()), dim=1).indices
    counts = torch.from_numpy(sizes).to(device)
    drawn = torch.where(torch.arange(drawn.shape[1], device=device) < counts[:, None], drawn, 0)
    return Profile(drawn.gather(1, torch.from_numpy(order.argsort(axis=1)).to(device)), counts)


def log_lengths(count: int, longest: int) -> np.ndarray[Any, Any]:
    """``[S]`` lengths of histories, the shortest first: a quarter are the longest, the others evenly on a log scale."""
    place = np.arange(count) * 4 / (3 * count)
    return np.floor(longest ** place.clip(max=1.0) + 1e-9).astype(int)  # powers of whole numbers are a little off


def even_lengths(count: int, longest: int) -> np.ndarray[Any, Any]:
    """``[S]`` lengths of histories, the shortest first: a quarter are the longest, the others evenly from 1 to it."""
    return np.minimum(1 + np.arange(count) * longest * 4 // (3 * count), longest)


LENGTHS: dict[str, Callable[[int, int], np.ndarray[Any, Any]]] = {"log": log_lengths, "even": even_lengths}
"""How the lengths of users without taste are spread."""


def training_batch(
    profile: Profile, n_items: int, needs_draws: bool, seed: int, purpose: str, keys: Sequence[tuple[int, ...]]
) -> TrainBatch:
    """What honest clients with these histories would train on.

    Negatives are drawn outside a row's history, which is all that is known of a client here: real ones have one item
    more to predict where theirs are cut, and draw no negative that they had before. A model that masks items gets draws
    of the client's own.

    Args:
        profile: ``B`` histories.
        n_items: Items of the catalogue, the padding item among them.
        needs_draws: Whether the model's loss draws.
        seed: The run's seed.
        purpose: What tells these draws from those of others.
        keys: What tells each of the ``B`` rows' draws from those of other rows and times.
    """
    items = profile.item_seq.cpu().numpy()
    rows, columns = np.nonzero(items)
    outside = NonInteracted(from_pairs(rows, items[rows, columns], len(items), n_items))
    negatives, draws = np.zeros_like(items[:, 1:]), np.zeros(items.shape)
    for row, key in enumerate(keys):
        rng = stream(seed, f"{purpose} negatives", *key)
        negatives[row] = outside.sample(rng, np.full(negatives.shape[1], row))
        draws[row] = stream(seed, f"{purpose} draws", *key).random(items.shape[1])
    pos_items = profile.item_seq[:, 1:]
    item_seq = torch.where(pos_items != 0, profile.item_seq[:, :-1], 0)
    neg_items = torch.where(pos_items != 0, torch.from_numpy(negatives).to(pos_items), 0)
    drawn = torch.from_numpy(draws).to(pos_items.device) if needs_draws else None
    return TrainBatch(item_seq, pos_items, neg_items, drawn)


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Run a block without dropout and without gradients."""
    with without_dropout(model), torch.no_grad():
        yield


def without(scores: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Scores ``[S, n_items]`` with ``-inf`` at padding and at each row's ``items`` (``[S, N]``)."""
    scores = scores.scatter(1, items, -torch.inf)
    scores[:, 0] = -torch.inf
    return scores


def _drawn(
    model: Any,
    count: int,
    length: int,
    barred: torch.Tensor,
    rng: np.random.Generator,
    choose: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> Profile:
    """Histories without an item twice.

    ``choose`` maps the items so far ``[S, N]``, those that are closed ``[S, C]`` and a share of what is open ``[S]``,
    in the order of ids, to the next item of each.
    """
    barred = barred if len(barred) < model.n_items - 1 else barred[:0]
    width = max(min(length, model.max_seq_length, model.n_items - 2 - len(barred)), 1)
    shares = torch.from_numpy(rng.random((count, width))).to(barred.device)
    items = barred.new_zeros(count, 0)
    with frozen(model):
        for share in shares.T:
            closed = torch.cat([items, barred.expand(count, -1)], dim=1)
            items = torch.cat([items, choose(items, closed, share)[:, None]], dim=1)
    return Profile(items, torch.full((count,), width, device=items.device))


def _by_place(closed: torch.Tensor, share: torch.Tensor, n_items: int) -> torch.Tensor:
    """``[S]`` what stands at a share of the items above 0 that are not closed (``[S, C]``, none twice)."""
    place = (share * (n_items - 1 - closed.shape[1])).long() + 1
    open_below = closed.sort(dim=1).values - torch.arange(closed.shape[1], device=closed.device)
    return place + (open_below <= place[:, None]).sum(dim=1)
