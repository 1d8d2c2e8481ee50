"""How the server combines client updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Aggregator:
    """A rule that turns client updates into one.

    Attributes:
        combine: ``(updates [N, P], weights [N]) -> [P]``; weights are positive and need not sum to 1.
        linear: Whether the result is a weighted sum whose weights do not depend on the updates. Then one batched
            backward pass gives it, and no client's own update has to exist.
    """

    combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    linear: bool = False


def mean(updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """FedAvg (McMahan et al. 2017): ``sum_c w_c u_c / sum_c w_c``.

    >>> mean(torch.tensor([[1.0, 0.0], [4.0, 3.0]]), torch.tensor([2.0, 1.0]))
    tensor([2., 1.])
    """
    return weights @ updates / weights.sum()


AGGREGATORS: dict[str, Aggregator] = {"mean": Aggregator(mean, linear=True)}
"""Aggregation rules by the name ``--aggregator`` takes."""
