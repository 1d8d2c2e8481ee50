"""Which rows may stand in one table: those that give attackers the same, and measure alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from recbole_attack.utils.errors import ConfigError, lookup
from recbole_attack.utils.files import plain

Record = Mapping[str, Any]


_FILTERS = ("user_inter_num_interval", "item_inter_num_interval", "val_interval", "filter_inter_by_user_or_item")


def _config(name: str) -> Callable[[Record], Any]:
    return lambda record: record["config"].get(name)


def _dataset(record: Record) -> Any:
    """Its files and its items; how many interactions a provider has is drawn with the seed."""
    return {name: record["dataset"].get(name) for name in ("name", "items", "sha256")}


def _filters(record: Record) -> Any:
    return {name: record["config"].get(name) for name in _FILTERS}


def _budget(name: str) -> Callable[[Record], Any]:
    """What an attacker has; nothing where there is none."""
    return lambda record: None if record["config"]["attack"] == "none" else record["budget"].get(name)


def _norm_budget(record: Record) -> Any:
    """The limit on what malicious clients upload; having none is a budget as well."""
    if record["config"]["attack"] == "none" or "norm_budget" not in record["budget"]:
        return None
    limit = record["budget"]["norm_budget"]
    return "none" if limit is None else limit


def _claims(record: Record) -> Any:
    """How much data malicious clients claim; records from before they could lie tell of the truth."""
    attacked = record["config"]["attack"] != "none" and "malicious_clients" in record["budget"]
    return (record["budget"].get("claimed_interactions") or "the truth") if attacked else None


ASPECTS: dict[str, Callable[[Record], Any]] = {
    "dataset": _dataset,
    "filters": _filters,
    "platform_users": _config("platform_users"),
    "split": _config("eval_args"),
    "candidates": _config("exposure_candidates"),
    "mask_history": _config("mask_history"),
    "eval_users": lambda record: record["config"].get("eval_users") or "all",
    "valid_metric": _config("valid_metric"),
    "evaluator": lambda record: record.get("evaluator", "unknown"),
    "targets": lambda record: {name: record["config"].get(name) for name in ("target_items", "target_seed")},
    "target_group": _config("target_group"),
    "knowledge": lambda record: sorted(_budget("knowledge")(record) or ()) or None,
    "malicious_share": _budget("malicious_share"),
    "malicious_clients": _budget("mode"),
    "gradient_scale": _budget("gradient_scale"),
    "norm_budget": _norm_budget,
    "claimed_interactions": _claims,
}
"""Protocol, aim, knowledge and budget of a record, by name; ``None`` says nothing and differs from nothing."""


def check_comparable(rows: Mapping[str, Iterable[Record]], may_differ: Collection[str] = ()) -> None:
    """Refuse rows whose numbers do not answer the same question.

    Args:
        rows: Row name -> the ``result.json`` of every seed.
        may_differ: Names of :data:`ASPECTS` in which rows may differ, because the table is about them.

    Raises:
        ConfigError: Names every aspect in which they differ, and what it is in which rows.
    """
    for name in may_differ:
        lookup(ASPECTS, name, "aspect that may differ")
    records = [(row, record) for row, seeds in rows.items() for record in seeds]
    found = {name: _by_value(records, of) for name, of in ASPECTS.items() if name not in may_differ}
    differing = {name: values for name, values in found.items() if len(values) > 1}
    if differing:
        words = "; ".join(f"{name}: {_listed(values)}" for name, values in differing.items())
        raise ConfigError(
            f"rows do not compare: expected one {', one '.join(differing)}, found {words}. Compare rows that are "
            f"alike, or let them differ on purpose: --may_differ {' '.join(differing)}"
        )


def check_victims(rows: Mapping[str, Sequence[Record]], may_differ: Collection[str] = ()) -> None:
    """:func:`check_comparable` for the rows of each victim on each dataset; different victims stand apart in tables."""
    victims: dict[tuple[str, str], dict[str, Sequence[Record]]] = {}
    for row, seeds in rows.items():
        victims.setdefault((seeds[0]["config"]["model"], seeds[0]["dataset"]["name"]), {})[row] = seeds
    for of_one in victims.values():
        check_comparable(of_one, may_differ)


def _by_value(records: Iterable[tuple[str, Record]], of: Callable[[Record], Any]) -> dict[str, list[str]]:
    """Value -> the rows that have it."""
    values: dict[str, list[str]] = {}
    for row, record in records:
        value = plain(of(record))
        if value is not None:
            named = values.setdefault(json.dumps(value, sort_keys=True), [])
            named += [row] if row not in named else []
    return values


def _listed(values: Mapping[str, list[str]]) -> str:
    apart = _apart([json.loads(value) for value in values])
    return ", ".join(
        f"{_short(json.dumps(value), 200)} ({_short(', '.join(rows), 200)})"
        for value, rows in zip(apart, values.values(), strict=True)
    )


def _apart(values: Sequence[Any]) -> list[Any]:
    """Values without what they all have in common, so that what differs is not cut off."""
    if all(isinstance(value, dict) for value in values):
        names = list(dict.fromkeys(key for value in values for key in value))
        parts = {name: [value.get(name) for value in values] for name in names}
        differing = {name: _apart(part) for name, part in parts.items() if any(one != part[0] for one in part)}
        return [{name: part[place] for name, part in differing.items()} for place in range(len(values))]
    if all(isinstance(value, list) for value in values):
        return [[one for one in value if not all(one in other for other in values)] for value in values]
    return list(values)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
