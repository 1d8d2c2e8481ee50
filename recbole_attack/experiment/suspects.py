"""A table of items by how suspicious a model's exposure of them is: ``flagged.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_attack.defense import Detection, Evidence

FLAGGED = "flagged.csv"

Table = tuple[list[str], list[list[Any]]]
"""Names of columns, and rows."""


def suspects(
    tokens: Sequence[str],
    evidence: Evidence,
    cutoffs: Sequence[int],
    found: Mapping[str, Detection],
    flagged: Any,
    first: str,
    p_values: Mapping[str, Any] | None = None,
) -> Table:
    """Header and rows, one for each item that has a score, the most suspicious first.

    Args:
        tokens: ``[n_items]``, of the padding item, too.
        evidence: What the platform sees.
        cutoffs: Lengths of the lists in it.
        found: Detector -> what it says.
        flagged: ``[n_items]`` whether the item is flagged.
        first: The detector whose scores order the items.
        p_values: Detector -> ``[n_items]``; empty columns without.

    Returns:
        Columns ``item``, ``flagged``, ``<detector>_score`` and ``<detector>_p`` for each detector, ``first`` in front,
        ``model@N`` and ``local@N``, the users shown the item in lists of N by either model, ``users``, who were asked
        for, and ``popularity``, the platform's interactions with it.
    """
    names = sorted(found, key=lambda name: name != first)
    header = ["item", "flagged", *(f"{name}_{what}" for name in names for what in ("score", "p"))]
    header += [f"{model}@{n}" for n in cutoffs for model in ("model", "local")] + ["users", "popularity"]
    items = np.flatnonzero(np.isfinite(found[first].scores))
    items = items[np.argsort(-found[first].scores[items], kind="stable")]
    rows = []
    for item in map(int, items):
        p_of = {name: "" if p_values is None else f"{p_values[name][item]:.6g}" for name in names}
        scores = [text for name in names for text in (f"{found[name].scores[item]:.6g}", p_of[name])]
        pairs = zip(evidence.pretrained[item], evidence.local[item], strict=True)
        shown = [int(users) for pair in pairs for users in pair]
        row = [tokens[item], int(flagged[item]), *scores, *shown, evidence.users, int(evidence.popularity[item])]
        rows.append(row)
    return header, rows
