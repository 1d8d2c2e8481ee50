"""What honest clients draw at random: for all clients of an epoch at once, or for those of a round, one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from recbole_attack.data import TrainData
from recbole_attack.data.batches import Float
from recbole_attack.data.sequences import Int


class Drawn(NamedTuple):
    """The draws of some users' clients at one local step, for each of their last items, left-aligned.

    Attributes:
        negatives: ``[B, W]``.
        masks: ``[B, W]`` what the model's loss draws, if it does.
        fate: ``[B, W]`` what the client defence draws, if there is one.
    """

    negatives: Int
    masks: Float | None
    fate: Float | None


Draw = Callable[[Int], list[Drawn]]
"""``users [B] -> their draws, a local step each``."""

_MASKS, _FATE = "masks", "client defense"


def honest_draws(data: TrainData, period: int, config: Any, needs_masks: bool, needs_fate: bool) -> Draw:
    """The draws of the clients of one period.

    Where every client is asked once an epoch, what all of them draw is drawn at once. Where few of them are, each draws
    by itself, so that the others cost nothing.

    Args:
        data: The clients' data.
        period: See :meth:`~recbole_attack.trainer.client_side.ClientSide.period`.
        config: ``local_epochs``, ``shared_negatives`` and ``rounds_per_epoch``.
        needs_masks: Whether the model's loss draws.
        needs_fate: Whether a client defence does.
    """
    purposes = [purpose if needed else None for purpose, needed in ((_MASKS, needs_masks), (_FATE, needs_fate))]
    steps = range(config["local_epochs"])
    if config["rounds_per_epoch"] is not None:
        return lambda users: [_by_client(data, users, purposes, period, step) for step in steps]
    negatives = data.shared_negatives if config["shared_negatives"] else data.negatives
    whole = [
        (negatives(period, step), *(purpose and data.draws(purpose, period, step) for purpose in purposes))
        for step in steps
    ]
    return lambda users: [_aligned(data, users, *values) for values in whole]


def _by_client(data: TrainData, users: Int, purposes: list[str | None], period: int, step: int) -> Drawn:
    negatives = data.client_negatives(users, period, step)
    return Drawn(negatives, *(purpose and data.client_draws(users, purpose, period, step) for purpose in purposes))


def _aligned(data: TrainData, users: Int, *values: Int | Float | None) -> Drawn:
    return Drawn(*(None if value is None else data.aligned(value, users).numpy() for value in values))
