"""How the server combines client updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Aggregator:
    """A rule that turns client updates into one weighted sum of them.

    The factors of the rules here do not depend on the updates. So one batched backward pass gives the result, and no
    client's own update has to exist.

    Attributes:
        factors: ``weights [N] -> factors [N]``; weights are positive and need not sum to 1.
    """

    factors: Callable[[torch.Tensor], torch.Tensor]

    def combine(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """``(updates [N, P], weights [N]) -> [P]``."""
        return self.factors(weights) @ updates


def mean(weights: torch.Tensor) -> torch.Tensor:
    """FedAvg (McMahan et al. 2017): ``sum_c w_c u_c / sum_c w_c``.

    >>> Aggregator(mean).combine(torch.tensor([[1.0, 0.0], [4.0, 3.0]]), torch.tensor([2.0, 1.0]))
    tensor([2., 1.])
    """
    return weights / weights.sum()


def sum_(weights: torch.Tensor) -> torch.Tensor:
    """Sum of the updates, as in DV-FSR's released code: ``sum_c w_c u_c``.

    >>> Aggregator(sum_).combine(torch.tensor([[1.0, 0.0], [4.0, 3.0]]), torch.tensor([2.0, 1.0]))
    tensor([6., 3.])
    """
    return weights


AGGREGATORS: dict[str, Aggregator] = {"mean": Aggregator(mean), "sum": Aggregator(sum_)}
"""Aggregation rules by the name ``--aggregator`` takes."""
