"""FLAME: clients whose updates point another way than most are left out, the others are clipped."""

from __future__ import annotations

import torch
from sklearn.cluster import HDBSCAN

from recbole_attack.defense.gram import gram_matrix  # noqa: F401 (example below)
from recbole_attack.defense.weighting import Weighting, norm_clipping, normalised


def flame(gram: torch.Tensor, weights: torch.Tensor) -> Weighting:
    """The weighted mean of the largest cluster's updates, none longer than the median of all.

    Nguyen et al. 2022, "FLAME: Taming Backdoors in Federated Learning", USENIX Security 2022: HDBSCAN on the cosine
    distances ``1 - cos(u_i, u_j)``, a cluster having more than half of the clients (``floor(N / 2) + 1``, one
    neighbour, one cluster allowed), so there is one at most; then norms are clipped to the median of all clients'. If
    HDBSCAN finds no cluster, as among few or scattered clients, all are kept. An update of zeros points nowhere: its
    distance to others is 1. The paper adds Gaussian noise to the model at last; here nothing is added, since a rule is
    a weighted sum of updates. HDBSCAN is scikit-learn's, which counts a point as its own neighbour.

    Args:
        gram: ``[N, N]`` inner products, of one round.
        weights: ``[N]``.

    >>> updates = torch.tensor([[1.0, 0.0], [2.0, 0.1], [1.0, 0.1], [3.0, -0.1], [-9.0, 9.0]], dtype=torch.float64)
    >>> flame(gram_matrix(updates), torch.ones(5)).client_weights
    tensor([0.2500, 0.2500, 0.2500, 0.1668, 0.0000], dtype=torch.float64)
    """
    gram, n = gram.double(), len(gram)
    kept = torch.ones(n, dtype=torch.bool, device=gram.device)
    if n > 2:
        norms = gram.diagonal().clamp(min=0).sqrt()
        lengths = norms[:, None] * norms
        cosines = torch.where(lengths > 0, gram / lengths, 0.0)
        distances = (1 - cosines).clamp(0, 2).fill_diagonal_(0.0).cpu().numpy()
        clusters = HDBSCAN(
            min_cluster_size=n // 2 + 1, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True
        ).fit(distances)
        found = torch.from_numpy(clusters.labels_ >= 0).to(gram.device)
        kept = found if bool(found.any()) else kept
    clipped = norm_clipping(gram, weights).client_weights / normalised(weights)
    return Weighting(normalised(weights * kept) * clipped)
