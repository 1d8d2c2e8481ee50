"""How loud malicious clients may be."""

from __future__ import annotations

import torch


def upload_factors(
    norms: torch.Tensor, malicious: torch.Tensor, scale: float, norm_budget: float | None
) -> torch.Tensor:
    """What each client's update is multiplied by before it is uploaded: 1 for honest clients.

    A malicious client uploads ``scale`` times its update (model boosting, Bagdasaryan et al. 2020), at most as long as
    the quantile ``norm_budget`` of the round's honest updates. The attacker does not know that length; the bench holds
    it to it, so that attacks compare at equal loudness and none wins by its length alone. Without an honest client in
    the round there is nothing to hide among, and no limit.

    Args:
        norms: ``[N]`` Euclidean norms of the updates.
        malicious: ``[N]`` bool.
        scale: Above 0.
        norm_budget: Quantile in [0, 1], interpolated linearly; None sets no limit.

    Returns:
        ``[N]`` in the type of ``norms``. An update of length zero or not finite is not limited.

    >>> upload_factors(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([False, False, True]), 1.0, 0.5)
    tensor([1.0000, 1.0000, 0.2500])
    """
    factors = torch.ones_like(norms).masked_fill(malicious, scale)
    honest = norms[~malicious & norms.isfinite()]
    if norm_budget is None or not len(honest):
        return factors
    limit = torch.quantile(honest, norm_budget) / norms
    return torch.where(malicious & norms.isfinite() & (norms > 0), factors.minimum(limit), factors)
