"""``config_dict``, of values as JSON has them, on top of an ordinary configuration."""

from __future__ import annotations

import json

from contract import outcome, promise

from recbole_attack import AttackConfig


def run(data: bytes) -> str:
    """Read ``data`` as a JSON object; what is none is not for this parser."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return "no object"
    if not isinstance(given, dict) or "plugins" in given:  # whoever names code wants it to run
        return "no object"

    def read() -> None:
        values = AttackConfig(config_dict={"dataset": "tiny", **given}).to_dict()
        again = AttackConfig(config_dict=values).to_dict()
        promise(sorted(map(repr, again.items())) == sorted(map(repr, values.items())), "it is another one again")

    return outcome(read)
