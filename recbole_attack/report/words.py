"""Results in words, and what pictures are drawn from; nothing is computed here that ``result.json`` does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

from recbole_attack.report.numbers import percent, rounded
from recbole_attack.report.pictures import Panel
from recbole_attack.utils.words import counted, printable

ARMS = ("local", "clean", "attacked")
"""The arms a run can have, in the order they are shown."""


def sought(record: Mapping[str, Any]) -> str:
    """What detectors look for in a record's scenario."""
    return "promoted items" if record["config"]["scenario"] == "pretrain" else "malicious clients"


def caption(record: Mapping[str, Any]) -> str:
    """One sentence that says what was run.

    Args:
        record: The content of ``result.json``.
    """
    config, budget, data = record["config"], record["budget"], record["dataset"]
    targets = budget["target_items"]
    promoted = f"target item {targets[0]}" if len(targets) == 1 and targets[0] else counted(len(targets), "target item")
    candidates = config["exposure_candidates"]
    ranking = "full ranking" if candidates == "full" else f"{candidates} sampled candidates"
    parts = [
        f"{config['model']} on {data['name']} ({data['users']} users, {data['items']} items)",
        _TRAINING[config["scenario"]](record, _epochs(record)),
        ranking + (", history masked" if config["mask_history"] else ", history not masked") + sampled_users(record),
        f"{promoted} ({selected(config['target_items'])})",
    ]
    if config["attack"] != "none":
        parts.append(", ".join([f"attack {config['attack']}" + _attackers(budget), *_uploads(config)]))
    return printable("; ".join([*parts, f"seed {config['seed']}"]))


def of_all(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of some seeds' records, with what they differ in as a range; targets that differ have no name."""
    first, budgets = records[0], [record["budget"] for record in records]
    counts = [key for key in ("malicious_interactions", "fake_interactions") if key in first["budget"]]
    merged = {**first["budget"], **{key: _range([budget[key] for budget in budgets]) for key in counts}}
    if any(budget["target_items"] != first["budget"]["target_items"] for budget in budgets):
        merged["target_items"] = [None] * len(first["budget"]["target_items"])
    return {**first, "budget": merged}


def _range(counts: Sequence[int]) -> int | str:
    return f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else counts[0]


def rule(record: Mapping[str, Any]) -> str:
    """How the server combines updates, with what is special about it."""
    config = record["config"]
    before = config.get("pre_aggregator", "none")
    special = [f"after {before}"] * (before != "none") + ["per item"] * bool(config.get("per_item"))
    return " ".join([config["aggregator"], *special])


def _uploads(config: Mapping[str, Any]) -> list[str]:
    """What malicious clients make of their updates, where they do not upload them as computed."""
    if config["scenario"] != "federated":
        return []
    usual = {"upload": "computed", "gradient_scale": 1, "norm_budget": None, "claimed_interactions": None}
    return [f"{key} {config[key]}" for key, value in usual.items() if config.get(key, value) != value]


def sampled_users(record: Mapping[str, Any]) -> str:
    """That not all users are evaluated, to go behind another fact; empty if they are."""
    number, data, budget = record["config"].get("eval_users"), record["dataset"], record["budget"]
    turned = budget["malicious_clients"] if budget.get("mode") == "compromise" else 0
    some = number is not None and number < data.get("test_users", data["users"]) - turned
    return f", on {counted(number, 'user')} drawn at random" if some else ""


def clients_asked(record: Mapping[str, Any]) -> str:
    """How many clients make a round, and how many rounds an epoch where that is not what asks all of them once."""
    config = record["config"]
    clients = f"{counted(min(config['clients_per_round'], record['dataset']['users']), 'client')} a round"
    rounds = config.get("rounds_per_epoch")
    return clients if rounds is None else f"{clients}, {counted(rounds, 'round')} an epoch"


def selected(targets: Any) -> str:
    """``target_items`` as it is written on a command line."""
    return targets if isinstance(targets, str) else ", ".join(map(str, targets))


def fake_users(budget: Mapping[str, Any]) -> str:
    """How many fake users there are in the log, and what they did in it."""
    share = f"{rounded(100 * budget['malicious_share'])} % of the users"
    return f"{counted(budget['fake_users'], 'fake user')} ({share}) with {budget['fake_interactions']} interactions"


def _attackers(budget: Mapping[str, Any]) -> str:
    if "fake_users" in budget:
        return f": {fake_users(budget)}"
    if "malicious_clients" not in budget:
        return f" for users {budget['target_group']}"
    verb = {"clone": "cloned", "compromise": "compromised"}[budget["mode"]]
    share = f"{rounded(100 * budget['malicious_share'])} %"
    count = budget["malicious_clients"]
    return f": {counted(count, 'malicious client')} ({share}, {verb})"


def details(record: Mapping[str, Any]) -> str:
    """How the tested models came about: epochs, and how loud the attack was and how high it got on the way.

    Epochs count from 0, as in RecBole's log. Of pre-trained models, which are tested as their last stage ends, how many
    items were repaired; empty where none could be.

    Args:
        record: The content of ``result.json``.
    """
    if record["config"]["scenario"] == "pretrain":
        return _repaired(record)
    epochs = [
        f"{name} {record[name]['tested_epoch']}"
        for name in ARMS
        if record.get(name) and record[name]["test_result"] and record[name].get("tested_epoch") is not None
    ]
    parts = [f"tested after epoch: {', '.join(epochs)}"] if epochs else []
    uploads = (record.get("attacked") or {}).get("uploads") or {}
    if uploads.get("malicious_weight") is not None:
        parts.append(f"malicious clients have {rounded(100 * uploads['malicious_weight'])} % of the weight")
    if uploads.get("norm_ratio") is not None:
        parts.append(f"their updates are {rounded(uploads['norm_ratio'])} times as long as honest ones")
    course = exposure_course(record, f"er@{nearest(record['config']['topk'])}")
    if course:
        parts.append(
            f"{course.metric} while training: {percent(course.peak)} % at most (epoch {course.epoch}), "
            f"{percent(course.last)} % at last"
        )
    return "; ".join(parts)


def _repaired(record: Mapping[str, Any]) -> str:
    """How many items were flagged and trained anew, of each model that was repaired."""
    before = {name: (record.get(name) or {}).get("shipped") for name in ARMS}
    parts = [
        f"{name} {counted(shipped['flagged'], 'item')}, {shipped['flagged_targets']} of them promoted"
        for name, shipped in before.items()
        if shipped
    ]
    return f"trained anew: {'; '.join(parts)}" if parts else ""


class Course(NamedTuple):
    """Exposure over the epochs of the attacked model, on the data that were evaluated while it trained.

    Attributes:
        metric: What was measured.
        peak: Its highest value.
        epoch: The first epoch it had that value, from 0.
        last: Its value at the last evaluated epoch.
    """

    metric: str
    peak: float
    epoch: int
    last: float


def exposure_course(record: Mapping[str, Any], metric: str = "er@10") -> Course | None:
    """The course of a metric over the attacked arm's history; ``None`` where it was not measured or is undefined.

    Args:
        record: The content of ``result.json``.
        metric: Name of the metric.
    """
    measured = [(e["epoch"], e.get(metric)) for e in record["history"].get("attacked", ())]
    points = [(epoch, value) for epoch, value in measured if value is not None and not isnan(value)]
    if not points:
        return None
    epoch, peak = max(points, key=lambda point: point[1])
    return Course(metric, peak, epoch, points[-1][1])


def _epochs(record: Mapping[str, Any]) -> int:
    """How many epochs were asked for; one where RecBole trains a model without any, such as Pop."""
    epochs = int(record["config"]["epochs"])
    recbole = record["config"]["scenario"] == "recbole"
    return min(epochs, *map(len, record["history"].values())) if recbole and record["history"] else epochs


def _pretrained(record: Mapping[str, Any], epochs: int) -> str:
    config = record["config"]
    repair = config.get("repair", "none")
    repaired = "" if repair == "none" or config["platform"] == "local" else f", items flagged by {repair} trained anew"
    return f"pre-trained, platform users {config['platform_users']}, platform {config['platform']}{repaired}"


def _central(record: Mapping[str, Any], epochs: int) -> str:
    return f"central, {_optimiser(record['config'], epochs)}"


def _federated(record: Mapping[str, Any], epochs: int) -> str:
    config = record["config"]
    return f"federated, {clients_asked(record)}, server {_optimiser(config, epochs)}, {rule(record)}"


def _recbole(record: Mapping[str, Any], epochs: int) -> str:
    config = record["config"]
    return f"RecBole's own trainer, {_optimiser(config, config['epochs']) if epochs > 1 else 'one epoch'}"


_TRAINING = {"pretrain": _pretrained, "central": _central, "federated": _federated, "recbole": _recbole}


def _optimiser(config: Mapping[str, Any], epochs: int) -> str:
    return f"{config['learner']} {config['learning_rate']:g}, {counted(epochs, 'epoch')}"


def nearest(cut_offs: Sequence[int], k: int = 10) -> int:
    """The cut-off nearest to ``k``, the smaller one of two."""
    return min(cut_offs, key=lambda cut_off: (abs(cut_off - k), cut_off))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown has it."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def history_panels(record: Mapping[str, Any], k: int = 10) -> list[Panel]:
    """Exposure and accuracy over epochs, a line for each arm; none without an epoch whose accuracy was measured.

    Args:
        record: The content of ``result.json``.
        k: Cut-off; the measured one nearest to it.
    """
    history = record["history"]
    measured = {key for epochs in history.values() for e in epochs for key in e}
    cutoffs = sorted(int(key.split("@")[1]) for key in measured if key.startswith("hit@"))
    if not cutoffs:
        return []
    k = nearest(cutoffs, k)
    titles = {f"er@{k}": "exposure of the target items", f"hit@{k}": "accuracy for honest users"}
    return [
        Panel(title, metric, {arm: _points(epochs, metric) for arm, epochs in history.items()})
        for metric, title in titles.items()
        if metric in measured
    ]


def _points(epochs: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[float, float]]:
    return [(e["epoch"], e[metric]) for e in epochs if metric in e]
