"""What a round, and all rounds together, say of malicious clients: how loud they are, and who notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

ONE_IN = 100
"""Honest clients of which a threshold is to flag one at most."""


def uploads_summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """How much malicious clients' uploads counted and how long they were.

    Args:
        rounds: Rows of ``rounds.csv``.

    Returns:
        ``malicious_weight``, their mean share of the weight of a round that has any (``None`` for rules on coordinates,
        which have no weights); ``norm_ratio``, the median over epochs of the median malicious norm over the median
        honest one, of epochs in which both are above 0 and finite (``federated/loudness.py``); ``valid_candidates``,
        the median over rounds of how many items the substitution had to choose from (``None`` without one).
    """
    shares = [row["malicious_weight"] for row in rounds if row["malicious_weight"] is not None]
    pairs = [(row["malicious_norm"], row["honest_norm"]) for row in rounds]
    ratios = [malicious / honest for malicious, honest in pairs if malicious and honest]
    finite = [ratio for ratio in ratios if isfinite(ratio)]
    candidates = [row["valid_candidates"] for row in rounds if row["valid_candidates"] is not None]
    return {
        "malicious_weight": float(np.mean(shares)) if shares else None,
        "norm_ratio": float(np.median(finite)) if finite else None,
        "valid_candidates": float(np.median(candidates)) if candidates else None,
    }


def detection_columns(
    scores: Mapping[str, torch.Tensor], malicious: torch.Tensor, thresholds: Mapping[str, float]
) -> dict[str, float | None]:
    """What ``rounds.csv`` says of one round.

    Args:
        scores: Detector -> ``[N]``; read in float32, as :func:`scored_clients` keeps them.
        malicious: ``[N]`` bool.
        thresholds: Detector -> the score from which on a client is flagged.

    Returns:
        For each detector ``d`` of ``thresholds``: ``d_flagged`` and ``d_caught``, how many clients it flagged and how
        many of these are malicious; ``d_auroc`` (``None`` unless there are clients of both kinds).
    """
    columns: dict[str, float | None] = {}
    for name, threshold in thresholds.items():
        found = scores.get(name, torch.zeros(0)).float()
        flagged = found >= threshold
        columns |= {
            f"{name}_flagged": int(flagged.sum()),
            f"{name}_caught": int((flagged & malicious).sum()),
            f"{name}_auroc": _auroc(found, malicious),
        }
    return columns


def _auroc(scores: torch.Tensor, malicious: torch.Tensor) -> float | None:
    if not 0 < int(malicious.sum()) < len(malicious):
        return None
    finite = scores.nan_to_num(posinf=torch.finfo(scores.dtype).max)
    return float(roc_auc_score(malicious.numpy(), finite.numpy()))


def scored_clients(
    scores: Mapping[str, torch.Tensor], malicious: torch.Tensor, detectors: Iterable[str]
) -> torch.Tensor:
    """``[1 + D, N]`` of one round in float32: who is malicious (0 or 1), and what each of ``D`` detectors says."""
    return torch.stack([malicious.float(), *(scores.get(name, malicious[:0]).float() for name in detectors)])


def detection_summary(scored: torch.Tensor, thresholds: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """Detector -> how well it did, over the clients of all rounds.

    Args:
        scored: ``[1 + D, N]``, see :func:`scored_clients`.
        thresholds: ``D`` detectors and the score from which on each flags a client.

    Returns:
        ``precision`` of what was flagged and ``recall`` of the malicious clients; ``false_alarms``, the share of honest
        clients that were flagged; ``auroc``; ``threshold_at_1``, the smallest threshold that would have flagged one
        honest client in a hundred at most. All but the last in ``[0, 1]``; ``None`` where there is nothing to count, or
        no such threshold, since more score infinite.
    """
    malicious = scored[0] > 0
    return {
        name: _summary(of, malicious, flag) for of, (name, flag) in zip(scored[1:], thresholds.items(), strict=True)
    }


def _summary(scores: torch.Tensor, malicious: torch.Tensor, threshold: float) -> dict[str, float | None]:
    flagged, honest = scores >= threshold, scores[~malicious]
    caught, most = int((flagged & malicious).sum()), len(honest) // ONE_IN
    above = honest.sort(descending=True).values[most : most + 1]
    return {
        "precision": caught / int(flagged.sum()) if flagged.any() else None,
        "recall": caught / int(malicious.sum()) if malicious.any() else None,
        "false_alarms": float(flagged[~malicious].double().mean()) if len(honest) else None,
        "auroc": _auroc(scores, malicious),
        "threshold_at_1": float(above.nextafter(torch.tensor(torch.inf))) if above.isfinite().any() else None,
    }


def weight_share(client_weights: torch.Tensor | None, n_honest: int) -> float | None:
    """Malicious clients' share of the aggregation weight; ``None`` for rules on coordinates, which have no weights."""
    if client_weights is None or not float(client_weights.sum()):
        return None
    return float(client_weights[n_honest:].sum() / client_weights.sum())
