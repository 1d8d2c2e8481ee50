"""How long the update of an item's embedding may be when few clients touch it: clipped rows, shrunk by their support.

A malicious client writes what it likes into a row that hardly any other client touches; no order statistic of one or
two rows helps, and whole updates hide a loud row among many. Here a row is no louder than rows usually are, and its
update is as long as there are clients behind it.

How far the row moves is up to the server's optimiser. Under SGD it moves as far as its update is long. Adam, the
default ``learner``, divides by how long the row's updates usually are, so a factor that is the same in every round
changes nothing: there, the clip and the shrinking act where lengths and support vary from round to round. A row whose
update is always zero, for want of clients, stays where it is under both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Support:
    """Our own. Of clients ``c`` with weights ``w_c`` that touch item ``j``, ``n_j`` of them, with rows ``u_cj``:

    ``row_j = S_j R({min(1, b / |u_cj|) u_cj})``, and 0 if ``n_j < k``.

    ``R`` is a rule over the clients that touch the item. ``b`` is a quantile of the norms of the round's rows, taken
    over all clients and items. ``S_j = W_j / (W_j + m0 w)``, ``W_j`` being the sum of the weights of these clients and
    ``w`` the mean weight of a client: with equal weights ``n_j / (n_j + m0)``, as if ``m0`` more clients had sent
    zeros. Without ``m0`` these are the other clients of the round, ``S_j = W_j / W``: with the mean as ``R`` the rows
    are those of the mean over all clients, every row clipped before.

    Attributes:
        quantile: Which quantile of the norms ``b`` is, in ``(0, 1]``: the smallest norm with this share of the votes
            at or below it. At 1 nothing is clipped.
        votes: A name in :data:`VOTES`.
        prior: ``m0``, at least 0; ``None`` for the other clients of the round.
        least: ``k``, at least 1.
        bound: ``b`` itself, where it is no quantile.

    >>> support = Support(quantile=0.5, votes="clients", prior=2.0, least=2)
    >>> support.clipped(torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([0, 1, 1]))
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000],
            [0.6000, 0.8000]])
    >>> support.shares(torch.tensor([1, 2, 6]), torch.tensor([1.0, 2.0, 6.0]), torch.ones(8))
    tensor([0.0000, 0.5000, 0.7500], dtype=torch.float64)
    """

    quantile: float
    votes: str
    prior: float | None
    least: int
    bound: float | None = None

    def clipped(self, rows: torch.Tensor, client: torch.Tensor) -> torch.Tensor:
        """The rows of a round, ``[M, H]`` and none of them zero, no longer than ``b``; ``client [M]`` sent them."""
        if not len(rows):
            return rows
        norms = rows.double().norm(dim=1)
        bound = self._quantile(norms, client) if self.bound is None else norms.new_tensor(self.bound)
        return rows * torch.where(norms > bound, bound / norms, 1.0).to(rows.dtype)[:, None]

    def _quantile(self, norms: torch.Tensor, client: torch.Tensor) -> torch.Tensor:
        ordered, order = norms.sort()
        below = VOTES[self.votes](client)[order].cumsum(0)
        return ordered[int((below < self.quantile * below[-1] - 1e-9).sum())]

    def shares(self, counts: torch.Tensor, touching: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """``S_j`` in float64, 0 for items with too few clients.

        Args:
            counts: ``[G]`` clients ``n_j`` that touch each item.
            touching: ``[G]`` the sum ``W_j`` of their weights.
            weights: ``[N]`` weights of all clients of the round.
        """
        touching, weights = touching.double(), weights.double()
        everyone = weights.sum() if self.prior is None else touching + self.prior * weights.mean()
        return torch.where(counts >= self.least, touching / everyone, 0.0)


def a_vote_each_client(client: torch.Tensor) -> torch.Tensor:
    """As much to each client, shared by its rows: who sends many loud rows does not raise the bound."""
    return 1 / torch.bincount(client).double()[client]


def a_vote_each_row(client: torch.Tensor) -> torch.Tensor:
    """As much to each row, so that a client that touches the whole catalogue has most of them."""
    return torch.ones_like(client, dtype=torch.float64)


VOTES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"clients": a_vote_each_client, "rows": a_vote_each_row}
"""Who says how long rows usually are, by the name ``--row_votes`` takes: ``client [M]`` of each row to ``[M]``."""
