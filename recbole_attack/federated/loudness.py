"""How long malicious updates are beside honest ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from recbole_attack.federated.budget import upload_factors
from recbole_attack.federated.rounds import ClientGroup
from recbole_attack.federated.updates import looped_updates

SAMPLE = 8
"""Clients of a kind that are measured: rules that sum updates never have a single client's in hand."""


class Loudness(NamedTuple):
    """Median Euclidean norms of whole uploads in one round, ``None`` where there is no such client.

    Attributes:
        honest: Of honest clients.
        malicious: Of malicious clients, after ``gradient_scale`` and ``norm_budget``.
    """

    honest: float | None
    malicious: float | None


def measure(model: Any, groups: Sequence[ClientGroup], config: Any) -> Loudness:
    """Compute the first :data:`SAMPLE` clients of each group once more, one by one; the model is not changed.

    Clients come in random order, so the first are a random sample. A norm budget is taken of the sample, too.

    Args:
        model: The global model as distributed.
        groups: The round's clients.
        config: ``local_epochs``, ``local_learning_rate``, ``gradient_scale`` and ``norm_budget``.
    """
    counts = [min(len(group.weights), SAMPLE) for group in groups]
    lengths = torch.cat([upload_norms(model, group, n, config) for group, n in zip(groups, counts, strict=True)])
    malicious = [group.malicious for group, n in zip(groups, counts, strict=True) for _ in range(n)]
    return loudness(lengths, torch.tensor(malicious, device=lengths.device), config)


def upload_norms(model: Any, group: ClientGroup, count: int, config: Any) -> torch.Tensor:
    """``[count]`` Euclidean norms of the updates of a group's first clients, float64."""
    sent = looped_updates(model, group.losses, count, config["local_epochs"], config["local_learning_rate"])
    norms = [torch.cat([value.flatten().double() for value in update.values()]).norm() for update, _ in sent]
    return torch.stack(norms) if norms else torch.zeros(0, dtype=torch.float64, device=group.weights.device)


def loudness(norms: torch.Tensor, malicious: torch.Tensor, config: Any) -> Loudness:
    """What :func:`measure` returns, of norms ``[N]`` that are known, of clients that are ``malicious`` (``[N]``)."""
    factors = upload_factors(norms, malicious, config["gradient_scale"], config["norm_budget"])
    return medians(norms * factors, malicious)


def medians(uploaded: torch.Tensor, malicious: torch.Tensor) -> Loudness:
    """Of what clients sent, by its lengths ``[N]``; ``malicious`` is ``[N]``."""
    malicious = malicious.to(uploaded.device)
    parts = (uploaded[~malicious], uploaded[malicious])
    return Loudness(*(float(part.median()) if len(part) else None for part in parts))
