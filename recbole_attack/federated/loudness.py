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
    norms, malicious = [], []
    for group in groups:
        count = min(len(group.weights), SAMPLE)
        sent = looped_updates(model, group.losses, count, config["local_epochs"], config["local_learning_rate"])
        norms += [torch.cat([value.flatten().double() for value in update.values()]).norm() for update, _ in sent]
        malicious += [group.malicious] * count
    lengths, hostile = torch.stack(norms), torch.tensor(malicious, device=norms[0].device)
    uploaded = lengths * upload_factors(lengths, hostile, config["gradient_scale"], config["norm_budget"])
    return Loudness(*(float(part.median()) if len(part) else None for part in (uploaded[~hostile], uploaded[hostile])))
