"""Parameters that do nothing beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.config.attack_config import AttackConfig
from recbole_attack.config.options import WHO_IS_HONEST, WITHOUT_EFFECT
from recbole_attack.config.registered import defended_from_outside
from recbole_attack.data import draws_targets, parse_group
from recbole_attack.defense import configured_aggregator
from recbole_attack.stages import STAGES, plans

_OF_UPLOADS = ("upload", "claimed_interactions", "gradient_scale")


def without_effect(config: AttackConfig) -> dict[str, str]:
    """Parameter that was given another value than its default, and does nothing -> why."""
    values, changed = config.final_config_dict, config.changed()
    unread = dict.fromkeys(_unread(values), f"the scenario '{values['scenario']}' does not read it")
    return {key: reason for key, reason in sorted({**idle(values), **unread}.items()) if key in changed}


def _unread(values: Mapping[str, Any]) -> frozenset[str]:
    unread = WITHOUT_EFFECT[values["scenario"]]
    return unread - WHO_IS_HONEST if _compromised(values) else unread


def _compromised(values: Mapping[str, Any]) -> bool:
    """Whether malicious users count as such without an attack: they are not evaluated."""
    return values["scenario"] != "pretrain" and values["malicious_clients"] == "compromise"


def idle(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameter of the run's scenario -> why it does nothing beside the others.

    Args:
        values: All parameters of a run, checked.
    """
    scenarios = {"federated": _in_federation, "pretrain": _in_pretraining}
    found = {} if draws_targets(values["target_items"]) else {"target_seed": "nothing draws these target items"}
    if values["lr_decay_step"] is None:
        found["lr_decay_gamma"] = "there is no lr_decay_step"
    if values["attack"] == "none" and not _compromised(values) and not defended_from_outside(values):
        found |= dict.fromkeys(WHO_IS_HONEST, "there is no attack")
    if values["scenario"] != "federated":
        found["save_client_weights"] = "there are no clients"
    return found | (scenarios[values["scenario"]](values) if values["scenario"] in scenarios else {})


def _in_federation(values: Mapping[str, Any]) -> dict[str, str]:
    rule = configured_aggregator(values)
    found = {} if values["shuffle"] else {"shuffle": "every round asks clients in an order of its own"}
    if values["attack"] == "none" and not defended_from_outside(values):
        seen = not rule.one_pass or values["client_detectors"]  # else a budget changes the order of sums
        found |= dict.fromkeys((*_OF_UPLOADS, *(["norm_budget"] if seen else [])), "there is no attack")
    if values["local_epochs"] == 1:
        found["local_learning_rate"] = "the only local step is the upload"
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
