"""Which items are popular, as anybody can tell who receives two models."""

from __future__ import annotations

import torch


def moved_most(now: torch.Tensor, before: torch.Tensor, last: torch.Tensor | None = None) -> torch.Tensor:
    """``[n_items - 1]`` items by how far their rows moved between two models, farthest first.

    What is popular is in many clients' updates (PIECK's popular item mining). Items that moved equally far are in the
    order of their ids.

    Args:
        now: ``[n_items, H]`` item embeddings, the padding item's first.
        before: ``[n_items, H]`` the same of an earlier model.
        last: Items that come behind all others, however far they moved.
    """
    moved = (now - before).norm(dim=1)
    if last is not None:
        moved[last] = -1.0
    moved[0] = -2.0
    return moved.argsort(descending=True, stable=True)[:-1]
