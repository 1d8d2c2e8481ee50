"""A bank for item rows: what was aggregated waits there until it is among the longest."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recbole_attack.utils.shares import part_of


@dataclass(frozen=True)
class Bank:
    """The second half of HiCS: aggregated rows ``g_j`` are clipped, saved up, and paid out where most is saved.

    Yuan et al., "Manipulating Federated Recommender Systems: Poisoning with Synthetic Users and Its Countermeasures",
    SIGIR 2023 (arXiv:2304.03054), hierarchical gradient clipping with sparsified updating:
    ``B_j <- B_j + min(1, b / |g_j|) g_j``; the rows with the largest ``|B_j|``, a share of the catalogue, are the
    round's update, and their ``B_j`` is zero again.

    All other rows have an update of zero in the round. Under SGD they stay where they are; an optimiser with momentum
    (Adam, the default ``learner``) moves them all the same, once they have been paid.

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
        norms = table.double().norm(dim=1)
        bound = norms[norms > 0].median().nan_to_num(1.0) if self.bound is None else norms.new_tensor(self.bound)
        whole = saved + table * torch.where(norms > bound, bound / norms, 1.0).to(table)[:, None]
        lengths = whole.double().norm(dim=1)
        unit = lengths.max().minimum(bound).clamp(min=torch.finfo(lengths.dtype).tiny)
        lengths = (lengths / unit).round(decimals=5)  # clipped rows are equal but for rounding
        longest = lengths.sort(descending=True, stable=True).indices
        due = torch.zeros_like(lengths, dtype=torch.bool)
        due[longest[: max(part_of(len(table), self.share), 1)]] = True
        return torch.where(due[:, None], whole, 0.0), torch.where(due[:, None], 0.0, whole)
