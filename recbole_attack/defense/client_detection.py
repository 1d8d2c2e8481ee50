"""How suspicious the clients of a round are, from what they sent.

A score is a number for each client, the higher the more suspicious; a threshold on it says who is taken for hostile.
Nothing is left out of the round because of it. Who is hostile, and how many are, no detector is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from recbole_attack.defense.spectral import projections

_ROUNDING = 1e-12
"""How far the same float64 numbers may be apart that were summed in another order."""

_SAME = 1e-6
"""How far below 1 the cosine of equal updates may be, whose products are summed in float32."""


class Sent(NamedTuple):
    """What detectors read of ``N`` updates, all of them finite.

    Attributes:
        gram: ``[N, N]`` inner products of whole updates, float64.
        longest_row: ``[N]`` squared length of each update's longest row of an item, float64.
    """

    gram: torch.Tensor
    longest_row: torch.Tensor


def top_row(sent: Sent) -> torch.Tensor:
    """``[N]`` share of an update's squared length that is in its longest row of an item; 0 of an update of zero.

    At most 1, and just that of an update of one row, whose two lengths are summed in different orders.

    Honest clients move the rows of a whole history and the encoder, who writes the target's row moves one. After the
    energy per output row of DeepSight (Rieger et al., NDSS 2022), which looks at the layer of a classifier.
    """
    share = _share(sent.longest_row, sent.gram.diagonal())
    return torch.where(share > 1 - _ROUNDING, 1.0, share)


def clone(sent: Sent) -> torch.Tensor:
    """``[N]`` cosine of an update with the most similar other one; 0 of one that is alone or zero.

    Just 1 of copies, of which float32 products leave up to 1e-6 less or more, and so of all who are as similar.

    Clients who upload the same are not independent. After FoolsGold (Fung, Yoon and Beschastnikh, RAID 2020), which
    adds updates up over rounds; here each round stands for itself, since few clients are asked twice in a while.
    """
    length = sent.gram.diagonal().sqrt()
    cosine = _share(sent.gram, length[:, None] * length)
    cosine = torch.where(cosine > 1 - _SAME, 1.0, cosine).fill_diagonal_(-torch.inf)
    return cosine.amax(dim=1) if len(cosine) > 1 else torch.zeros_like(length)


def spectral(sent: Sent) -> torch.Tensor:
    """``[N]`` share of a client in the round's variance along the direction in which its updates differ most.

    The score by which :func:`~recbole_attack.defense.spectral.dnc` removes clients; all are 0 where updates are equal.
    """
    equal = torch.ones_like(sent.longest_row) / max(len(sent.longest_row), 1)
    squared, _ = projections(sent.gram, equal)
    return _share(squared, squared.sum())


def norm(sent: Sent) -> torch.Tensor:
    """``[N]`` length of an update over the round's median; 0 where that is 0."""
    length = sent.gram.diagonal().sqrt()
    return _share(length, length.quantile(0.5)) if len(length) else length


CLIENT_DETECTORS: dict[str, Callable[[Sent], torch.Tensor]] = {
    "top_row": top_row,
    "clone": clone,
    "spectral": spectral,
    "norm": norm,
}
"""How suspicious clients are, by the name ``--client_detectors`` takes: ``Sent -> [N]``."""


def _share(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return torch.where(whole > 0, part / whole, 0.0)
