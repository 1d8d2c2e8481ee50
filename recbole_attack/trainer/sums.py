"""What a round, and all rounds together, say of malicious clients: how loud they are, and who notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

QUANTILE = 0.99
"""The quantile of honest clients' scores that as a threshold flags one honest client in a hundred."""


def uploads_summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """How much malicious clients' uploads counted and how long they were.

    Args:
        rounds: Rows of ``rounds.csv``.

    Returns:
        ``malicious_weight``, their mean share of a round's weight (``None`` for rules on coordinates, which have no
        weights); ``norm_ratio``, the median over epochs of the median malicious norm over the median honest one
        (``federated/loudness.py``); ``valid_candidates``, the median over rounds of how many items
        the substitution had to choose from (``None`` without one).
    """
    shares = [row["malicious_weight"] for row in rounds]
    pairs = [(row["malicious_norm"], row["honest_norm"]) for row in rounds]
    ratios = [malicious / honest for malicious, honest in pairs if malicious is not None and honest]
    candidates = [row["valid_candidates"] for row in rounds if row["valid_candidates"] is not None]
    return {
        "malicious_weight": None if None in shares else float(np.mean(shares)),
        "norm_ratio": float(np.median(ratios)) if ratios else None,
        "valid_candidates": float(np.median(candidates)) if candidates else None,
    }


def detection_columns(
    scores: Mapping[str, torch.Tensor], malicious: torch.Tensor, thresholds: Mapping[str, float]
) -> dict[str, float | None]:
    """What ``rounds.csv`` says of one round.

    Args:
        scores: Detector -> ``[N]``.
        malicious: ``[N]`` bool.
        thresholds: Detector -> the score from which on a client is flagged.

    Returns:
        For each detector ``d`` of ``thresholds``: ``d_flagged`` and ``d_caught``, how many clients it flagged and how
        many of these are malicious; ``d_auroc`` (``None`` unless there are clients of both kinds); ``d_honest_99``,
        the 99 % quantile of the honest clients' scores (``None`` without any).
    """
    columns: dict[str, float | None] = {}
    for name, threshold in thresholds.items():
        found = scores.get(name, torch.zeros(0))
        flagged, honest = found >= threshold, found[~malicious]
        both = 0 < len(honest) < len(found)
        columns |= {
            f"{name}_flagged": int(flagged.sum()),
            f"{name}_caught": int((flagged & malicious).sum()),
            f"{name}_auroc": _auroc(found, malicious) if both else None,
            f"{name}_honest_99": float(honest.quantile(QUANTILE)) if len(honest) else None,
        }
    return columns


def _auroc(scores: torch.Tensor, malicious: torch.Tensor) -> float:
    finite = scores.nan_to_num(posinf=torch.finfo(scores.dtype).max)
    return float(roc_auc_score(malicious.numpy(), finite.numpy()))


def detection_summary(
    rounds: Sequence[Mapping[str, Any]], detectors: Iterable[str]
) -> dict[str, dict[str, float | None]]:
    """Detector -> how well it did over all rounds.

    Args:
        rounds: Rows of ``rounds.csv``.
        detectors: Their names.

    Returns:
        ``precision`` of what was flagged and ``recall`` of the malicious clients, over clients of all rounds;
        ``false_alarms``, the share of honest clients that were flagged; ``auroc``, the mean over rounds with clients
        of both kinds; ``threshold_at_1``, the median over rounds of the honest clients' 99 % quantile. All but the last
        in ``[0, 1]``; ``None`` where they are 0/0.
    """
    return {name: _summary(rounds, name) for name in detectors}


def _summary(rounds: Sequence[Mapping[str, Any]], name: str) -> dict[str, float | None]:
    flagged, caught, honest, malicious = (
        sum(row[column] for row in rounds) for column in (f"{name}_flagged", f"{name}_caught", "honest", "malicious")
    )
    areas = [row[f"{name}_auroc"] for row in rounds if row[f"{name}_auroc"] is not None]
    quantiles = [row[f"{name}_honest_99"] for row in rounds if row[f"{name}_honest_99"] is not None]
    return {
        "precision": caught / flagged if flagged else None,
        "recall": caught / malicious if malicious else None,
        "false_alarms": (flagged - caught) / honest if honest else None,
        "auroc": float(np.mean(areas)) if areas else None,
        "threshold_at_1": float(np.median(quantiles)) if quantiles else None,
    }
