"""What comes of asking the clients of a round, wherever they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from recbole_attack.data.sequences import Int
from recbole_attack.federated.loudness import Loudness
from recbole_attack.federated.server import Aggregated


class Computed(NamedTuple):
    """What came of asking the clients of one round.

    Attributes:
        honest: Honest clients whose updates arrived, as indices into the pool.
        malicious: Malicious ones.
        losses: Losses of both, honest clients first.
        aggregated: What the server makes of their updates.
        loudness: How long their updates are, where it is measured.
        scores: What client detectors say of both.
        notes: What else ``rounds.csv`` says of the round.
    """

    honest: Int
    malicious: Int
    losses: torch.Tensor
    aggregated: Aggregated
    loudness: Loudness
    scores: Mapping[str, torch.Tensor] = {}
    notes: Mapping[str, Any] = {}


Ask = Callable[[Int, Int, int, bool], Computed]
"""``(honest clients, malicious clients, number of the round, whether loudness is measured) -> Computed``."""
