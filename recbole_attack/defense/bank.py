"""A bank for item rows: what was aggregated waits there until it is among the longest."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Bank:
    """The second half of HiCS: aggregated rows ``g_j`` are clipped, saved up, and paid out where most is saved.

    Yuan et al., "Manipulating Federated Recommender Systems: Poisoning with Synthetic Users and Its Countermeasures",
    SIGIR 2023 (arXiv:2304.03054), hierarchical gradient clipping with sparsified updating:
    ``B_j <- B_j + min(1, b / |g_j|) g_j``; the rows with the largest ``|B_j|``, a share of the catalogue, are the
    round's update, and their ``B_j`` is zero again.

    Attributes:
        bound: ``b``; ``None`` for the median length of the round's rows that are not zero, the smaller of two.
        share: Rows that are paid out, as a share of all of the table, rounded down and at least one; of equal rows the
            first.

    >>> bank = Bank(bound=1.0, share=0.5)
    >>> update, left = bank.paid(torch.tensor([[3.0, 4.0], [0.1, 0.0]]), torch.tensor([[0.0, 0.0], [0.2, 0.0]]))
    >>> update
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    >>> left
    tensor([[0.0000, 0.0000],
            [0.3000, 0.0000]])
    """

    bound: float | None
    share: float

    def paid(self, table: torch.Tensor, saved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The round's update and what stays in the bank, ``[V, H]`` each, of aggregated rows and what was saved."""
        whole = saved + clipped(table, self.bound)
        longest = whole.double().norm(dim=1).sort(descending=True, stable=True).indices
        chosen = longest[: max(int(self.share * len(table) + 1e-9), 1), None]
        due = torch.zeros_like(whole[:, :1], dtype=torch.bool).scatter(0, chosen, True)
        return torch.where(due, whole, 0.0), torch.where(due, 0.0, whole)


def clipped(rows: torch.Tensor, bound: float | None) -> torch.Tensor:
    """Rows ``[M, H]`` no longer than ``bound``; see :attr:`Bank.bound`."""
    norms = rows.double().norm(dim=1)
    most = norms[norms > 0].median() if bound is None else norms.new_tensor(bound)
    return rows * torch.where(norms > most, most / norms, 1.0).to(rows)[:, None]
