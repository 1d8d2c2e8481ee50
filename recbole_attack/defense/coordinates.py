"""Rules that look at single coordinates: ``(values [N, ...], weights [N, ...]) -> [...]``.

Coordinates are independent, so a caller may pass any part of them at a time, in any shape. Weights are ignored: an
order statistic counts each client once, and byzantine clients could not be outvoted if they could claim more examples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from recbole_attack.utils.shares import part_of

CoordinateRule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``(values [N, ...], weights [N, ...]) -> [...]``."""


def median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Coordinate-wise median (Yin et al. 2018): the middle value, the mean of the middle two if N is even.

    That is NumPy's and SciPy's convention; ``torch.median`` takes the lower of the two. Bounded while less than half
    of the clients are hostile.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]])
    >>> median(updates, torch.ones(5))
    tensor([2., 1.])
    """
    ordered = in_order(values)
    n = len(values)
    return ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2


def trimmed_mean(values: torch.Tensor, weights: torch.Tensor, trim_ratio: float) -> torch.Tensor:
    """Coordinate-wise mean without the ``k`` smallest and the ``k`` largest values (Yin et al. 2018).

    ``k = floor(trim_ratio * N)`` as in ``scipy.stats.trim_mean``, but always leaving a middle: at most
    ``(N - 1) // 2``, so that a ratio of 0.5 is the median. Bounded while at most ``k`` clients are hostile.

    >>> updates = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0], [9.0, 9.0]])
    >>> trimmed_mean(updates, torch.ones(5), trim_ratio=0.2)
    tensor([1.6667, 1.0000])
    """
    n = len(values)
    cut = min(part_of(n, trim_ratio), (n - 1) // 2)
    return in_order(values)[cut : n - cut].mean(dim=0)


def in_order(values: torch.Tensor, absent: torch.Tensor | None = None) -> torch.Tensor:
    """Every coordinate's values in ascending order of the clients' dimension, the first.

    Args:
        values: ``[N, ...]``.
        absent: Bool, to be broadcast over ``values``: where it holds, infinity stands instead, behind all others.
    """
    last = values.detach().movedim(0, -1).clone(memory_format=torch.contiguous_format)
    if absent is not None:
        last.masked_fill_(absent.movedim(0, -1), torch.inf)
    if last.device.type != "cpu":
        return last.sort(dim=-1).values.movedim(-1, 0)
    last.numpy().sort(axis=-1)  # in place, and far faster than torch's sort on a CPU
    return last.movedim(-1, 0)
