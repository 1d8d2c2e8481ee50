"""Which client updates may reach a rule at all.

What arrives at a server may be anything. :func:`refusal` looks at its structure, which no rule could work around;
:func:`screen` at the size of its numbers, which robust rules are spared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch


def refusal(update: object, parameters: Mapping[str, torch.Tensor]) -> str | None:
    """Why an update cannot be read as one of these parameters; ``None`` if it can.

    It has to be a mapping from every parameter's name, and no other, to a dense tensor of its shape in any real
    floating-point type: a client may save bandwidth by sending half of the bits, or compute in float64. Integers,
    complex numbers and sparse tensors are refused, since nothing that trains these parameters gives them, and so is
    what has no values at all (a ``meta`` tensor).

    >>> parameters = {"weight": torch.zeros(2)}
    >>> refusal({"weight": torch.ones(2, dtype=torch.float16)}, parameters)
    >>> refusal({"weight": torch.ones(2), "bias": torch.ones(1)}, parameters)
    'unknown parameters'
    """
    if not isinstance(update, Mapping):
        return "no parameters"
    if parameters.keys() - update.keys():
        return "missing parameters" if update else "no parameters"
    if update.keys() - parameters.keys():
        return "unknown parameters"
    for name, parameter in parameters.items():
        value = update[name]
        if not isinstance(value, torch.Tensor) or value.is_meta:
            return "wrong type"
        if value.layout != torch.strided or not value.is_floating_point():
            return "wrong type"
        if value.shape != parameter.shape:
            return "wrong shape"
    return None


def screen(squared_norms: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Clients whose updates the server looks at.

    An update with a NaN or an infinity in it has a squared norm that is not finite. One whose squared norm does not fit
    into the updates' own type, such as entries of 1e30 in float32, is finite but no honest gradient.

    Args:
        squared_norms: ``[N]`` in float64, for instance the diagonal of the Gram matrix.
        dtype: The type clients send.

    Returns:
        ``[N]``, True for clients to keep.

    >>> screen(torch.tensor([4.0, float("nan"), float("inf"), 1e60], dtype=torch.float64))
    tensor([ True, False, False, False])
    """
    return squared_norms <= torch.finfo(dtype).max


def squared_norms(updates: torch.Tensor, columns: int = 1 << 16) -> torch.Tensor:
    """``[N]`` squared norms of ``updates [N, P]`` in float64, without a float64 copy of all of them."""
    total = updates.new_zeros(len(updates), dtype=torch.float64)
    for part in updates.split(columns, dim=1):
        for client, row in enumerate(part):  # a row at a time stays in the cache: ten times as fast as all of them
            wide = row.double()
            total[client] += wide @ wide
    return total


def value_reasons(finite: torch.Tensor) -> Counter[str]:
    """Why :func:`screen` left clients out, counted.

    Args:
        finite: ``[R]``, for each of them whether all its numbers are finite.
    """
    broken = int((~finite).sum())
    return +Counter({"not finite": broken, "too large": len(finite) - broken})
