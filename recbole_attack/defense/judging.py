"""Rules that hold what clients sent against what the server knows itself: its model, and its step.

Inner products of updates tell which clients agree. These rules ask something else of each client, so they see the
updates (:class:`Judged`) and the server (:class:`Known`), and weight clients like rules on the Gram matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from recbole_attack.defense.quota import Asked
from recbole_attack.defense.weighting import Weighting


class Judged(Protocol):
    """Updates of ``N`` clients, item rows sparse: :class:`~recbole_attack.federated.client_updates.ClientUpdates`."""

    @property
    def client(self) -> torch.Tensor:
        """``[M]`` who sent a row, ascending."""

    @property
    def item(self) -> torch.Tensor:
        """``[M]`` which item's row it is."""

    @property
    def rows(self) -> torch.Tensor:
        """``[M, H]`` updates of item embeddings; a row not listed is zero."""

    def squared_norms(self) -> torch.Tensor:
        """``[N]`` squared lengths of whole updates, float64."""

    def products(self, update: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """``[N]`` inner products of whole updates with another one, float64."""


@dataclass(frozen=True)
class Known:
    """What a server has of its own in a round.

    Attributes:
        items: ``[V, H]`` embeddings of the catalogue, the padding item first.
        stepped: ``(items [M], rows [M, H]) -> [M, H]``: what the embeddings of items become when the server steps along
            these rows of an update, each by itself; an item may be there several times.
        root: An update of the server's own, by parameter name, for rules that have ``root_histories``.
        asked: The model, asked what it would show somebody, for a quota.
        longest: Items of the longest history it reads.
    """

    items: torch.Tensor
    stepped: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    root: Mapping[str, torch.Tensor] | None = None
    asked: Asked | None = None
    longest: int = 1


JudgingRule = Callable[[Judged, torch.Tensor, Known, tuple[int, ...]], Weighting]
"""``(updates of N clients, weights [N], what the server knows, seed, epoch and round) -> Weighting``."""
