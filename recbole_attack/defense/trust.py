"""FLTrust: clients count as far as they point where an update of the server's own points."""

from __future__ import annotations

import torch

from recbole_attack.defense.judging import Judged, Known
from recbole_attack.defense.weighting import Weighting


def fl_trust(sent: Judged, weights: torch.Tensor, known: Known, key: tuple[int, ...]) -> Weighting:
    """The mean by trust of updates made as long as the server's: ``sum_c T_c (|g| / |u_c|) u_c / sum_c T_c``.

    Cao, Fang, Liu and Gong 2021, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS 2021.
    ``g`` is the server's own update, and ``T_c = max(0, cos(u_c, g))`` how far a client is trusted. ``weights`` do not
    count: trust is all a client has. Without a client to trust, the update is zero; a server whose optimiser has
    momentum (Adam, the default ``learner``) moves on all the same.
    """
    root = known.root
    assert root is not None
    squared_length = torch.stack([value.double().square().sum() for value in root.values()]).sum()
    return trusted(sent.products(root), sent.squared_norms(), squared_length)


def trusted(products: torch.Tensor, squared_norms: torch.Tensor, squared_length: torch.Tensor) -> Weighting:
    """The weights of clients in :func:`fl_trust`; they sum to more than 1 where clients are shorter than the server.

    Args:
        products: ``[N]`` inner products ``<u_c, g>``.
        squared_norms: ``[N]`` of updates.
        squared_length: ``|g|^2``, a scalar.

    Two clients beside ``g = (2, 0)``, one across it, and one against it:

    >>> updates = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 9.0], [-9.0, 9.0]])
    >>> found = trusted(updates @ torch.tensor([2.0, 0.0]), updates.square().sum(dim=1), torch.tensor(4.0))
    >>> found.client_weights @ updates.double()
    tensor([1.7000, 0.6000], dtype=torch.float64)
    """
    squares = squared_norms.double()
    lengths = (squares * squared_length).sqrt()
    trust = torch.where(lengths > 0, products.double() / lengths, 0.0).clamp(min=0)
    total = trust.sum()
    shares = torch.where(total > 0, trust / total, 0.0)
    return Weighting(torch.where(shares > 0, shares * (squared_length / squares).sqrt(), 0.0))
