"""What RecBole's own trainer asks of a configuration: the scenario ``recbole``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.utils import ModelType

from recbole_attack.utils.errors import ConfigError, lookup, shown

READ_BY_RECBOLE_ALONE = frozenset({"train_neg_sample_args", "transform", "enable_amp", "ft_ratio", "loss_type"})
"""Parameters of RecBole's own trainer and models: without effect elsewhere, and RecBole's to check in its scenario."""

_NEGATIVES = "train_neg_sample_args"


def complete_training(
    values: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any], model: type[Any]
) -> dict[str, Any]:
    """The parameters with the negatives of training filled in: RecBole's defaults for what was not given, or none.

    There are none where a sequential model's loss takes all items, which RecBole asks its users to say, and where a
    model is counted rather than trained: RecBole's Pop counts negatives like interactions. Such a model has one epoch,
    as RecBole has it.

    Args:
        values: All parameters.
        given: The user's.
        defaults: Those of the scenario.
        model: The model's class.

    Raises:
        ConfigError: The loss is none of the model's, or there is to be a schedule, which RecBole's trainer has not.
    """
    by_loss = not hasattr(model, "input_type")  # RecBole then asks the loss what a row is
    if by_loss:
        lookup(dict.fromkeys(("CE", "BPR")), values.get("loss_type"), "loss_type")
    if values["lr_decay_step"] is not None:
        raise ConfigError(
            f"lr_decay_step: RecBole's trainer has no schedule: expected null, found {shown(values['lr_decay_step'])}"
        )
    counted = model.type == ModelType.TRADITIONAL
    values = {**values, "epochs": 1} if counted else values
    wanted = given.get(_NEGATIVES)
    if isinstance(wanted, Mapping):
        return {**values, _NEGATIVES: {**defaults[_NEGATIVES], **wanted}}
    takes_all = by_loss and model.type == ModelType.SEQUENTIAL and values["loss_type"] == "CE"
    if _NEGATIVES not in given and (takes_all or counted):
        return {**values, _NEGATIVES: None}
    return dict(values)
