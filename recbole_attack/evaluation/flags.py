"""What keeps a figure from meaning what it seems to mean, and what a rule asks for that others do not.

Flags of the first kind block a place on the board: behind a low exposure stands something else than robustness, or
nothing was tried. Flags of the second kind are settings: the figures are what they are, and the board shows beside them
under which conditions the rule can be had at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any, NamedTuple

from recbole_attack.config import AttackConfig
from recbole_attack.defense import NEEDS
from recbole_attack.evaluation.cases import CLEAN, Subject, rows_of
from recbole_attack.evaluation.ensemble import Ensemble
from recbole_attack.evaluation.presence import Presence, presence
from recbole_attack.evaluation.probe import Nature, nature
from recbole_attack.report.numbers import percent

Figures = Mapping[str, Any]


class Flag(NamedTuple):
    """A kind of flag.

    Attributes:
        blocks: Whether it blocks a place on the board.
        meaning: What it says, in a few words.
    """

    blocks: bool
    meaning: str


FLAGS = {
    "random": Flag(True, "the rule draws numbers: attacks were not tried on all it may do"),
    "order": Flag(True, "the rule goes by the order of clients, in which malicious ones come last"),
    "weak victim": Flag(True, "the model has learned too little to show anything to many"),
    "masked": Flag(True, "false data alone did more than gradients: something hides the way, and nothing defends"),
    "starved": Flag(True, "rows of rare items hardly train, so nobody can promote them"),
    "never asked": Flag(True, "no malicious client was asked in any round"),
    "no honest majority": Flag(True, "more malicious than honest clients decide a target's row: no rule can tell"),
    "does not say": Flag(True, "a rule from outside that does not say what it needs"),
    "not measured": Flag(True, "the store lacks what a flag is raised by"),
    "knows attackers": Flag(False, "it is told how many clients are malicious"),
    "server data": Flag(False, "it needs data of the server's own"),
    "identities": Flag(False, "it remembers clients over rounds"),
    "sees updates": Flag(False, "it breaks secure aggregation: the server sees single updates"),
    "changes clients": Flag(False, "honest clients train otherwise"),
}
"""Flag -> whether it blocks, and what it says."""

_NEEDED = {"attackers": "knows attackers", "server_data": "server data", "identities": "identities"}


def flags(ensemble: Ensemble, subject: Subject, found: Figures, plugins: Any = None) -> dict[str, str]:
    """The flags of what was evaluated, each with its reason, in the order of :data:`FLAGS`.

    Args:
        ensemble: What was tried.
        subject: On what.
        found: See :func:`~recbole_attack.evaluation.score.figures`.
        plugins: As for :func:`~recbole_attack.evaluation.cases.rows_of`.
    """
    parameters = _parameters(ensemble, subject, plugins)
    rule = _nature(parameters)
    raised = {
        **rule_flags(rule),
        **accuracy_flags(found, ensemble, f"{parameters['model']} on {parameters['dataset']}"),
        **masked_flag(found["boards"], ensemble),
        **presence_flags(_presences(ensemble, parameters, rule.per_item), ensemble),
    }
    return {name: raised[name] for name in FLAGS if name in raised}


def nature_of(ensemble: Ensemble, subject: Subject, plugins: Any = None) -> Nature:
    """What the rule of an evaluation is; arguments as for :func:`flags`."""
    return _nature(_parameters(ensemble, subject, plugins))


def _nature(parameters: Mapping[str, Any]) -> Nature:
    return nature(AttackConfig(config_dict=parameters).final_config_dict)


def _parameters(ensemble: Ensemble, subject: Subject, plugins: Any) -> Mapping[str, Any]:
    """Of the row without an attack."""
    return next(row.parameters for row in rows_of(ensemble, subject, plugins) if row.name == CLEAN)


def rule_flags(rule: Nature) -> dict[str, str]:
    """What follows from the rule itself."""
    raised = {}
    if rule.random:
        raised["random"] = "the same updates gave another result with other draws"
    if rule.by_order:
        raised["order"] = "the same updates gave another result in another order; Aggregator(ties=True) draws one"
    if rule.needs is None:
        raised["does not say"] = f"expected Aggregator(needs=...): of {', '.join(NEEDS)}, or an empty set of them"
    raised |= {_NEEDED[need]: f"it says that it needs {NEEDS[need]}" for need in rule.needs or ()}
    if rule.assumed:
        raised["knows attackers"] = ", ".join(f"{key} {value}" for key, value in rule.assumed.items())
    if rule.sees_updates:
        raised["sees updates"] = "its result is no sum of what clients send"
    if rule.changes_clients:
        raised["changes clients"] = "there is a client_defense"
    return raised


def accuracy_flags(found: Figures, ensemble: Ensemble, victim: str) -> dict[str, str]:
    """What follows from the models without an attack.

    Args:
        found: See :func:`flags`.
        ensemble: Its thresholds and references.
        victim: ``<model> on <dataset>``.
    """
    raised, limits = {}, ensemble.thresholds
    mean, clean = found["mean"], found["clean"]
    reference = max(mean["hit@10"], ensemble.references.get(victim, 0.0))
    if clean["hit@10"] < limits["weak_below"] * reference:
        raised["weak victim"] = (
            f"hit@10 is {percent(clean['hit@10'])} % of users where {percent(reference)} are reached"
        )
    tail, head = clean["tail moved"], clean["head moved"]
    if tail is None or head is None:
        raised["not measured"] = "how far rows of tail items move: arms are of an older version; use another store"
    elif tail <= limits["starved_below"] * head:
        raised["starved"] = f"rows of tail items move {tail:.3g} in the mean, those of the others {head:.3g}"
    return raised


def masked_flag(boards: Mapping[str, Any], ensemble: Ensemble) -> dict[str, str]:
    """Whether false data alone did more than all other attacks, at one budget at least."""
    for board, of in boards.items():
        for ratio, budget in of["budgets"].items():
            kinds: dict[bool, list[float]] = {True: [], False: []}
            for attack, exposure in budget["attacks"].items():
                kinds[attack in ensemble.data_only].append(exposure)
            data, others = (max(values, default=0.0) for values in (kinds[True], kinds[False]))
            if kinds[False] and data > others + ensemble.thresholds["masked_above"]:
                where = f"board {board} at {percent(float(ratio))} %"
                why = f"er@10 {percent(data)} % by false data alone, {percent(others)} by the best of the others"
                return {"masked": f"{where}: {why}"}
    return {}


def presence_flags(found: Mapping[tuple[float, int], Presence], ensemble: Ensemble) -> dict[str, str]:
    """What follows from who is in the rounds, of each share of malicious clients and each seed."""
    raised = {}
    never = [f"{percent(ratio)} %, seed {seed}" for (ratio, seed), of in found.items() if not of.asked]
    if never:
        raised["never asked"] = "; ".join(never)
    shares: dict[tuple[float, str], list[float]] = {}
    for (ratio, _), of in found.items():
        for item, share in of.outnumbered.items():
            shares.setdefault((ratio, item), []).append(share)
    means = {place: fmean(values) for place, values in shares.items()}
    (ratio, item), most = max(means.items(), key=lambda each: each[1], default=((0.0, ""), 0.0))
    if most > ensemble.thresholds["minority_above"]:
        rounds = f"in {percent(most)} % of the attacked rounds"
        raised["no honest majority"] = f"at {percent(ratio)} %, item {item}: {rounds}"
    return raised


def blocking(raised: Iterable[str]) -> list[str]:
    """Those flags that block a place on the board."""
    return [name for name in raised if FLAGS[name].blocks]


def _presences(ensemble: Ensemble, parameters: Mapping[str, Any], per_item: bool) -> dict[tuple[float, int], Presence]:
    """Of each share of malicious clients and each seed. What the attack is, and whom it promotes, changes nothing."""
    ratios = dict.fromkeys(ratio for board in ensemble.boards.values() for ratio in board.malicious_ratio)
    attack = next(iter(ensemble.attacks.values()))
    runs = {(ratio, seed): {"malicious_ratio": ratio, "seed": seed} for ratio in ratios for seed in ensemble.seeds}
    return {
        run: presence(AttackConfig(config_dict={**parameters, **attack, **changes}), per_item)
        for run, changes in runs.items()
    }
