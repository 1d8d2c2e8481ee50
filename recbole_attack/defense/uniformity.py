"""UNION: clients after whose update alone the item embeddings would lie otherwise than after others' are left out."""

from __future__ import annotations

from functools import partial

import torch

from recbole_attack.defense.judging import Judged, Known
from recbole_attack.defense.weighting import Weighting, normalised
from recbole_attack.utils.rng import stream


def union(
    sent: Judged, weights: torch.Tensor, known: Known, key: tuple[int, ...], items: int = 500, references: int = 50
) -> Weighting:
    """The weighted mean without the smaller of two clusters of clients, if there are two.

    Yu et al. 2023, "Untargeted Attack against Federated Recommendation Systems via Poisonous Item Embeddings and the
    Defense", AAAI 2023 (arXiv:2212.05399). A client's uniformity is the mean distance between the embeddings of two
    drawn items after a step of the server along this client's update alone. The clients' are scaled to ``[0, 1]`` and
    cut in two clusters where the gap statistic has it so (:func:`smaller_cluster`).

    The step is that of the server's optimiser, as in released code. There, honest clients also train on a contrastive
    loss that spreads items, reference sets are drawn once, a second cluster of no more clients than are taken for
    hostile is dropped whatever the gap says, and Multi-Krum or norm bounding may follow. Here clients train as they
    always do, references are drawn in each round, the gap alone decides, and the mean follows.

    Only rows of drawn items that a client touched differ from client to client, so that their distances to the drawn
    items are all there is to compute.

    Args:
        sent: Updates of ``N`` clients.
        weights: ``[N]``.
        known: What the server knows.
        key: Seed, epoch and round.
        items: Items that are drawn, at most all.
        references: Reference sets of the gap statistic.
    """
    seed, *keys = key
    device, size = weights.device, len(known.items) - 1
    drawn = 1 + stream(seed, "union items", *keys).permutation(size)[:items]
    found = uniformities(sent, len(weights), known, torch.from_numpy(drawn).to(device))
    shares = stream(seed, "union references", *keys).random((references, len(weights)))
    outside = smaller_cluster(found, torch.from_numpy(shares).to(device))
    return Weighting(normalised(weights * ~outside))


def uniformities(sent: Judged, clients: int, known: Known, drawn: torch.Tensor) -> torch.Tensor:
    """``[N]`` mean distance between two of the items ``drawn [S]``, after each client's update alone; float64.

    A mean over pairs changes by what the touched rows ``T`` bring: their distances to all items of before and to each
    other instead of those that they had.
    """
    pairs = len(drawn) * (len(drawn) - 1) / 2
    distances = partial(torch.cdist, compute_mode="donot_use_mm_for_euclid_dist")
    rest = known.stepped(drawn, known.items.new_zeros(len(drawn), known.items.shape[1])).double()
    before = distances(rest, rest)
    place = torch.full_like(known.items[:, 0], -1, dtype=torch.int64)
    place[drawn] = torch.arange(len(drawn), device=drawn.device)
    listed = (sent.item < len(place)).nonzero().squeeze(1)
    listed = listed[place[sent.item[listed]] >= 0]
    moved = known.stepped(sent.item[listed], sent.rows[listed]).double()
    touched = torch.bincount(sent.client[listed], minlength=clients).tolist()
    total, found = before.sum() / 2, []
    for at, after in zip(place[sent.item[listed]].split(touched), moved.split(touched), strict=True):
        across, inside = distances(after, rest), distances(after, after)
        new = across.sum() - across[:, at].sum() + inside.sum() / 2
        old = before[at].sum() - before[at][:, at].sum() / 2
        found.append(total + new - old)
    return torch.stack(found) / max(pairs, 1)


def smaller_cluster(values: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """``[N]`` whether a value is in the smaller of two clusters; nowhere, if there is one cluster or both are equal.

    Tibshirani, Walther and Hastie 2001, "Estimating the number of clusters in a data set via the gap statistic": with
    ``W_k`` the squared distances of values to the means of their ``k`` clusters, ``Gap(k)`` is the mean of ``log W_k``
    over the reference sets minus ``log W_k``, ``s_k`` the former's standard deviation times ``sqrt(1 + 1 / B)``; two
    clusters if ``Gap(1) < Gap(2) - s_2``. In one dimension the best two clusters are cut at one place, which is looked
    for among all.

    Args:
        values: ``[N]`` of any scale.
        references: ``[B, N]`` uniform in [0, 1].

    >>> uniform = torch.tensor([[0.1, 0.4, 0.5, 0.9], [0.2, 0.3, 0.6, 0.8]], dtype=torch.float64)
    >>> smaller_cluster(torch.tensor([7.0, 5.01, 5.0, 5.02], dtype=torch.float64), uniform)
    tensor([ True, False, False, False])
    """
    spread = values.max() - values.min()
    if len(values) < 3 or not spread > 1e-12 * values.abs().max():
        return torch.zeros_like(values, dtype=torch.bool)
    scaled, order = ((values - values.min()) / spread).sort()
    one, two, cut = (part.squeeze(0) for part in _scatter(scaled[None]))
    ones, twos, _ = _scatter(references.double().sort(dim=1).values)
    gaps = [expected.log().mean() - own.log() for own, expected in ((one, ones), (two, twos))]
    deviation = twos.log().std(correction=0) * (1 + 1 / len(references)) ** 0.5
    low = torch.arange(len(values), device=values.device) < cut
    smaller = low if cut < len(values) - cut else ~low
    split = (gaps[0] < gaps[1] - deviation) & (2 * cut != len(values))
    return torch.zeros_like(low).scatter(0, order, smaller & split)


def _scatter(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of sorted values ``[B, N]``: ``W_1`` and ``W_2`` ``[B]``, above rounding, and the size of the first of two."""
    n = values.shape[1]
    sizes = torch.arange(1, n + 1, device=values.device)
    sums, squares = values.cumsum(dim=1), values.square().cumsum(dim=1)
    below = squares - sums.square() / sizes
    rest, left = (whole[:, -1:] - whole[:, :-1] for whole in (sums, squares))
    both = (below[:, :-1] + left - rest.square() / (n - sizes[:-1])).min(dim=1)
    return below[:, -1].clamp(min=1e-12), both.values.clamp(min=1e-12), both.indices + 1
