"""Which items a pre-trained model promotes, from what a platform can see.

A platform knows its own interactions and can run two models over its users: the pre-trained one and a local one that it
trained on its own data. A detector compares whom they show each item (:class:`Evidence`) and says how suspicious every
item is and which ones to flag (:class:`Detection`). It never learns the targets. Two detectors that read exposure stand
here; those on item embeddings and those on groups of users in :mod:`~recbole_attack.defense.table_detection` and
:mod:`~recbole_attack.defense.group_detection`.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.cluster import KMeans

from recbole_attack.defense.evidence import Detection, Detector, Evidence, detection, popularity_classes
from recbole_attack.defense.group_detection import groups
from recbole_attack.defense.table_detection import margin, spectral

CUTOFFS = (5, 10, 50, 100)
"""Lengths N of the lists that are compared ("Attacking Pre-trained Recommendation", section 4.5)."""


def kmeans(evidence: Evidence, seed: int) -> Detection:
    """Two clusters of exposure differences (Wu et al.); flags the one that gained more.

    "Attacking Pre-trained Recommendation", section 4.5: k-means with two clusters on ``Diff = HIT@N^P - HIT@N^L``, one
    feature for each N in 5, 10, 50, 100. The paper does not say which cluster is anomalous, whether features are
    standardised or where k-means starts, and there is no released code. Here:

    - flagged is the cluster whose centre has the larger mean over N. Two models that fill their lists show equally
      much in all, so this one gained and the other lost. It need not be the smaller one: where the local model
      overexposes a few items, these are what stands apart, and nearly the whole catalogue is flagged;
    - ``Diff`` stays as it is, so the longest lists weigh most;
    - the best of 10 k-means++ starts, drawn with ``seed``.

    There are always two clusters, so items are flagged of a clean model too, unless all differences are equal: then
    nothing is flagged and all scores are 0.

    The score is the signed distance from the plane between the centres, in units of ``Diff``, positive where flagged.
    """
    difference = (evidence.pretrained[1:] - evidence.local[1:]) / evidence.users
    if (difference == difference[:1]).all():
        return detection(np.zeros(len(difference)), np.zeros(len(difference), dtype=bool))
    centres = KMeans(n_clusters=2, n_init=10, random_state=seed).fit(difference).cluster_centers_
    lost, gained = sorted(centres, key=lambda centre: (centre.mean(), *centre))
    scores = (difference - (lost + gained) / 2) @ (gained - lost) / np.linalg.norm(gained - lost)
    return detection(scores, scores > 0)


def excess_tail(evidence: Evidence, seed: int, false_discovery_rate: float = 0.05) -> Detection:
    """Items shown to far more users than the local model shows them to, for their popularity.

    Our own. If the longest lists show an item to ``c`` users, counting noise moves ``2 sqrt(c + 3/8)`` by a standard
    deviation of 1 whatever ``c`` is (Anscombe 1948); the excess ``x`` of an item is this number under the pre-trained
    model minus the same under the local one. A model trained on more data shows other items than the local one, most
    of all those the platform has seen little of; so an item is held against items of similar popularity only, in up
    to ten classes of about a hundred or more. The excess of honest items is taken to fall off exponentially: with the
    median ``m`` and the 95th percentile ``q`` of a class, which a few promoted items hardly move,

        ``P(X >= x) = 1/2 exp(-(x - m) / s)``,  ``s = (q - m) / log 10``,

    and ``q - m`` is at least what counting noise alone gives. Flagged is what Benjamini and Hochberg (1995) reject at
    ``false_discovery_rate``. Nothing is drawn, so ``seed`` does not matter.

    Honest items whose provider's users like them far more than the platform's look the same as promoted ones, and
    promoted ones hide each other where they are more than one in twenty of their class.

    Args:
        evidence: What the platform sees.
        seed: Not used.
        false_discovery_rate: Share of honest items among the flagged ones to be expected if excess falls off as
            assumed, in ``(0, 1)``.

    Returns:
        Scores ``(x - m) / s``; flagged are items above a threshold on them.
    """
    shown = 2 * np.sqrt(np.stack([evidence.pretrained[1:, -1], evidence.local[1:, -1]]) + 3 / 8)
    excess = shown[0] - shown[1]
    classes = popularity_classes(evidence.popularity[1:])
    scores = np.empty(len(excess))
    for members in (classes == c for c in np.unique(classes)):
        median, high = np.quantile(excess[members], [0.5, 0.95])
        scores[members] = (excess[members] - median) * np.log(10) / max(high - median, _NOISE)
    tail = np.minimum(np.exp(-scores) / 2, 1.0)
    return detection(scores, false_discovery_control(tail) <= false_discovery_rate)


_NOISE = 1.645 * np.sqrt(2)
"""95th percentile of the difference of two normal variables of standard deviation 1."""


DETECTORS: dict[str, Detector] = {
    "kmeans": kmeans,
    "excess_tail": excess_tail,
    "spectral": spectral,
    "margin": margin,
    "groups": groups,
}
"""Detectors by name."""
