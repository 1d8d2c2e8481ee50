"""What is done to a round's updates before a rule sees them: pre-aggregators.

They compose with all rules but those that judge what clients themselves sent (``fl_trust``, ``union``,
``exposure_quota``); ``support_shrunk`` and ``hics`` have to be ``per_item``.

A pre-aggregator is ``(gram [..., N, N], weights [..., N], places [..., N]) -> Mixture``. It makes ``M`` updates of
``N``, each a weighted sum, by a matrix ``A``; inner products of the new ones are ``A G A'``, so rules on the Gram
matrix need no update either, and what a rule gives the new updates, ``w``, comes to ``w A`` for the clients. Rules on
coordinates are given ``A u``. Per item, an item's rows are mixed among the clients that touched it.

The examples mix the five updates of :mod:`~recbole_attack.defense.weighting`, the last one hostile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from recbole_attack.defense.gram import gram_matrix, squared_distances  # noqa: F401 (examples below)
from recbole_attack.utils.shares import part_of


class Mixture(NamedTuple):
    """What became of ``N`` updates.

    Attributes:
        matrix: ``[..., M, N]`` in float64, a row for each new update; ``None`` where they are the old ones.
        weights: ``[..., M]`` the weights of the new ones.
    """

    matrix: torch.Tensor | None
    weights: torch.Tensor


MixingRule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Mixture]
"""``(gram [..., N, N], weights [..., N], places [..., N]) -> Mixture``; clients' places are in random order."""


class Unweighted(partial[Mixture]):
    """A :data:`MixingRule` that looks at no weights: it hands them on as they are."""


def nnm(gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor, hostile_ratio: float | None = None) -> Mixture:
    """Nearest-neighbour mixing: every update becomes the mean of its ``N - f`` nearest, itself among them.

    Allouah et al. 2023, "Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity", AISTATS 2023;
    ``f`` as in :func:`taken_for_hostile`. The mean is plain, so that nobody counts for more with others by claiming
    more examples; each new update has its client's weight. Of updates as near as each other the first ones count.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> nnm(gram_matrix(updates), torch.ones(5), torch.arange(5)).matrix @ updates
    tensor([[0.6667, 0.3333],
            [0.6667, 0.3333],
            [0.6667, 0.3333],
            [1.6667, 1.0000],
            [4.6667, 3.6667]], dtype=torch.float64)
    """
    n = gram.shape[-1]
    kept = n - taken_for_hostile(n, hostile_ratio)
    distances = squared_distances(gram.double())
    distances.diagonal(dim1=-2, dim2=-1).fill_(-1.0)  # before equal ones
    nearest = distances.sort(dim=-1, stable=True).indices[..., :kept]
    return Mixture(torch.zeros_like(distances).scatter(-1, nearest, 1 / kept), weights)


def bucketing(gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor, bucket_size: int = 2) -> Mixture:
    """Means of ``s`` clients put together at random, in place of the clients.

    Karimireddy, He and Jaggi 2022, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022. The
    last bucket holds what is left over. A bucket is the weighted mean of its clients and has their weights' sum, so
    that the mean of buckets is the mean of clients; with equal weights it is the paper's. One hostile client makes a
    whole bucket hostile: the rule that follows has to bear ``s`` times the share of hostile clients.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> bucketing(gram_matrix(updates), torch.ones(5), torch.tensor([4, 0, 1, 3, 2])).matrix @ updates
    tensor([[1.0000, 0.5000],
            [6.0000, 5.5000],
            [0.0000, 0.0000]], dtype=torch.float64)
    """
    n = weights.shape[-1]
    rank = places.argsort(dim=-1).argsort(dim=-1)
    buckets = torch.arange(-(-n // bucket_size), device=weights.device)
    members = (rank // bucket_size)[..., None, :] == buckets[:, None]
    raw = members * weights.double()[..., None, :]
    totals = raw.sum(dim=-1)
    return Mixture(raw / totals[..., None], totals)


def arc(gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor, hostile_ratio: float | None = None) -> Mixture:
    """Adaptive robust clipping: the ``k`` longest updates are cut to the length of the longest other one.

    ``k = floor(2 f / N (N - f))`` (Allouah et al. 2025, "Adaptive Gradient Clipping for Robust Federated Learning",
    ICLR 2025), ``f`` as in :func:`taken_for_hostile`; at most ``N - 1``.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> arc(gram_matrix(updates), torch.ones(5), torch.arange(5)).matrix @ updates
    tensor([[0.0000, 0.0000],
            [2.0000, 0.0000],
            [0.0000, 1.0000],
            [1.6641, 1.1094],
            [1.4142, 1.4142]], dtype=torch.float64)
    """
    n = gram.shape[-1]
    hostile = taken_for_hostile(n, hostile_ratio)
    norms = gram.diagonal(dim1=-2, dim2=-1).double().clamp(min=0).sqrt()
    bound = norms.sort(dim=-1).values[..., n - 1 - 2 * hostile * (n - hostile) // n, None]
    return Mixture(torch.diag_embed(torch.where(norms > bound, bound / norms, 1.0)), weights)


def taken_for_hostile(clients: int, ratio: float | None) -> int:
    """``f``: a share of the round's clients (of those that touch an item), rounded down; less than half of them.

    The most there can be by default.

    >>> taken_for_hostile(10, 0.2), taken_for_hostile(10, None), taken_for_hostile(1, 0.2)
    (2, 4, 0)
    """
    most = (clients - 1) // 2
    return most if ratio is None else min(part_of(clients, ratio), most)


def _nothing(config: Mapping[str, Any]) -> MixingRule | None:
    """Rules see updates as clients sent them."""
    return None


def _nnm(config: Mapping[str, Any]) -> MixingRule:
    """Each update becomes the mean of its nearest ones (NNM, Allouah et al. 2023)."""
    return Unweighted(nnm, hostile_ratio=config["hostile_ratio"])


def _bucketing(config: Mapping[str, Any]) -> MixingRule:
    """Means of clients put together at random (bucketing, Karimireddy et al. 2022)."""
    return partial(bucketing, bucket_size=config["bucket_size"])


def _arc(config: Mapping[str, Any]) -> MixingRule:
    """The longest updates are cut to the length of the others (ARC, Allouah et al. 2025)."""
    return Unweighted(arc, hostile_ratio=config["hostile_ratio"])


PRE_AGGREGATORS: dict[str, Callable[[Mapping[str, Any]], MixingRule | None]] = {
    "none": _nothing,
    "nnm": _nnm,
    "bucketing": _bucketing,
    "arc": _arc,
}
"""Pre-aggregators by the name ``--pre_aggregator`` takes."""
