"""What not every victim can do: losses, prompts, replaced next items and single prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.model import BERT4Rec, PromptSASRec, SASRec, Victim
from recbole_attack.stages import plans
from recbole_attack.utils.errors import ConfigError, lookup


def check_victim(model: type[Victim], values: Mapping[str, Any]) -> None:
    """Check what is asked of a model.

    Args:
        model: The class of the victim.
        values: All parameters.

    Raises:
        ConfigError: The model has no such loss, or cannot be trained or attacked so.
    """
    name, scenario = model.__name__, values["scenario"]
    lookup(dict.fromkeys(model.loss_types), values["loss_type"], "loss_type")
    if model.needs_draws and values["train_rows"] != "users":
        raise ConfigError(f"train_rows of model '{name}': expected 'users', found '{values['train_rows']}'")
    if issubclass(model, PromptSASRec) and scenario != "pretrain":
        raise ConfigError(f"model '{name}': expected scenario 'pretrain', found '{scenario}'")
    stages = [stage for arm in plans(values).values() for stage in arm] if scenario == "pretrain" else []
    if any(stage.prompted for stage in stages) and model not in (SASRec, PromptSASRec):
        chosen = f"attack '{values['attack']}', platform '{values['platform']}'"
        raise ConfigError(f"prompts ({chosen}): expected model 'SASRec', found '{name}'")
    if any(stage.poisoned for stage in stages) and issubclass(model, BERT4Rec):
        raise ConfigError(
            f"attack '{values['attack']}' replaces the item that follows: expected a model that predicts it, "
            f"such as 'SASRec', found '{name}'"
        )
