"""Detectors that read the model itself: its table of item embeddings, and how far users' states are from listing items.

Both compare with the platform's own model, which is trained on other users and starts elsewhere: what the two do not
share because of that (a rotation and the length of embeddings, the scale of states, how popular items stand) is taken
out first. Scores are suspicion, higher is more suspicious; what they are worth is for clean models to say.
"""

from __future__ import annotations

import numpy as np

from recbole_attack.data.sequences import Int
from recbole_attack.defense.evidence import Detection, Evidence, Floats, Mask, detection, popularity_classes

_WIDEST = 2048

_EXACT = 1e-9
"""Share of the largest value below which a difference is rounding."""


def spectral(
    evidence: Evidence, seed: int, spectral_head: float = 0.2, spectral_promoted: float = 0.01
) -> Detection | None:
    """Spectral signature of the item embeddings, aligned with the local model's.

    Tran, Li and Madry, "Spectral Signatures in Backdoor Attacks", NeurIPS 2018 (arXiv:1811.00636), algorithm 1: of the
    representations of one class, centred, those with the largest squared projection on the top right singular vector
    are taken for poisoned, 1.5 times as many as are expected. There, representations are of training examples; a
    platform has none of the provider's. Here, a representation is what an item's embedding has that the local
    model's has not:

    - both tables are centred at the mean of their popular items and scaled to unit mean square there, and the
      provider's is rotated onto the local one by orthogonal Procrustes (Schönemann 1966), fitted on these items: the
      share ``spectral_head`` of the catalogue, the most popular ones, and as many at least as embeddings are long.
      Rare items, which backdoors promote, do not take part where there are enough others;
    - the residuals are centred within each popularity class (the paper's classes are labels): rare items of two honest
      models differ in a way of their own. One direction is sought for all classes together, since targets of all
      classes are moved alike.

    Embeddings of different sizes are compared as if the shorter had zeros at the end. Known to fail where the trigger
    is weak: honest differences then have a larger singular value than the promoted items. Nothing is drawn.

    Args:
        evidence: What the platform sees.
        seed: Not used.
        spectral_head: Share of items that is aligned, in ``(0, 1]``.
        spectral_promoted: Share of items expected to be promoted; 1.5 times as many are flagged, of a clean model, too.

    Returns:
        Squared projections; of items the model lacks, 0. Flagged are those at the ``1 - 1.5 spectral_promoted``
        quantile or above, as in the Adversarial Robustness Toolbox, unless they are 0. ``None`` without embeddings, or
        where they are longer than 2048, which would take minutes.
    """
    if evidence.rows is None or max(rows.shape[1] for rows in evidence.rows) > _WIDEST:
        return None
    given, local = (np.asarray(rows[1:], dtype=np.float64) for rows in evidence.rows)
    there = np.isfinite(given).all(axis=1) & np.isfinite(local).all(axis=1)
    popularity = evidence.popularity[1:][there]
    scores = np.zeros(len(given))
    if len(popularity) > 1:
        width = max(given.shape[1], local.shape[1])
        given, local = (np.pad(rows[there], ((0, 0), (0, width - rows.shape[1]))) for rows in (given, local))
        scores[there] = _signature(_residuals(given, local, popularity, spectral_head), popularity)
    return detection(scores, _highest(scores, spectral_promoted))


def _residuals(given: Floats, local: Floats, popularity: Int, share: float) -> Floats:
    """``[n, H]`` what is left of ``given`` minus ``local``, as multiples of the mean length, once they are aligned."""
    n, width = given.shape
    most = np.sort(popularity)[::-1][: max(int(np.ceil(share * n)), min(n, width))]
    head: Mask = popularity >= most[-1]  # equally popular items together, whatever their order
    given, local = (_scaled(rows - rows[head].mean(axis=0), head) for rows in (given, local))
    left, _, right = np.linalg.svd(given[head].T @ local[head])
    residuals = given @ (left @ right) - local
    return np.where(np.abs(residuals) > _EXACT * max(np.abs(given).max(), np.abs(local).max()), residuals, 0.0)


def _scaled(rows: Floats, head: Mask) -> Floats:
    length = np.sqrt(np.square(rows[head]).sum(axis=1).mean())
    return rows / length if length > 0 else rows


def _signature(residuals: Floats, popularity: Int) -> Floats:
    """``[n]`` squared projections on the top right singular vector of residuals centred within popularity classes."""
    classes = popularity_classes(popularity)
    for members in (classes == c for c in np.unique(classes)):
        residuals[members] -= residuals[members].mean(axis=0)
    _, _, right = np.linalg.svd(residuals, full_matrices=False)
    return np.square(residuals @ right[0])


def _highest(scores: Floats, promoted: float) -> Mask:
    if not len(scores):
        return np.zeros(0, dtype=bool)
    return (scores > 0) & (scores >= np.quantile(scores, max(1 - 1.5 * promoted, 0.0), method="higher"))


def margin(evidence: Evidence, seed: int, margin_index: float = 3.5) -> Detection | None:
    """How little users' states have to be pushed to list an item, next to the local model's.

    After Neural Cleanse (Wang et al., "Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019):
    a class that a small trigger reaches from all inputs is suspicious. There, a trigger is sought by gradient descent
    for each class, and ``(median - x) / (1.4826 MAD)`` of their sizes is the anomaly index, flagged above 2. Here, a
    trigger is a push of the state along the item's embedding, and its size has a closed form: with ``tau_u`` the K-th
    best score among the items ``u`` is recommended, the other items' scores held, ``x_t`` is the push that is enough
    for 90 % of the users, a quantile of ``(tau_u - h_u e_t) / |e_t|`` over them. It is negative where
    the item is listed anyway.

    In any good model popular items need little, so an index within the model alone flags the popular. What counts is
    what the local model's margin does not explain: with ``z = (x - median) / (1.4826 MAD)`` of either model, which
    removes the scale of its states, the residual of the given model's ``z`` from the straight line fitted to the local
    one's by least squares, its sign changed, and the index of that. The plain difference of both takes the
    local model's noise over, since models of other users agree in part: the line has a slope below 1. On the small
    models planted with BRA that these were tried on, the residual ranked targets higher than either. The bound is 3.5
    (Iglewicz and Hoaglin 1993) and not 2, which honest, normal scores exceed once in 44 items.

    Args:
        evidence: What the platform sees.
        seed: Not used.
        margin_index: Score above which items are flagged.

    Returns:
        Anomaly indices, the lowest of all where nothing can be said of an item. ``None`` where the pushes are not
        known, as where scores are no inner products of states and item embeddings.
    """
    if evidence.pushes is None:
        return None
    given, local = (np.asarray(pushes[1:], dtype=np.float64) for pushes in evidence.pushes)
    there = np.isfinite(given) & np.isfinite(local)
    scores = np.zeros(len(given))
    if there.any():
        found = _index(-_unexplained(_index(given[there]), _index(local[there])))
        scores[:] = found.min()
        scores[there] = found
    return detection(scores, scores > margin_index)


def _unexplained(given: Floats, local: Floats) -> Floats:
    """``[n]`` residuals of the least squares line; 0 where they are rounding."""
    given, local = given - given.mean(), local - local.mean()
    spread = local @ local
    residuals = given - local * (given @ local / spread if spread > 0 else 0.0)
    return np.where(np.abs(residuals) > _EXACT * np.abs(given).max(), residuals, 0.0)


def _index(values: Floats) -> Floats:
    """``[n]`` ``(value - median) / (1.4826 MAD)``; the difference as it is where half of the values are equal."""
    off = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(off))
    return off / spread if spread > _EXACT * np.abs(values).max() else off
