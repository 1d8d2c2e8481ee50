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

from recbole_attack.defense.gram import gram_matrix, squared_distances  # noqa: F401 (examples below)


@dataclass(frozen=True)
class Weighting:
    """What a rule gives each client.

    Attributes:
        client_weights: ``[..., N]`` in float64, not negative; they sum to 1 unless the rule shrinks updates.
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
    return Weighting(_shares(weights))


def sum_(gram: torch.Tensor, weights: torch.Tensor) -> Weighting:
    """Sum of the updates, as the released code of DV-FSR steps without a defence: ``sum_c w_c u_c``.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> sum_(gram_matrix(updates), torch.ones(5)).client_weights @ updates
    tensor([14., 12.], dtype=torch.float64)
    """
    return Weighting(weights.double())


def geometric_median(
    gram: torch.Tensor,
    weights: torch.Tensor,
    max_iterations: int = 100,
    tolerance: float = 1e-5,
    smoothing: float = 1e-6,
    start: str = "robust",
) -> Weighting:
    """The point nearest to all updates: ``argmin_v sum_i w_i |v - u_i|`` (RFA, Pillutla et al. 2022; DV-FSR, eq. 9).

    Weiszfeld's iteration on the Gram matrix ``G``: ``v = sum_c a_c u_c`` stands at
    ``d_i^2 = G_ii - 2 (G a)_i + a'G a`` from ``u_i``, and the next ``a_i`` is proportional to ``w_i / max(d_i, nu)``.
    Bounded while clients of less than half the weight are hostile, however long it iterates, if the start is robust;
    from the mean, each step takes back only part of what a hostile client did (a factor of 2 with 1 of 3 hostile).

    Implementations differ in what is an option here: the released code of DV-FSR, after RFA, starts at the mean and
    stops after 4 iterations (``nu`` = 1e-5, or when the objective falls by less than 1e-6 of itself); geom-median
    starts at the mean (100 iterations, 1e-6, 1e-20), byzfl at zero (3 iterations, 0.1), byzpy at the coordinate-wise
    median (256 iterations, 1e-12, until a step is shorter than 1e-6). We do not stop on the objective: beside a client
    at 1e30 no change of the other distances shows in it.

    Args:
        gram: ``[..., N, N]`` inner products.
        weights: ``[..., N]``.
        max_iterations: Most steps taken.
        tolerance: Stop at this residual: the length of ``sum_i w_i (v - u_i) / max(d_i, nu)``, the gradient of the
            objective, over ``sum_i w_i``. It lies between 0 and 1 and does not change with the scale of updates; the
            objective's excess goes with its square.
        smoothing: ``nu`` in units of the typical distance between clients (the weighted median over clients of each
            one's weighted median distance to all).
        start: A name in :data:`STARTS`.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> result = geometric_median(gram_matrix(updates), torch.ones(5))
    >>> result.client_weights @ updates
    tensor([1.5988, 0.9090], dtype=torch.float64)
    """
    gram, shares = gram.double(), _shares(weights)
    typical = _weighted_median(squared_distances(gram).sqrt(), shares[..., None, :])
    together = shares * (typical == 0)
    found = together.any(dim=-1, keepdim=True)  # a point that holds half of the weight is a geometric median
    first = torch.where(found, together / together.sum(dim=-1, keepdim=True), STARTS[start](shares, typical))
    nearest = smoothing * _weighted_median(typical, shares)[..., None]
    return _weiszfeld(gram, shares, first, found, nearest, max_iterations, tolerance)


def _weiszfeld(
    gram: torch.Tensor,
    shares: torch.Tensor,
    current: torch.Tensor,
    found: torch.Tensor,
    nearest: torch.Tensor,
    max_iterations: int,
    tolerance: float,
) -> Weighting:
    """From ``current`` until every round stands still; one that does, or is ``found`` already, stays where it is."""
    image, squares = _times(gram, current), gram.diagonal(dim1=-2, dim2=-1)
    for iteration in range(max_iterations + 1):
        length = (current * image).sum(dim=-1, keepdim=True)
        distances = (squares - 2 * image + length).clamp(min=0).sqrt().maximum(nearest)
        pulls = shares / distances
        pull = pulls.sum(dim=-1, keepdim=True)
        following = pulls / pull
        following_image = _times(gram, following)
        step = (following - current) * (following_image - image)
        residual = step.sum(dim=-1, keepdim=True).clamp(min=0).sqrt() * pull
        moving = ~found & (residual > tolerance)
        if iteration == max_iterations or not bool(moving.any()):
            break
        current = torch.where(moving, following, current)
        image = torch.where(moving, following_image, image)
    return Weighting(current, iteration, float(residual.where(~found, 0.0).max()))


def _times(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return (matrix @ vector[..., None]).squeeze(-1)


def from_mean(shares: torch.Tensor, typical: torch.Tensor) -> torch.Tensor:
    """The weighted mean."""
    return shares


def from_typical_distances(shares: torch.Tensor, typical: torch.Tensor) -> torch.Tensor:
    """Each client by its weight over its typical distance, its weighted median distance to all clients.

    A hostile client's weight falls as fast as it moves away while clients of more than half the weight stay together.
    """
    raw = shares * (typical.amin(dim=-1, keepdim=True) / typical)
    return raw / raw.sum(dim=-1, keepdim=True)


STARTS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "robust": from_typical_distances,
    "mean": from_mean,
}
"""Where Weiszfeld's iteration starts, by the name ``--weiszfeld_start`` takes."""


def mixed(
    gram: torch.Tensor, weights: torch.Tensor, mean_share: float, median: WeightingRule, mean_weights: str = "clients"
) -> Weighting:
    """Mixed-RFA: ``lambda mean + (1 - lambda) GM`` (DV-FSR, eq. 10; ``lambda`` = 0.3 in the paper).

    Not bounded for any ``lambda`` above 0: a hostile client keeps ``lambda w_c / sum w`` of its pull on the mean.
    Iterations and residual are the geometric median's.

    Args:
        gram: ``[..., N, N]`` inner products.
        weights: ``[..., N]``.
        mean_share: ``lambda``, from 0 to 1.
        median: The geometric median; its clients always have ``weights``.
        mean_weights: A name in :data:`MEAN_WEIGHTS`: whether clients have the same weights in the mean.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> mixed(gram_matrix(updates), torch.ones(5), 0.3, geometric_median).client_weights @ updates
    tensor([1.9592, 1.3563], dtype=torch.float64)
    """
    found = median(gram, weights)
    in_mean = _shares(MEAN_WEIGHTS[mean_weights](weights))
    client_weights = mean_share * in_mean + (1 - mean_share) * found.client_weights
    return Weighting(client_weights, found.iterations, found.residual)


def clients_weights(weights: torch.Tensor) -> torch.Tensor:
    """Those of the geometric median: one ``alpha_i`` in either part of DV-FSR's eq. 10."""
    return weights


def equal_weights(weights: torch.Tensor) -> torch.Tensor:
    """The same for every client, as in DV-FSR's released code."""
    return torch.ones_like(weights)


MEAN_WEIGHTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "clients": clients_weights,
    "uniform": equal_weights,
}
"""Weights of clients in the mean of mixed-RFA, by the name ``--mean_weights`` takes."""


def krum(gram: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None) -> Weighting:
    """The update nearest to its nearest neighbours (Blanchard et al. 2017).

    ``argmin_i sum_{j in near(i)} |u_i - u_j|^2``, ``near(i)`` the ``N - f - 2`` other clients nearest to ``i``, at
    least one; ``f`` as in :func:`assumed_hostile`. As in the paper and in Flower; byzfl takes ``N - f - 1`` of them. Of
    equal scores the first wins. Weights are ignored: one client's update stands for all.

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
    return Weighting(_shares(nothing.scatter(-1, best, weights.double().gather(-1, best))))


def assumed_hostile(clients: int, byzantine_ratio: float | None) -> int:
    """Krum's ``f``: a share of the round's clients, rounded down; at most, and by default, ``(N - 3) // 2``.

    Krum's theorem needs ``2 f + 2 < N``.

    >>> assumed_hostile(10, 0.2), assumed_hostile(10, None), assumed_hostile(1, 0.2)
    (2, 3, 0)
    """
    most = max((clients - 3) // 2, 0)
    return most if byzantine_ratio is None else min(int(byzantine_ratio * clients + 1e-9), most)


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
    return Weighting(_shares(weights) * torch.where(norms > bound, bound / norms, 1.0))


def _shares(weights: torch.Tensor) -> torch.Tensor:
    return weights.double() / weights.double().sum(dim=-1, keepdim=True)


def _weighted_median(values: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Along the last dimension, the smallest value with at least half of the weight at or below it."""
    ordered, order = values.sort(dim=-1)
    below = shares.expand_as(values).gather(-1, order).cumsum(-1)
    place = (below < 0.5 - 1e-12).sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    return ordered.gather(-1, place).squeeze(-1)


def _krum_order(gram: torch.Tensor, hostile: int) -> torch.Tensor:
    """Clients by Krum's score, best first."""
    n = gram.shape[-1]
    distances = squared_distances(gram.double())
    distances.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    neighbours = min(max(n - hostile - 2, 1), max(n - 1, 1))
    nearest = distances.sort(dim=-1).values[..., :neighbours]
    return nearest.sum(dim=-1).sort(dim=-1, stable=True).indices
