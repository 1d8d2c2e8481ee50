"""What there is to choose from: every table of parts by name."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any, NamedTuple

from recbole.evaluator import metrics as metrics_of_recbole
from recbole.evaluator.register import metrics_dict

from recbole_attack.attack import ATTACKS, BACKDOORS, LEVELS, PROFILES, UPLOADS
from recbole_attack.commands.references import described
from recbole_attack.config.knowledge import knowledge_levels
from recbole_attack.config.options import SCENARIOS
from recbole_attack.data import SELECTORS
from recbole_attack.data.convert import CONVERSIONS
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, CLIENT_DETECTORS, DETECTORS, PRE_AGGREGATORS
from recbole_attack.evaluator import EXPOSURE_METRICS, register_metrics
from recbole_attack.model import MODELS, RECBOLE_MODELS
from recbole_attack.stages import PLATFORMS


class Section(NamedTuple):
    """One kind of part.

    Attributes:
        title: What ``list`` calls all of them.
        table: Name -> the part, which has a docstring, or its description.
        folder: Where the default parameters of each are, if they have any.
        brief: ``list`` shows the names alone.
        note: What ``list`` adds.
    """

    title: str
    table: Mapping[str, Any]
    folder: str = ""
    brief: bool = False
    note: str = ""


def sections() -> dict[str, Section]:
    """Kind -> its parts as they are now, registered ones among them, in the order ``list`` shows them."""
    raw = {name: dict.fromkeys(table.raw for table in tables) for name, tables in CONVERSIONS.items()}
    return {
        "scenario": Section("scenarios", SCENARIOS, "scenario"),
        "model": Section("models", MODELS, "model"),
        "baseline": Section("models of RecBole's for scenario recbole", _baselines(), "baseline", brief=True),
        "attack": Section("attacks", ATTACKS, "attack", note=_levels()),
        "upload": Section("what malicious clients upload", UPLOADS, "upload"),
        "backdoor": Section("attacks by the provider of a pre-trained model", BACKDOORS, "attack"),
        "profile": Section("profiles of fake users, attacks in scenario recbole", PROFILES, "profile"),
        "platform": Section("platforms", PLATFORMS),
        "aggregator": Section("aggregators", AGGREGATORS, "defense"),
        "pre_aggregator": Section("pre-aggregators", PRE_AGGREGATORS, "pre_aggregator"),
        "client_defense": Section("client defenses", CLIENT_DEFENSES, "defense"),
        "client_detector": Section("detectors of malicious clients", CLIENT_DETECTORS),
        "detector": Section("detectors of promoted items", DETECTORS, "detector"),
        "selector": Section("target selectors (name:count)", SELECTORS),
        "metric": Section("metrics, besides RecBole's", own_metrics()),
        "conversion": Section(
            "datasets that convert reads as they are published",
            {name: f"from {', '.join(files)}" for name, files in raw.items()},
        ),
    }


def _levels() -> str:
    levels = "; ".join(f"{level}, {what}" for level, what in LEVELS.items())
    return f"What has to be known besides the attacker's own clients, each level with those before it: {levels}."


def _baselines() -> dict[str, str]:
    return {
        name: f"RecBole's {name}, one of its {model.type.name.lower()} models."
        for name, model in RECBOLE_MODELS.items()
    }


def own_metrics() -> dict[str, Any]:
    """This package's metrics and registered ones, by name."""
    register_metrics()
    known = {name.lower() for name in EXPOSURE_METRICS}
    registered = {
        name: metric
        for name, metric in metrics_dict.items()
        if name not in known and metric.__module__ != metrics_of_recbole.__name__
    }
    return {**EXPOSURE_METRICS, **registered}


def descriptions() -> dict[str, dict[str, str]]:
    """Kind -> name -> one line; of an attack of clients, with the level of what it has to know."""
    found = {
        kind: {name: first_line(part) for name, part in section.table.items()} for kind, section in sections().items()
    }
    levels = {name: f" ({level})" for name, level in knowledge_levels().items() if level}
    return {**found, "attack": {name: line + levels.get(name, "") for name, line in found["attack"].items()}}


def listing() -> str:
    """The text of ``list``."""
    found = sections()
    return "\n\n".join(_section(found[kind], lines) for kind, lines in descriptions().items())


def _section(section: Section, described: Mapping[str, str]) -> str:
    names = _names(described) if section.brief else _lines(described)
    return "\n".join([section.title, names, *([_wrapped(section.note)] if section.note else [])])


def _lines(described: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:<21} {text}" for name, text in described.items())


def _names(described: Mapping[str, str]) -> str:
    return _wrapped(", ".join(sorted(described)))


def _wrapped(text: str) -> str:
    return fill(text, 118, initial_indent="  ", subsequent_indent="  ")


def first_line(part: Any) -> str:
    """The first line of a part's description."""
    return next(iter(described(part).splitlines()), "")
