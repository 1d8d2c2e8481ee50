"""How long malicious updates are beside honest ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_attack.data.sequences import Int
from recbole_attack.federated.budget import upload_factors
from recbole_attack.federated.rounds import ClientGroup
from recbole_attack.federated.updates import looped_updates
from recbole_attack.utils.rng import stream

SAMPLE = 8
"""Clients of a kind that are measured where updates are summed, so that no single one is in hand."""


class Loudness(NamedTuple):
    """Median Euclidean norms of whole uploads in one round, ``None`` where there is no such client.

    Attributes:
        honest: Of honest clients.
        malicious: Of malicious clients, after ``gradient_scale`` and ``norm_budget``.
    """

    honest: float | None
    malicious: float | None


def sample(n_clients: int, malicious: bool, key: tuple[int, ...]) -> Int:
    """Which of a round's clients of a kind are measured, ascending: at most :data:`SAMPLE`.

    Honest clients come in random order, and the first will do. Clones come by user, so malicious ones are drawn.

    Args:
        n_clients: How many there are.
        malicious: Of which kind.
        key: Seed, epoch and round.
    """
    if n_clients <= SAMPLE or not malicious:
        return np.arange(min(n_clients, SAMPLE))
    seed, *keys = key
    return np.sort(stream(seed, "measured clients", *keys).choice(n_clients, SAMPLE, replace=False))


def measure(model: Any, groups: Sequence[ClientGroup], config: Any, key: tuple[int, ...]) -> Loudness:
    """Compute a :func:`sample` of each group once more, one by one; the model is not changed.

    Where updates are summed, there is no norm budget: that would have single updates computed.

    Args:
        model: The global model as distributed.
        groups: The round's clients.
        config: ``local_epochs``, ``local_learning_rate`` and ``gradient_scale``.
        key: Seed, epoch and round.
    """
    places = [torch.from_numpy(sample(len(g.weights), g.malicious, key)).to(g.weights.device) for g in groups]
    lengths = torch.cat([upload_norms(model, g, chosen, config) for g, chosen in zip(groups, places, strict=True)])
    malicious = [g.malicious for g, chosen in zip(groups, places, strict=True) for _ in range(len(chosen))]
    return loudness(lengths, torch.tensor(malicious, device=lengths.device), config["gradient_scale"])


def upload_norms(model: Any, group: ClientGroup, places: torch.Tensor, config: Any) -> torch.Tensor:
    """``[K]`` Euclidean norms of the updates of a group's clients in ``places`` (``[K]``), float64."""

    def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
        return group.losses(model, places[rows], step)

    sent = looped_updates(model, losses, len(places), config["local_epochs"], config["local_learning_rate"])
    norms = [torch.cat([value.flatten().double() for value in update.values()]).norm() for update, _ in sent]
    return torch.stack(norms) if norms else torch.zeros(0, dtype=torch.float64, device=group.weights.device)


def loudness(norms: torch.Tensor, malicious: torch.Tensor, scale: float) -> Loudness:
    """What :func:`measure` returns, of norms ``[N]`` that are known, of clients that are ``malicious`` (``[N]``)."""
    factors = upload_factors(norms, malicious, scale, norm_budget=None)
    return medians(norms * factors, malicious)


def medians(uploaded: torch.Tensor, malicious: torch.Tensor) -> Loudness:
    """Of what clients sent, by its lengths ``[N]``; ``malicious`` is ``[N]``. A median is that of a norm budget."""
    malicious = malicious.to(uploaded.device)
    parts = (uploaded[~malicious], uploaded[malicious])
    return Loudness(*(float(part.quantile(0.5)) if len(part) else None for part in parts))
