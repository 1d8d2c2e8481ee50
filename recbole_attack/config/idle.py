"""Parameters that do nothing beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.data import parse_group
from recbole_attack.defense import configured_aggregator
from recbole_attack.stages import STAGES, plans

_OF_UPLOADS = ("upload", "claimed_interactions", "gradient_scale")


def idle(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameter -> why it does nothing.

    Args:
        values: All parameters of a run, checked.
    """
    if values["scenario"] != "federated":
        found = {"save_client_weights": "there are no clients"} if values["save_client_weights"] else {}
        return found | (_in_pretraining(values) if values["scenario"] == "pretrain" else {})
    rule = configured_aggregator(values)
    found = {} if values["shuffle"] else {"shuffle": "every round asks clients in an order of its own"}
    if values["attack"] == "none":
        found |= dict.fromkeys(_OF_UPLOADS, "there is no attack")
    if values["save_client_weights"] and rule.one_pass:
        found["save_client_weights"] = f"aggregator '{values['aggregator']}' has fixed weights"
    if not rule.weighted:
        found |= dict.fromkeys(
            ("client_weighting", "claimed_interactions"),
            f"aggregator '{values['aggregator']}' counts all clients alike",
        )
    if "support_prior" in values and not values["per_item"]:
        found["support_prior"] = "without per_item, the other clients of the round count as those that sent zeros"
    return found


def _in_pretraining(values: Mapping[str, Any]) -> dict[str, str]:
    """Those of stages no arm has, of prompts nobody trains, and what is done to users who are not there.

    The fields of prompts are loaded with or without them, and detectors read what is loaded.
    """
    stages = [stage for arm in plans(values).values() for stage in arm]
    found: dict[str, str] = {}
    for name in sorted(set(STAGES) - {stage.name for stage in stages}):
        found |= dict.fromkeys((f"{name}_epochs", f"{name}_learning_rate"), f"no model here has the stage '{name}'")
    if not any(stage.prompted for stage in stages):
        found |= dict.fromkeys(("prompt_length", "deep_prompts"), "no model here has prompts")
    if values["repair"] != "none" and values["platform"] == "local":
        found["repair"] = "platform 'local' uses no provider's model"
    if values.get("replacement_negatives") == "push" and not parse_group(values["target_group"]):
        found["replacement_negatives"] = "nobody is outside of target group 'all'"
    return found
