"""What stands behind a part besides its own description, and what the part knows or asks for."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from recbole_attack.attack import LEVELS, UPLOADS
from recbole_attack.config import AttackConfig
from recbole_attack.config.knowledge import known_to
from recbole_attack.defense import AGGREGATORS, PRE_AGGREGATORS, Aggregator
from recbole_attack.model import HOSTS, RECBOLE_MODELS, base_name, find_model

_GAP = re.compile(r"\n{3,}")
_PAPER = re.compile(r"Reference:\s*(.+?)\s*(?:\n\s*\n|\nReference|\Z)", re.DOTALL)
"""The first paper at the head of a module of RecBole's."""


def behind_rule(name: str) -> list[Any]:
    """The functions an aggregator's recipe wires, with which its formula and example stand."""
    rule = _aggregator(name)
    return [
        _wired(part)
        for part in (*rule.mixes, rule.quota or rule.bank or rule.support or rule.judge or rule.weigh or rule.combine)
    ]


def behind_mixing(name: str) -> list[Any]:
    """The function of a pre-aggregator, if it has one."""
    rule = PRE_AGGREGATORS[name](_config(pre_aggregator=name))
    return [_wired(rule)] if rule else []


def behind_upload(name: str) -> list[Any]:
    """The class of what is uploaded, if anything but the updates is."""
    upload = UPLOADS[name](_config(upload=name))
    return [type(upload)] if upload else []


def behind_model(name: str) -> list[str]:
    """What RecBole says of its model, or of the one a victim is made of, and the paper it names."""
    host = RECBOLE_MODELS.get(name) or HOSTS.get(base_name(find_model(name)))
    if host is None:
        return []
    words = _GAP.sub("\n\n", inspect.cleandoc(host.__doc__ or ""))
    paper = _PAPER.search(sys.modules[host.__module__].__doc__ or "")
    return [
        *([f"RecBole says: {words}"] if words else []),
        *([f"Paper, as RecBole names it: {' '.join(paper[1].split())}"] if paper else []),
    ]


BEHIND: dict[str, Callable[[str], list[Any]]] = {
    "aggregator": behind_rule,
    "pre_aggregator": behind_mixing,
    "upload": behind_upload,
    "model": behind_model,
    "baseline": behind_model,
}
"""Kind of part -> ``name -> `` what describes it besides its own docstring: objects with docstrings, or texts."""


USES = {
    "scenario": "--scenario={}",
    "model": "--model={}",
    "baseline": "--scenario=recbole --model={}",
    "attack": "--attack={}",
    "upload": "--upload={}",
    "backdoor": "--scenario=pretrain --attack={}",
    "profile": "--scenario=recbole --attack={}",
    "platform": "--scenario=pretrain --platform={}",
    "aggregator": "--aggregator={}",
    "pre_aggregator": "--pre_aggregator={}, before most rules (docs/parts.md)",
    "client_defense": "--client_defense={}",
    "client_detector": "--client_detectors='{{{}: <the score it flags from>}}'",
    "detector": "in scenario pretrain, as all are; recbole_attack inspect <file> --detector={} decides by this one",
    "selector": "--target_items={}:<count>",
    "metric": "--metrics='[{}, ...]'",
    "conversion": "recbole_attack convert {} <folder of these files> <folder of the dataset>",
}
"""Kind of part -> how one is chosen, with ``{}`` for its name."""


def needs_of_attack(name: str) -> list[str]:
    """What an attack of clients has to know."""
    level, known = known_to(name)
    return [f"knows, besides its own clients{f' ({level})' if level else ''}: {', '.join(known)}"] if known else []


def needs_of_upload(name: str) -> list[str]:
    """What has to be known besides what the attack has to know."""
    upload = UPLOADS[name](_config(upload=name))
    levels = {what: level for level, what in LEVELS.items()}
    return [f"knows, too ({levels.get(what, 'no level')}): {what}" for what in upload.knowledge] if upload else []


def needs_of_rule(name: str) -> list[str]:
    """What a rule is applied to, and what it takes clients' word for."""
    rule = _aggregator(name)
    return [
        "whole updates only" if rule.whole_only else "whole updates, or item by item with --per_item=True",
        "clients count by the weight they claim (--client_weighting)" if rule.weighted else "every client counts once",
        "takes any values: an update that is not finite ends the run"
        if rule.linear
        else "leaves out updates that are not finite or too large",
    ]


def needs_of_mixing(name: str) -> list[str]:
    """What becomes of the rule that follows."""
    rule = PRE_AGGREGATORS[name](_config(pre_aggregator=name))
    return ["the rule that follows leaves out updates that are not finite or too large"] if rule else []


def needs_of_client_detector(name: str) -> list[str]:
    """What it has to see."""
    return ["the server sees the updates of single clients, so there is no secure aggregation"]


NEEDS: dict[str, Callable[[str], list[str]]] = {
    "attack": needs_of_attack,
    "upload": needs_of_upload,
    "aggregator": needs_of_rule,
    "pre_aggregator": needs_of_mixing,
    "client_detector": needs_of_client_detector,
    "backdoor": lambda name: [] if name == "none" else ["knows: histories and attributes of the provider's users"],
    "detector": lambda name: ["a model of the platform's own, to compare the given one with"],
}
"""Kind of part -> ``name -> `` what it knows or asks for, a line each."""


def _aggregator(name: str) -> Aggregator:
    return AGGREGATORS[name](_config(aggregator=name))


def _config(**chosen: Any) -> dict[str, Any]:
    return AttackConfig(config_dict=chosen).final_config_dict


def _wired(rule: Any) -> Any:
    """The function that is wired with parameters, or the class of a value that is."""
    while isinstance(rule, partial):
        rule = rule.func
    return rule if inspect.isroutine(rule) or inspect.isclass(rule) else type(rule)
