"""Which client updates may reach a rule at all."""

from __future__ import annotations

import torch


def screen(squared_norms: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Clients whose updates the server looks at.

    An update with a NaN or an infinity in it has a squared norm that is not finite. One whose squared norm does not fit
    into the updates' own type, such as entries of 1e30 in float32, is finite but no honest gradient.

    Args:
        squared_norms: ``[N]`` in float64, for instance the diagonal of the Gram matrix.
        dtype: The type clients send.

    Returns:
        ``[N]``, True for clients to keep.

    >>> screen(torch.tensor([4.0, float("nan"), float("inf"), 1e60], dtype=torch.float64))
    tensor([ True, False, False, False])
    """
    return squared_norms <= torch.finfo(dtype).max


def squared_norms(updates: torch.Tensor, columns: int = 4096) -> torch.Tensor:
    """``[N]`` squared norms of ``updates [N, P]`` in float64, without a float64 copy of all of them."""
    total = updates.new_zeros(len(updates), dtype=torch.float64)
    for part in updates.split(columns, dim=1):
        total += part.double().square().sum(dim=1)
    return total
