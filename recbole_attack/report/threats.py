"""What an attacker knows, controls and may do, and what all rows of a report share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recbole_attack.report.cells import Cells, Row, estimate
from recbole_attack.report.numbers import rounded
from recbole_attack.report.settings import Record
from recbole_attack.report.words import clients_asked, fake_users, of_all, rule, sampled_users, selected
from recbole_attack.utils.words import counted

TERMS = ("knows", "controls", "promotes", "budget", "weight share, %", "norm ratio")
"""What a threat card says, in its order."""


def threat(row: Row) -> dict[str, str]:
    """A row's threat card: :data:`TERMS` -> words; a dash for what was not recorded or does not apply."""
    record = of_all(row.records)
    budget, config = record["budget"], record["config"]
    values = (
        _knows(budget),
        _controls(budget),
        _promotes(budget, config),
        _limits(budget, config),
        _upload(row.records, "malicious_weight", 100),
        _upload(row.records, "norm_ratio", 1),
    )
    return dict(zip(TERMS, (value or "-" for value in values), strict=True))


def _knows(budget: Mapping[str, Any]) -> str:
    level = budget.get("knowledge_level")
    return (f"{level}: " if level else "") + "; ".join(map(str, budget.get("knowledge", ())))


def _controls(budget: Mapping[str, Any]) -> str:
    if "fake_users" in budget:
        return f"{fake_users(budget)} in the training log"
    if "malicious_clients" not in budget:
        return "the model that the provider ships" if "stages" in budget else ""
    count = budget["malicious_clients"]
    verb = {"clone": "cloned", "compromise": "compromised"}.get(budget["mode"], budget["mode"])
    return (
        f"{counted(count, 'malicious client')} ({rounded(100 * budget['malicious_share'])} % of the "
        f"users, {verb}) with {budget['malicious_interactions']} interactions"
    )


def _promotes(budget: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    items = budget["target_items"]
    what = f"item {items[0]}" if len(items) == 1 and items[0] else counted(len(items), "item")
    group = budget.get("target_group")
    return f"{what} ({selected(config['target_items'])})" + (f" to users {group}" if group else "")


def _limits(budget: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """How loud uploads may be, and how much they may ask to count."""
    if "malicious_clients" not in budget:
        return ""
    scale, quantile = budget.get("gradient_scale", 1), budget.get("norm_budget")
    upload = config.get("upload", "computed")
    uploads = "uploads" if upload == "computed" else f"{upload} uploads"
    times = f"{uploads} times {rounded(scale)}" if scale != 1 else uploads + " as computed" * (upload == "computed")
    limit = "of any length" if quantile is None else f"no longer than the {rounded(quantile)} quantile of honest ones"
    claim = budget.get("claimed_interactions")
    lie = f", claiming as much data as any honest client of the {claim}" if claim else ""
    return f"{times}, {limit}{lie}"


def _upload(records: Iterable[Record], key: str, scale: float) -> str:
    """Mean over seeds of what was measured of uploads."""
    found = estimate((record.get("attacked") or {}).get("uploads", {}).get(key) for record in _with_uploads(records))
    return rounded(scale * found.mean, 3) if found else ""


def _with_uploads(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if (record.get("attacked") or {}).get("uploads")]


def _data(record: Record) -> str:
    data = record["dataset"]
    return f"{data['name']}: {data['users']} users, {data['items']} items, {data['interactions']} interactions"


def _ranking(record: Record) -> str:
    candidates = record["config"]["exposure_candidates"]
    ranked = "all items" if candidates == "full" else f"{candidates} sampled items"
    masked = "masked" if record["config"]["mask_history"] else "not masked"
    return f"{ranked}, history {masked}{sampled_users(record)}"


def _training(record: Record) -> str:
    config = record["config"]
    if config["scenario"] == "pretrain":
        return f"pre-trained, platform users {config['platform_users']}, platform {config['platform']}"
    clients = f", {clients_asked(record)}" if config["scenario"] == "federated" else ""
    optimiser = f"{config['learner']} {config['learning_rate']:g}"
    return f"{config['scenario']}{clients}, {counted(config['epochs'], 'epoch')}, {optimiser}"


def _of(key: str, scenario: str | None = None) -> Callable[[Record], str | None]:
    """A parameter, where its scenario has it."""

    def fact(record: Record) -> str | None:
        config = record["config"]
        value = config.get(key) if scenario in (None, config["scenario"]) else None
        return None if value is None else str(value)

    return fact


FACTS: Mapping[str, Callable[[Record], str | None]] = {
    "data": _data,
    "victim": _of("model"),
    "training": _training,
    "rule": lambda record: rule(record) if record["config"]["scenario"] == "federated" else None,
    "ranking": _ranking,
    "targets": _of("target_items"),
    "attack": _of("attack"),
    "malicious clients": _of("malicious_clients", "federated"),
}


def same_facts(records: Iterable[Record]) -> dict[str, str]:
    """The facts in which records are alike, as far as they apply to them."""
    several = list(records)
    found = {term: {fact(record) for record in several} - {None} for term, fact in FACTS.items()}
    return {term: str(*values) for term, values in found.items() if len(values) == 1}


def shared_facts(cells: Cells) -> dict[str, str]:
    """What is the same in all rows, in the words of a header, with their seeds."""
    seeds = {tuple(record["seed"] for record in row.records) for row in cells.rows}
    counts = sorted(map(len, seeds))
    several = f"{counts[0]} to {counts[-1]} a row" if counts[0] != counts[-1] else f"{counts[0]} a row"
    each = ", ".join(map(str, *seeds)) if len(seeds) == 1 else several
    purpose = {"rows differ on purpose in": ", ".join(cells.may_differ)} if cells.may_differ else {}
    return {**same_facts(record for row in cells.rows for record in row.records), "seeds": each, **purpose}
