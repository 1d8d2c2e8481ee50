"""What a victim has and says of one history, asked in the plainest way."""

from __future__ import annotations

from typing import Any

import torch


def state_of(model: Any, history: list[int]) -> torch.Tensor:
    """What a model in evaluation mode has after one history, a constant."""
    training = model.training
    state = model.eval().forward(torch.tensor([history]), torch.tensor([len(history)]))[0].detach()
    model.train(training)
    return state


def score(model: Any, state: torch.Tensor, item: int, row: torch.Tensor | None = None) -> torch.Tensor:
    """Inner product (and BERT4Rec's bias, a constant)."""
    row = model.item_embedding.weight[item].detach() if row is None else row
    bias = model.output_bias[item].detach() if hasattr(model, "output_bias") else 0.0
    return (state * row).sum() + bias
