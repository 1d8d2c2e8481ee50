"""Rules that weight whole updates. They see inner products of updates and never an update itself.

Every rule is ``(gram [..., N, N], weights [..., N]) -> Weighting``: ``gram[i, j] = <u_i, u_j>`` of finite updates, and
positive weights of any sum. The aggregate is ``sum_c client_weights[c] * u_c``. All distances follow from the Gram
matrix, so a rule costs ``N x N`` however long updates are and however they are stored. Leading dimensions are rounds
of their own, computed side by side. Computations are in float64, where a hostile update of 1e30 leaves the distances
between honest ones as they are.

The examples in this package aggregate the same five updates, the last one hostile; each rule gives another result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from recbole_attack.defense.gram import distances_to, gram_matrix, squared_distances, times  # noqa: F401 (examples)
from recbole_attack.utils.shares import part_of


@dataclass(frozen=True)
class Weighting:
    """What a rule gives each client.

    Attributes:
        client_weights: ``[..., N]`` in float64, not negative; they sum to 1 unless the rule changes their length.
        iterations: Steps of an iterative rule, 0 for a closed form; of several rounds, the most.
        residual: How far an iterative rule is from its fixed point, 0 for a closed form; its docstring has the unit.
            Of several rounds, the largest.
    """

    client_weights: torch.Tensor
    iterations: int = 0
    residual: float = 0.0


WeightingRule = Callable[[torch.Tensor, torch.Tensor], Weighting]
"""``(gram [..., N, N], weights [..., N]) -> Weighting``."""


def mean(gram: torch.Tensor, weights: torch.Tensor) -> Weighting:
    """FedAvg (McMahan et al. 2017): ``sum_c w_c u_c / sum_c w_c``. One hostile client moves it anywhere.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> mean(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([2.8000, 2.4000], dtype=torch.float64)
    """
    return Weighting(normalised(weights))


def sum_(gram: torch.Tensor, weights: torch.Tensor) -> Weighting:
    """Sum of the updates, as the released code of DV-FSR steps without a defence: ``sum_c w_c u_c``.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> sum_(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([14., 12.], dtype=torch.float64)
    """
    return Weighting(weights.double())


def krum(gram: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None) -> Weighting:
    """The update nearest to its nearest neighbours (Blanchard et al. 2017).

    ``argmin_i sum_{j in near(i)} |u_i - u_j|^2``, ``near(i)`` the ``N - f - 2`` other clients nearest to ``i``, at
    least one; ``f`` as in :func:`assumed_hostile`. As in the paper and in Flower; byzfl takes ``N - f - 1`` of them. Of
    equal scores the first wins. Weights are ignored: one client's update stands for all. An update of zeros, such as a
    BERT4Rec client sends whose draws mask nothing, is near to all others and apt to win.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> krum(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([0., 0.], dtype=torch.float64)
    """
    best = _krum_order(gram, assumed_hostile(gram.shape[-1], byzantine_ratio))[..., :1]
    nothing = torch.zeros_like(gram[..., 0], dtype=torch.float64)
    return Weighting(nothing.scatter(-1, best, 1.0))


def multi_krum(
    gram: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None, selected: int | None = None
) -> Weighting:
    """The weighted mean of the ``m`` updates with the smallest scores of :func:`krum` (Blanchard et al. 2017).

    ``m`` is ``selected``, at most ``N``; by default ``N - f - 2``, at least one, so that an honest majority can fill
    every place (El Mhamdi et al. 2018). byzfl takes ``N - f``. With equal weights it is the paper's plain mean.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> multi_krum(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    n = gram.shape[-1]
    hostile = assumed_hostile(n, byzantine_ratio)
    best = _krum_order(gram, hostile)[..., : selected or max(n - hostile - 2, 1)]
    nothing = torch.zeros_like(gram[..., 0], dtype=torch.float64)
    return Weighting(normalised(nothing.scatter(-1, best, weights.double().gather(-1, best))))


def assumed_hostile(clients: int, byzantine_ratio: float | None) -> int:
    """Krum's ``f``: a share of the round's clients, rounded down; at most, and by default, ``(N - 3) // 2``.

    Krum's theorem needs ``2 f + 2 < N``.

    >>> assumed_hostile(10, 0.2), assumed_hostile(10, None), assumed_hostile(1, 0.2)
    (2, 3, 0)
    """
    most = max((clients - 3) // 2, 0)
    return most if byzantine_ratio is None else min(part_of(clients, byzantine_ratio), most)


def norm_clipping(gram: torch.Tensor, weights: torch.Tensor, clip_norm: float | None = None) -> Weighting:
    """The weighted mean of updates no longer than a bound: ``sum_c w_c min(1, b / |u_c|) u_c / sum_c w_c``.

    ``b`` is ``clip_norm`` (Sun et al. 2019, "Can You Really Backdoor Federated Learning?"), by default the median of
    the round's norms, each client counting once, the mean of the middle two if there are two. Weights sum to less
    than 1 where updates were clipped.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> norm_clipping(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([1.0157, 0.7047], dtype=torch.float64)
    """
    norms = gram.diagonal(dim1=-2, dim2=-1).double().clamp(min=0).sqrt()
    middle = norms.quantile(0.5, dim=-1, keepdim=True)
    bound = middle if clip_norm is None else torch.full_like(middle, clip_norm)
    return Weighting(normalised(weights) * torch.where(norms > bound, bound / norms, 1.0))


def centered_clipping(
    gram: torch.Tensor, weights: torch.Tensor, clip_norm: float | None = None, steps: int = 3
) -> Weighting:
    """Clipping around a centre that moves: ``v <- v + sum_c w_c min(1, b / |u_c - v|) (u_c - v) / sum_c w_c``.

    Karimireddy, He and Jaggi 2021, "Learning from History for Byzantine Robust Optimization", ICML 2021, ``L`` steps
    of it. There, clients send momenta and ``v`` starts at the last round's aggregate, so that hostile clients have to
    agree over many rounds. Clients of a recommender are others in each round and have no momentum; here ``v`` starts
    at 0 in every round, as byzfl's does in its first. So the first step is :func:`norm_clipping`, the others take back
    what clipping cost. ``b`` is ``clip_norm`` (``tau``, 100 in byzfl), by default the median of the distances from
    ``v`` in each step.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> centered_clipping(gram_matrix(updates), torch.ones(5), steps=1).client_weights @ updates
    tensor([1.0157, 0.7047], dtype=torch.float64)
    >>> centered_clipping(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([1.3085, 0.8825], dtype=torch.float64)
    """
    gram, shares = gram.double(), normalised(weights)
    found = torch.zeros_like(shares)
    for _ in range(steps):
        distances = distances_to(gram, found, times(gram, found))
        middle = distances.quantile(0.5, dim=-1, keepdim=True)
        bound = middle if clip_norm is None else torch.full_like(middle, clip_norm)
        pulls = shares * torch.where(distances > bound, bound / distances, 1.0)
        found = found * (1 - pulls.sum(dim=-1, keepdim=True)) + pulls
    return Weighting(found)


def normalised(weights: torch.Tensor) -> torch.Tensor:
    """Weights ``[..., N]`` in float64 that sum to 1."""
    return weights.double() / weights.double().sum(dim=-1, keepdim=True)


def _krum_order(gram: torch.Tensor, hostile: int) -> torch.Tensor:
    """Clients by Krum's score, best first."""
    n = gram.shape[-1]
    distances = squared_distances(gram.double())
    distances.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    neighbours = min(max(n - hostile - 2, 1), max(n - 1, 1))
    nearest = distances.sort(dim=-1).values[..., :neighbours]
    return nearest.sum(dim=-1).sort(dim=-1, stable=True).indices
