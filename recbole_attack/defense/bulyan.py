"""Bulyan: clients are selected by their inner products, and then combined coordinate by coordinate."""

from __future__ import annotations

import torch

from recbole_attack.defense.coordinates import in_order
from recbole_attack.defense.gram import gram_matrix, squared_distances  # noqa: F401 (example below)
from recbole_attack.defense.mixing import Mixture
from recbole_attack.utils.shares import part_of


def select(
    gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor, byzantine_ratio: float | None = None
) -> Mixture:
    """First, clients are selected: the updates stay as they are, with a weight of 1 where selected and else none.

    El Mhamdi, Guerraoui and Rouault 2018, "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018.
    Of ``N`` updates, ``N - 2 f`` are selected: Krum's choice among those that are left, one after the other. While
    ``m`` are left, a client's score is the sum of its squared distances to the ``m - f - 2`` nearest of these, at least
    one.

    ``f`` is a share of the clients, at most and by default ``(N - 3) // 4``, as the paper's theorem needs; with few
    clients it is 0 and the rule is the mean. Weights are ignored, as by Krum and the median. A tie goes to the first
    client. There are ties: with ``f`` of 1 or 2, the last clients are chosen by one neighbour, and two that are each
    other's nearest have equal scores.

    >>> updates = torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0], [9.0], [99.0]], dtype=torch.float64)
    >>> select(gram_matrix(updates), torch.ones(7), torch.arange(7)).weights
    tensor([1., 1., 1., 1., 1., 0., 0.], dtype=torch.float64)
    """
    n = gram.shape[-1]
    hostile = borne(n, byzantine_ratio)
    if hostile == 0:
        return Mixture(None, torch.ones_like(gram[..., 0], dtype=torch.float64))
    distances = squared_distances(gram.double())
    distances.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    ordered, order = distances.sort(dim=-1)
    ordered, order = ordered[..., :-1], order[..., :-1]
    left = torch.ones_like(gram[..., 0], dtype=torch.bool)
    for gone in range(n - 2 * hostile):
        there = left[..., None, :].expand_as(distances).gather(-1, order)
        near = there & (there.cumsum(dim=-1) <= max(n - gone - hostile - 2, 1))
        scores = ordered.where(near, 0.0).sum(dim=-1).where(left, torch.inf)
        left = left.scatter(-1, scores.argmin(dim=-1, keepdim=True), False)
    return Mixture(None, (~left).double())


def around_median(values: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None) -> torch.Tensor:
    """Then, in every coordinate: the mean of the ``N - 4 f`` selected values nearest to the selected ones' median.

    Of two values as near to the median the smaller counts.

    Args:
        values: ``[N, ...]``.
        weights: ``[N, ...]``, above 0 for selected clients; ``N - 2 f`` of them.
        byzantine_ratio: As in :func:`select`.
    """
    n = len(values)
    hostile = borne(n, byzantine_ratio)
    selected = n - 2 * hostile
    absent = (weights <= 0).reshape(*weights.shape, *[1] * (values.ndim - weights.ndim))
    ordered = in_order(values, absent).movedim(0, -1)[..., :selected]
    median = (ordered[..., (selected - 1) // 2] / 2 + ordered[..., selected // 2] / 2)[..., None]
    width = selected - 2 * hostile  # the nearest values stand side by side
    farthest = median - ordered[..., : selected - width + 1]
    torch.maximum(farthest, ordered[..., width - 1 :] - median, out=farthest)
    window = farthest.argmin(dim=-1, keepdim=True) + torch.arange(width, device=values.device)
    return ordered.gather(-1, window).mean(dim=-1)


def borne(clients: int, byzantine_ratio: float | None) -> int:
    """Bulyan's ``f``.

    >>> borne(100, 0.1), borne(100, None), borne(6, None)
    (10, 24, 0)
    """
    most = max((clients - 3) // 4, 0)
    return most if byzantine_ratio is None else min(part_of(clients, byzantine_ratio), most)
