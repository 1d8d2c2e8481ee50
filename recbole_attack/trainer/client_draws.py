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
    steps = range(config["local_epochs"])
    if config["rounds_per_epoch"] is not None:
        return lambda users: [_by_client(data, users, needs_masks, needs_fate, period, step) for step in steps]
    negatives = data.shared_negatives if config["shared_negatives"] else data.negatives
    whole = [
        (
            negatives(period, step),
            data.draws(_MASKS, period, step) if needs_masks else None,
            data.draws(_FATE, period, step) if needs_fate else None,
        )
        for step in steps
    ]
    return lambda users: [_aligned(data, users, *values) for values in whole]


def _by_client(data: TrainData, users: Int, needs_masks: bool, needs_fate: bool, *keys: int) -> Drawn:
    masks = data.client_draws(users, _MASKS, *keys) if needs_masks else None
    fate = data.client_draws(users, _FATE, *keys) if needs_fate else None
    return Drawn(data.client_negatives(users, *keys), masks, fate)


def _aligned(data: TrainData, users: Int, negatives: Int, masks: Float | None, fate: Float | None) -> Drawn:
    def of_users(values: Any) -> Any:
        return None if values is None else data.aligned(values, users).numpy()

    return Drawn(of_users(negatives), of_users(masks), of_users(fate))
