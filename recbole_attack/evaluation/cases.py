"""What is run for an evaluation: the rows of a grid, and which question each of them answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from recbole_attack.attack import ATTACKS, UPLOADS
from recbole_attack.benchmark import Row
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.reading import read_text, read_value
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, PRE_AGGREGATORS
from recbole_attack.evaluation.ensemble import Ensemble, Parameters, written
from recbole_attack.utils.errors import ConfigError, did_you_mean, lookup, shown

RECIPES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "aggregator": ("defense", AGGREGATORS),
    "pre_aggregator": ("pre_aggregator", PRE_AGGREGATORS),
    "client_defense": ("defense", CLIENT_DEFENSES),
}
"""Parts of a rule -> folder of their default parameters, and the table of those there are."""

SERVER = ("per_item", "client_weighting", "learner", "learning_rate", "lr_decay_step", "lr_decay_gamma")
"""What a rule may set besides its parts: how the server weighs clients, and how it steps."""

SETTING = ("model", "dataset", "data_path", "use_gpu", "gpu_id")
"""What may be said besides the rule: whom it is tried on, and where."""

MEAN, CLEAN = "mean, no attack", "no attack"
"""Names of the rows without an attack: what accuracy costs are held against, and the rule's own."""


class Case(NamedTuple):
    """One attack at one budget on one target.

    Attributes:
        board: Name of the board.
        ratio: Malicious clients as a share of all.
        attack: Name of the attack.
        target: Its selector.
    """

    board: str
    ratio: float
    attack: str
    target: str

    @property
    def row(self) -> str:
        """Name of its row."""
        return f"{self.board}, {written(self.ratio)}, {self.attack}, {self.target}"


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a rule, or an attack under a rule.

    Attributes:
        rule: Parameters that differ from the victim's, ``aggregator`` among them.
        setting: Those of :data:`SETTING` that were given.
        attack: Parameters of an attack that is tried in place of the ensemble's; empty for a rule.
    """

    rule: Parameters
    setting: Parameters
    attack: Parameters

    @property
    def kind(self) -> str:
        """``rule`` or ``attack``."""
        return "attack" if self.attack else "rule"

    @property
    def name(self) -> str:
        """In words: the recipe's name and what is given beside it."""
        rule = words(self.rule, self.rule["aggregator"], "aggregator")
        return f"{words(self.attack, self.attack['attack'], 'attack')} under {rule}" if self.attack else rule

    @property
    def slug(self) -> str:
        """The same as part of a file name, with the dataset where one was given."""
        given = [str(self.setting[key]) for key in ("model", "dataset") if key in self.setting]
        return re.sub(r"[^\w.]+", "-", " ".join([self.name, *given])).strip("-")


def words(parameters: Mapping[str, Any], name: str, besides: str) -> str:
    """A recipe with what is given beside it, such as ``median, per_item True``."""
    return ", ".join([name, *(f"{key} {value}" for key, value in parameters.items() if key != besides)])


def read_subject(given: Mapping[str, Any]) -> Subject:
    """What is evaluated, from parameters as a user gives them.

    Args:
        given: Parameter -> value, or the text that spells it.

    Raises:
        ConfigError: A parameter is no part of a rule, of an attack that is given, or of :data:`SETTING`.
    """
    values = {key: _read(key, value) for key, value in given.items()}
    chosen = {"aggregator": "mean", **values}
    own: dict[str, Any] = {}
    for kind, (folder, table) in RECIPES.items():
        if kind in chosen:
            lookup(table, chosen[kind], kind)
            own |= load_defaults(f"{folder}/{chosen[kind]}")
    attack = _attack_parameters(values)
    known = [*RECIPES, *SERVER, *own, *SETTING, *attack]
    for key in values:
        if key not in known:
            near = did_you_mean(key, known)
            raise ConfigError(
                f"an evaluation fixes all but the rule: expected one of {', '.join(known)}, found {shown(key)}{near}"
            )
    return Subject(
        rule={key: chosen[key] for key in (*RECIPES, *SERVER, *own) if key in chosen},
        setting={key: values[key] for key in SETTING if key in values},
        attack={key: values[key] for key in attack if key in values},
    )


def _attack_parameters(values: Mapping[str, Any]) -> list[str]:
    if "attack" not in values:
        return []
    lookup({name: part for name, part in ATTACKS.items() if name != "none"}, values["attack"], "attack")
    upload = values.get("upload", "computed")
    lookup(UPLOADS, upload, "upload")
    return ["attack", "upload", *load_defaults(f"attack/{values['attack']}"), *load_defaults(f"upload/{upload}")]


def _read(key: str, value: Any) -> Any:
    return read_value(key, read_text(key, value) if isinstance(value, str) else value)


def cases_of(ensemble: Ensemble, subject: Subject) -> list[Case]:
    """All cases, by board, budget, attack and target."""
    return [
        Case(name, ratio, attack, target)
        for name, board in ensemble.boards.items()
        for ratio in board.malicious_ratio
        for attack in attacks_of(ensemble, subject)
        for target in board.targets
    ]


def attacks_of(ensemble: Ensemble, subject: Subject) -> dict[str, Parameters]:
    """Name -> parameters of the attacks that are tried."""
    return {subject.attack["attack"]: subject.attack} if subject.attack else ensemble.attacks


def rows_of(ensemble: Ensemble, subject: Subject, plugins: Any = None) -> list[Row]:
    """The rows of the evaluation's grid, those without an attack first.

    Args:
        ensemble: What is tried.
        subject: On what.
        plugins: Modules of parts from outside.

    Raises:
        ConfigError: A part from outside has a parameter of the evaluation for its own, whose default would change it.
    """
    shared = {**ensemble.victim, **subject.setting, "compare_clean": False}
    shared |= {"plugins": plugins} if plugins else {}
    attacks = attacks_of(ensemble, subject)
    clean = {"attack": "none", "target_items": ensemble.clean_targets}
    mean = {**shared, **clean, "aggregator": "mean"}
    _check_own(subject, mean, attacks)
    rows = [Row(MEAN, mean, ensemble.seeds), Row(CLEAN, {**shared, **subject.rule, **clean}, ensemble.seeds)]
    for case in cases_of(ensemble, subject):
        budget = {"malicious_ratio": case.ratio, "norm_budget": ensemble.boards[case.board].norm_budget}
        attacked = {**shared, **subject.rule, **attacks[case.attack], **budget, "target_items": case.target}
        rows.append(Row(case.row, attacked, ensemble.seeds_of(case.board, case.target)))
    return rows


def _check_own(subject: Subject, mean: Parameters, attacks: Mapping[str, Parameters]) -> None:
    """That no row gives a part from outside another value of its own parameter than the part has."""
    folders = {**{kind: folder for kind, (folder, _) in RECIPES.items()}, "attack": "attack"}
    chosen = {**subject.rule, **subject.attack}
    files = {kind: f"{folder}/{chosen[kind]}" for kind, folder in folders.items() if kind in chosen}
    foreign = {kind: load_defaults(file) for kind, file in files.items() if file in REGISTERED}
    if not foreign:
        return
    fixed = AttackConfig(config_dict=mean).final_config_dict
    of_rule = {key for kind, file in files.items() if kind != "attack" for key in load_defaults(file)}
    of_attacks = {key for of in attacks.values() for key in (*of, *load_defaults(f"attack/{of['attack']}"))}
    for kind, own in foreign.items():
        beside = of_rule if kind == "attack" else of_attacks
        taken = [key for key in own if key in fixed or key in beside]
        if taken:
            raise ConfigError(
                f"{kind} '{chosen[kind]}' has a parameter that an evaluation fixes: expected names of its own, "
                f"found {', '.join(taken)}"
            )
