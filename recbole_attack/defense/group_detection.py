"""A detector that looks at groups of users one by one, for items that are promoted to some of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp
from scipy.stats import false_discovery_control

from recbole_attack.data.sequences import Int
from recbole_attack.defense.evidence import Detection, Evidence, Floats, Mask, detection, popularity_classes


def groups(
    evidence: Evidence, seed: int, group_least: int = 10, group_false_discovery_rate: float = 0.05
) -> Detection | None:
    """Items that some group of users is shown more often than by the local model.

    Our own. Users are divided by what is known of them and, into a few clusters, by their states under the local model.
    The same users are asked under both models, so pairs are compared: of a group's users, ``b`` find the item in the
    list of the given model alone and ``c`` in that of the local one alone; those who find it in both or neither say
    nothing. If neither model shows it more, ``b`` is binomial, ``b + c`` trials of a half
    (McNemar 1947, one-sided and exact), whatever each user's own chance is; two independent shares would be compared
    against the local one's counting noise, which is largest where it is 0.

        ``p = P(B >= b)``,  ``B ~ Bin(b + c, 1/2)``.

    Honest models of different users do not show items equally often, above all popular ones, where there are many pairs
    to tell it by. So ``p`` is held against those of the items of similar popularity in the same group, in up to ten
    classes of about a hundred or more, as genomic control does (Devlin and Roeder 1999): if one in twenty has ``q`` or
    less there, instead of 1/20, all become ``p^(1/s)`` with ``s = log q / log(1/20)``, or stay where ``s < 1``. A few
    promoted items hardly move ``q``. Without this, a popular item that 80 users gained and 5 lost comes before a
    promoted rare one that 25 gained.

    An item's score is ``-log10`` of that in the group in which it is most suspicious, for each hundred users asked: of
    two models that differ, it grows with their number (Chernoff 1952), and fewer are asked for clean models. Flagged is
    what Benjamini and Hochberg (1995) reject at ``group_false_discovery_rate`` among all pairs of items and groups.

    Args:
        evidence: What the platform sees.
        seed: Not used; nothing is drawn here.
        group_least: Users a group has at least to be looked at.
        group_false_discovery_rate: Expected share of wrong ones among the flagged pairs, in ``(0, 1)``.

    Returns:
        Scores of 0 and above. ``None`` without lists or groups.
    """
    if evidence.lists is None or evidence.groups is None:
        return None
    n_items = len(evidence.popularity)
    if n_items < 2:
        return detection(np.zeros(0), np.zeros(0, dtype=bool))
    gained, lost = (_only(*pair) for pair in (evidence.lists, evidence.lists[::-1]))
    classes = popularity_classes(evidence.popularity[1:])
    tails = [
        _deflated(_log_tails(_counts(gained, members, n_items), _counts(lost, members, n_items)), classes)
        for members in _members(evidence.groups, group_least)
    ]
    if not tails:
        return detection(np.zeros(n_items - 1), np.zeros(n_items - 1, dtype=bool))
    log_p = np.array(tails)
    rejected = false_discovery_control(np.exp(log_p).ravel()).reshape(log_p.shape) <= group_false_discovery_rate
    return detection(np.abs(log_p.min(axis=0)) / np.log(10) * 100 / len(evidence.groups), rejected.any(axis=0))


def _only(first: Int, second: Int) -> tuple[Int, Int]:
    """Users and items, each ``[m]``, of the items in a user's first list that are not in the second."""
    alone = np.stack([~(second == column[:, None]).any(axis=1) for column in first.T], axis=1) & (first > 0)
    user, place = np.nonzero(alone)
    return user, first[user, place]


def _members(codes: Int, least: int) -> Iterator[Mask]:
    """``[users]`` of each group that is large enough."""
    for division in codes.T:
        values, sizes = np.unique(division, return_counts=True)
        yield from (division == value for value in values[(sizes >= least) & (values > 0)])


def _counts(pairs: tuple[Int, Int], members: Mask, n_items: int) -> Int:
    """``[n_items - 1]`` how many of some users have the item, from item 1 on."""
    user, item = pairs
    return np.bincount(item[members[user]], minlength=n_items)[1:]


def _log_tails(gained: Int, lost: Int) -> Floats:
    """``[n]`` natural logarithms of ``P(Bin(b + c, 1/2) >= b)``, exact where the probability itself is 0 in floats."""
    kinds, kind = np.unique(np.stack([gained, lost]), axis=1, return_inverse=True)
    return np.array([_log_tail(b, b + c) for b, c in kinds.T.tolist()])[kind.reshape(-1)]


def _deflated(log_p: Floats, classes: NDArray[np.intp]) -> Floats:
    """``[n]`` log p-values, of classes where small ones are common brought to what is expected of one in twenty."""
    deflated = np.minimum(log_p, 0.0)
    for members in (classes == c for c in np.unique(classes)):
        deflated[members] /= max(np.quantile(deflated[members], 0.05) / np.log(0.05), 1.0)
    return deflated


def _log_tail(least: int, trials: int) -> float:
    if not least:
        return 0.0
    k: NDArray[np.float64] = np.arange(least, trials + 1, dtype=np.float64)
    ways = gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
    return float(logsumexp(ways) - trials * np.log(2))
