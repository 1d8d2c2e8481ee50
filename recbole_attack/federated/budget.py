"""How loud malicious clients may be, and how much weight they may ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recbole_attack.data.sequences import Int

CLAIMS: dict[str, Callable[[Int, Int, int], Int]] = {
    "round": lambda malicious, honest, largest: np.maximum(malicious, honest.max(initial=0)),
    "data": lambda malicious, honest, largest: np.full_like(malicious, largest),
}
"""What malicious clients claim to have, by the name ``claimed_interactions`` takes.

``(what they have [M], what the round's honest clients have [H], the most any client has) -> [M]``. Clients count their
examples themselves, and more than any honest one has is seen to be a lie. Like a norm budget, the bench tells the
attacker how much that is. In ``round`` who has more than any honest client of it tells the truth.
"""


def claimed(claim: str | None, malicious: Int, honest: Int, largest: int) -> Int:
    """What malicious clients say they have, see :data:`CLAIMS`; the truth without a ``claim``."""
    return malicious if claim is None else CLAIMS[claim](malicious, honest, largest)


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
