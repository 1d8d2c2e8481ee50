"""Rules that look for the direction in which updates differ most; both are rules on the Gram matrix.

With ``G`` centred, ``C = (I - 1 a') G (I - a 1')`` for shares ``a``, the covariance of updates ``sum_i a_i (u_i - mu)
(u_i - mu)'`` has the eigenvalues of ``sqrt(a) C sqrt(a)``, which is ``N x N``; an eigenvector ``w`` of this one gives
the projections of updates on that of the covariance, ``C sqrt(a) w / sqrt(lambda)``.
"""

from __future__ import annotations

import torch

from recbole_attack.defense.gram import gram_matrix, times  # noqa: F401 (examples below)
from recbole_attack.defense.mixing import taken_for_hostile
from recbole_attack.defense.weighting import Weighting, normalised
from recbole_attack.utils.shares import part_of


def dnc(
    gram: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None, removed: float = 1.0
) -> Weighting:
    """Divide and conquer: the weighted mean without the ``c f`` updates that stand out most in the main direction.

    Shejwalkar and Houmansadr 2021, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning", NDSS 2021, algorithm 2: updates are centred at their plain mean, and scored by the squared
    projection on the top right singular vector. ``f`` as in :func:`~recbole_attack.defense.mixing.taken_for_hostile`.
    There, random coordinates are looked at, several times, and a client has to be kept each time, since the whole
    matrix does not fit into memory; the Gram matrix is that of all coordinates, so once is enough and nothing is drawn.
    Of equal scores the first clients are kept. One direction is looked at: of hostile clients that go far in several,
    those of the others stay.

    Args:
        gram: ``[..., N, N]`` inner products.
        weights: ``[..., N]``.
        byzantine_ratio: Share of hostile clients.
        removed: ``c``, the number that is removed as a multiple of ``f``; at least one client is kept.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> dnc(gram_matrix(updates), torch.ones(5), byzantine_ratio=0.2).client_weights @ updates
    tensor([1.2500, 0.7500], dtype=torch.float64)
    """
    gram, n = gram.double(), gram.shape[-1]
    kept = n - min(part_of(taken_for_hostile(n, byzantine_ratio), removed), n - 1)
    equal = torch.ones_like(gram[..., 0]) / n
    scores, _ = projections(gram, equal)
    best = scores.sort(dim=-1, stable=True).indices[..., :kept]
    return Weighting(normalised(torch.zeros_like(equal).scatter(-1, best, weights.double().gather(-1, best))))


def caf(gram: torch.Tensor, weights: torch.Tensor, byzantine_ratio: float | None = None) -> Weighting:
    """Covariance-bound agnostic filter: clients fade out by how far they stand out, and the calmest mean is taken.

    Allouah, Guerraoui and Stephan 2025, "Towards Trustworthy Federated Learning with Untrusted Participants", ICML
    2025. From ``c = 1``, while ``sum c > N - 2 f``: the mean weighted by ``c``, the largest eigenvalue ``lambda`` of
    the covariance around it, and ``c_i <- c_i (1 - p_i / max p)``, ``p_i`` being the squared projection on its
    eigenvector. Of all these means that with the smallest ``lambda`` is the result. byzfl guesses the eigenvector by
    one step from a random start; here it is exact. Its ``max p`` is also over clients with ``c = 0``, one of which, far
    away, would stop all others from fading; here it is over those that are left. Clients' ``weights`` are ignored, as
    byzfl has none: they could be claimed.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]], dtype=torch.float64)
    >>> caf(gram_matrix(updates), torch.ones(5), byzantine_ratio=0.2).client_weights @ updates
    tensor([1.3295, 0.7892], dtype=torch.float64)
    """
    n = gram.shape[-1]
    least = n - 2 * taken_for_hostile(n, byzantine_ratio)
    grams = gram.double().reshape(-1, n, n)
    best = torch.full_like(grams[:, 0], 1 / n)
    left, calmest = torch.ones_like(best), torch.full_like(best[:, :1], torch.inf)
    going = torch.arange(len(grams), device=grams.device)[: len(grams) * (least < n)]
    while len(going):
        own = left[going]
        shares = own / own.sum(dim=-1, keepdim=True)
        squared, spread = projections(grams[going], shares)
        best[going] = torch.where(spread < calmest[going], shares, best[going])
        calmest[going] = calmest[going].minimum(spread)
        most = squared.where(own > 0, 0.0).amax(dim=-1, keepdim=True)
        left[going] = torch.where(most > 0, own * (1 - squared / most).clamp(min=0), own)
        going = going[(most.squeeze(-1) > 0) & (left[going].sum(dim=-1) > least)]
    return Weighting(best.view(gram.shape[:-1]))


def projections(gram: torch.Tensor, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared projections ``[..., N]`` on the main direction around the mean, and the variance in it, ``[..., 1]``.

    All are 0 where updates are equal.
    """
    image = times(gram, shares)
    length = (shares * image).sum(dim=-1)[..., None, None]
    centred = gram - image[..., :, None] - image[..., None, :] + length
    root = shares.sqrt()
    values, vectors = torch.linalg.eigh(root[..., :, None] * centred * root[..., None, :])
    largest, main = values[..., -1:], vectors[..., -1]
    counted = gram.diagonal(dim1=-2, dim2=-1).where(shares > 0, 0.0)
    real = largest > 1e-14 * counted.amax(dim=-1, keepdim=True)
    squared = times(centred, root * main).square() / largest
    return torch.where(real, squared, 0.0), torch.where(real, largest, 0.0)
