"""What a record of a run, ``result.json``, holds, as far as a report reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_attack.report.words import ARMS
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.shapes import misfit

_METRICS = {str: (float, None)}
_MEASURED = (
    *("test_result", "test_result_full", "best_valid_result", "standard_error", "standard_error_full"),
    *("uploads", "tail"),
)
_SHIPPED = {
    **{"detector": str, "flagged": int, "flagged_targets": int, "test_result": (_METRICS, None)},
    **{f"?{name}": (_METRICS, None) for name in ("test_result_full", "standard_error", "standard_error_full")},
}
ARM = {**dict.fromkeys(_MEASURED, (_METRICS, None)), "tested_epoch": (int, None), "shipped": (_SHIPPED, None)}
"""What an arm ended with, of which a record may lack all but ``test_result``."""

_ARM = {name if name == "test_result" else f"?{name}": shape for name, shape in ARM.items()}
_CONFIG = {
    **{"model": str, "attack": str, "exposure_candidates": (int, frozenset({"full"})), "mask_history": bool},
    **{"epochs": int, "learner": str, "learning_rate": float, "target_items": (str, [(str, int)]), "topk": [int]},
    "seed": int,
    **{"?malicious_ratio": (float, None), "?eval_users": (int, None), "?target_group": str, "?verbose": bool},
}
_OF_SCENARIO: Mapping[str, Mapping[str, Any]] = {
    "federated": {"clients_per_round": int, "aggregator": str, "?rounds_per_epoch": (int, None)},
    "pretrain": {"platform": str, "platform_users": str},
    "central": {},
    "recbole": {},
}
_BUDGET = {
    **{"target_items": [str], "?knowledge": [str], "?knowledge_level": (str, None)},
    **{"?target_group": (str, None), "?stages": dict},
}
_CLIENTS = {
    **{"malicious_clients": int, "malicious_share": float, "malicious_interactions": int},
    **{"mode": frozenset({"clone", "compromise"}), "?gradient_scale": float, "?norm_budget": (float, None)},
    "?claimed_interactions": (str, None),
}
_FAKE_USERS = {"fake_users": int, "malicious_share": float, "fake_interactions": int}
RECORD = {
    **{"config": {"scenario": frozenset(_OF_SCENARIO), **_CONFIG}, "seed": int, "?schema": int},
    "dataset": {"name": str, "users": int, "items": int, "interactions": int, "?sha256": dict},
    "budget": _BUDGET,
    "history": {str: [{"epoch": int}]},
    **{f"?{arm}": (_ARM, None) for arm in ARMS},
    **{"?delta": (_METRICS, None), "?detection": {str: {str: _METRICS}}, "?timing": {str: float}},
    **{"?outcomes": {str: str}, "?failed": ({"arm": str, "reason": str}, None)},
}
"""The shape of a record, see :mod:`recbole_attack.utils.shapes`; more may be in it."""


def check_record(record: Any, where: object) -> None:
    """Refuse what is no record, so that no report has to.

    Args:
        record: What a file holds.
        where: The file.

    Raises:
        DataError: Names the first part that is missing or of another kind.
    """
    wrong = misfit(record, RECORD)
    if not wrong:
        config, budget = record["config"], record["budget"]
        group = {"target_group": str} if config["attack"] != "none" else {}
        fakes = _FAKE_USERS if "fake_users" in budget else group
        attacker = _CLIENTS if "malicious_clients" in budget else fakes
        wrong = misfit(record, {"config": _OF_SCENARIO[config["scenario"]], "budget": attacker})
    if wrong:
        raise DataError(f"{where} is no record such as result.json of a run: expected {wrong}")


def check_records(rows: Mapping[str, Sequence[Any]], where: object) -> None:
    """:func:`check_record` for every record of a store's rows."""
    for records in rows.values():
        for record in records:
            check_record(record, where)
