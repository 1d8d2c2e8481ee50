"""Client detectors on the updates of a round."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from recbole_attack.defense import CLIENT_DETECTORS, Sent, screen
from recbole_attack.federated.client_updates import ClientUpdates


def client_scores(updates: ClientUpdates, detectors: Iterable[str]) -> dict[str, torch.Tensor]:
    """Detector -> ``[N]`` scores of the clients as they sent their updates, float64, on the CPU.

    A client whose update no robust rule would look at (:func:`~recbole_attack.defense.screen`) needs no detector: its
    score is infinite, and it is not there for the scores of the others.

    Args:
        updates: Of ``N`` clients.
        detectors: Names of :data:`~recbole_attack.defense.CLIENT_DETECTORS`.
    """
    names = list(detectors)
    if not names:
        return {}
    seen = screen(updates.squared_norms(), updates.dense.dtype)
    scores = torch.full((len(names), len(seen)), torch.inf, dtype=torch.float64, device=seen.device)
    if seen.any():
        sent = _sent(updates.select(seen))
        scores[:, seen] = torch.stack([CLIENT_DETECTORS[name](sent) for name in names])
    return dict(zip(names, scores.cpu(), strict=True))


def _sent(updates: ClientUpdates) -> Sent:
    gram = updates.gram()
    squared = updates.rows.double().square().sum(dim=1)
    return Sent(gram, torch.zeros_like(gram[:, 0]).scatter_reduce(0, updates.client, squared, "amax"))
