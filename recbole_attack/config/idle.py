"""Parameters that do nothing beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.defense import configured_aggregator

_OF_UPLOADS = ("upload", "claimed_interactions", "gradient_scale")


def idle(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameter -> why it does nothing.

    Args:
        values: All parameters of a run, checked.
    """
    if values["scenario"] == "pretrain" and values["repair"] != "none" and values["platform"] == "local":
        return {"repair": "platform 'local' uses no provider's model"}
    if values["scenario"] != "federated":
        return {"save_client_weights": "there are no clients"} if values["save_client_weights"] else {}
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
