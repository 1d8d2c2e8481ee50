"""The geometric median of updates, and its mixture with their mean; both are rules on the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from recbole_attack.defense.gram import distances_to, gram_matrix, squared_distances, times  # noqa: F401 (examples)
from recbole_attack.defense.weighting import Weighting, WeightingRule, normalised


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
    Often the point nearest to all is a client, above all among few. Weiszfeld's iteration would come to it ever more
    slowly; the robust start tests for it (Vardi and Zhang 2000) and begins there, which leaves a step or two of length
    ``nu``. Beside a client that is only nearly the point, ``max_iterations`` may still come before ``tolerance``.

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
    gram, shares = gram.double(), normalised(weights)
    distances = squared_distances(gram).sqrt()
    typical = _weighted_median(distances, shares[..., None, :])
    together = shares * (typical == 0)
    found = together.any(dim=-1, keepdim=True)  # a point that holds half of the weight is a geometric median
    nearest = smoothing * _weighted_median(typical, shares)[..., None]
    clients = Clients(gram, shares, distances, typical, nearest)
    first = torch.where(found, together / together.sum(dim=-1, keepdim=True), STARTS[start](clients))
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
    image = times(gram, current)
    for iteration in range(max_iterations + 1):
        pulls = shares / distances_to(gram, current, image).maximum(nearest)
        pull = pulls.sum(dim=-1, keepdim=True)
        following = pulls / pull
        following_image = times(gram, following)
        step = (following - current) * (following_image - image)
        residual = step.sum(dim=-1, keepdim=True).clamp(min=0).sqrt() * pull
        moving = ~found & (residual > tolerance)
        if iteration == max_iterations or not bool(moving.any()):
            break
        current = torch.where(moving, following, current)
        image = torch.where(moving, following_image, image)
    return Weighting(current, iteration, float(residual.where(~found, 0.0).max()))


class Clients(NamedTuple):
    """What a start may look at.

    Attributes:
        gram: ``[..., N, N]`` inner products.
        shares: ``[..., N]`` weights that sum to 1.
        distances: ``[..., N, N]`` between updates.
        typical: ``[..., N]`` each one's weighted median distance to all, itself included.
        nearest: ``[..., 1]`` distance ``nu`` below which updates count as together.
    """

    gram: torch.Tensor
    shares: torch.Tensor
    distances: torch.Tensor
    typical: torch.Tensor
    nearest: torch.Tensor


def from_mean(clients: Clients) -> torch.Tensor:
    """The weighted mean."""
    return clients.shares


def from_client_or_typical_distances(clients: Clients) -> torch.Tensor:
    """A client that is itself the median; if there is none, each by its weight over its typical distance.

    Weiszfeld's iteration comes near a client only slowly, the more so the less it outweighs the others, but from there
    it takes one step. In the other start, a hostile client's weight falls as fast as it moves away while clients of
    more than half the weight stay together.
    """
    candidate = _nearest_to_all(clients)
    raw = clients.shares * (clients.typical.amin(dim=-1, keepdim=True) / clients.typical)
    return torch.where(_is_median(candidate, clients), candidate, raw / raw.sum(dim=-1, keepdim=True))


def _nearest_to_all(clients: Clients) -> torch.Tensor:
    """The client with the least objective: if any is the median, then this one. The middle of those that share it."""
    objective = times(clients.distances, clients.shares)
    best = clients.shares * (objective <= objective.amin(dim=-1, keepdim=True) + clients.nearest)
    return best / best.sum(dim=-1, keepdim=True)


def _is_median(point: torch.Tensor, clients: Clients) -> torch.Tensor:
    """``[..., 1]`` whether clients elsewhere pull no harder than the weight at a point holds (Vardi and Zhang 2000).

    ``|sum_i w_i (u_i - v) / d_i|`` over clients with ``d_i > nu`` is at most ``sum_i w_i`` over the others.
    """
    distances = distances_to(clients.gram, point, times(clients.gram, point))
    here = distances <= clients.nearest
    pulls = torch.where(here, 0.0, clients.shares / distances)
    gradient = pulls - pulls.sum(dim=-1, keepdim=True) * point
    squared_length = (gradient * times(clients.gram, gradient)).sum(dim=-1, keepdim=True)
    return squared_length.clamp(min=0).sqrt() <= (clients.shares * here).sum(dim=-1, keepdim=True) + 1e-9


STARTS: dict[str, Callable[[Clients], torch.Tensor]] = {
    "robust": from_client_or_typical_distances,
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
    in_mean = normalised(MEAN_WEIGHTS[mean_weights](weights))
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


def _weighted_median(values: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Along the last dimension, the smallest value with at least half of the weight at or below it."""
    ordered, order = values.sort(dim=-1)
    below = shares.expand_as(values).gather(-1, order).cumsum(-1)
    place = (below < 0.5 - 1e-12).sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    return ordered.gather(-1, place).squeeze(-1)
