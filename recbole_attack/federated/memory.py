"""Room for a round's updates that the next round overwrites."""

from __future__ import annotations

import torch
from torch import nn

from recbole_attack.federated.client_updates import ITEM_TABLE


class Memory:
    """Room for the dense parts of a round's updates that the next round overwrites.

    It saves the operating system from handing out the same memory, page by page, in every round, and the server from
    copying the parts together. It grows to the largest round.
    """

    def __init__(self) -> None:
        self._space: torch.Tensor | None = None

    def take(self, n_clients: int, model: nn.Module) -> torch.Tensor:
        """``[n_clients, P]`` for the model's parameters without the item table; holds whatever was there before."""
        others = [p for name, p in model.named_parameters() if name != ITEM_TABLE]
        like = others[0] if others else model.get_parameter(ITEM_TABLE)
        width, space = sum(p.numel() for p in others), self._space
        fits = (
            space is not None and space.shape[1] == width and (space.dtype, space.device) == (like.dtype, like.device)
        )
        if space is None or not fits or len(space) < n_clients:
            self._space = space = None  # the old room is free before the new one is taken
            self._space = space = like.new_empty(n_clients, width)
        return space[:n_clients]
