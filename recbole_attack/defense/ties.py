"""Ties between clients, which a rule breaks by their order: they go to whom chance puts first.

Honest clients of a round come before malicious ones, so that a rule which takes the first of equals would be told who
is honest. Ties are no rarity: of two or three clients that touch an item, two are each other's nearest.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from recbole_attack.defense.weighting import Weighting, WeightingRule


def in_order(
    places: torch.Tensor, gram: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clients by their places in a random order.

    Args:
        places: ``[..., N]``, no two of a round equal.
        gram: ``[..., N, N]``.
        weights: ``[..., N]``.

    Returns:
        Both of the clients in their order, and ``[..., N]`` where each client went, by which
        ``values.gather(-1, where)`` has them as they were.
    """
    order = places.argsort(dim=-1)
    rows = gram.gather(-2, order[..., :, None].expand_as(gram))
    return rows.gather(-1, order[..., None, :].expand_as(gram)), weights.gather(-1, order), order.argsort(dim=-1)


def weighed_in_order(
    weigh: WeightingRule, places: torch.Tensor, gram: torch.Tensor, weights: torch.Tensor
) -> Weighting:
    """What a rule that takes the first of equals gives clients, ``[..., N]``, when it sees them :func:`in_order`."""
    *ordered, where = in_order(places, gram, weights)
    found = weigh(*ordered)
    return replace(found, client_weights=found.client_weights.gather(-1, where))
