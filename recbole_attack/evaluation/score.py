"""The figures of an evaluation: the worst that attacks did, chosen on validation data and reported on test data.

For each target and seed the attack counts that had the highest exposure on validation data; its exposure on test data
is the worst case there. So the choice among attacks is the attacker's, who sees no test data, and the figure is not
biased by having been chosen. The score is the mean over targets and seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np

from recbole_attack.benchmark.intervals import bootstrap_interval
from recbole_attack.evaluation.cases import CLEAN, MEAN, Case
from recbole_attack.evaluation.ensemble import written
from recbole_attack.utils.errors import DataError

EXPOSURE, ACCURACY = "er@10", ("hit@10", "ndcg@10")

TIED = "tied"
"""Stands for the attack that was chosen where several did equally well on validation data."""

Records = Mapping[str, Sequence[Mapping[str, Any]]]
"""Row -> what ``result.json`` would hold of each of its seeds."""


class Measured(NamedTuple):
    """One attacked model.

    Attributes:
        case: What was tried.
        seed: Its seed.
        valid: Exposure of the tested model on validation data.
        test: On test data.
    """

    case: Case
    seed: int
    valid: float
    test: float


def measured(cases: Iterable[Case], records: Records) -> list[Measured]:
    """Every case with every seed.

    Raises:
        DataError: A model was not validated, so that no attack can be chosen.
    """
    found = []
    for case in cases:
        for record in records[case.row]:
            arm = record["attacked"]
            valid, test = ((arm[part] or {}).get(EXPOSURE) for part in ("best_valid_result", "test_result"))
            if valid is None or test is None:
                raise DataError(f"row '{case.row}': expected {EXPOSURE} on validation and test data, found none")
            found.append(Measured(case, record["seed"], valid, test))
    return found


def worst(of: Sequence[Measured]) -> dict[str, Any]:
    """The worst case, as ``er@10``, the ends ``low`` and ``high`` of its interval, and what it is made of.

    The interval is the pigeonhole bootstrap over seeds and targets (:func:`bootstrap_interval`), or the plain one over
    pairs of both where every target has one seed; without ends where all values are alike. With few targets and seeds
    it says little: ``cases`` counts them. ``won`` counts for each attack where it was chosen. Who has several that are
    alike on validation data may take any, so their mean counts, and ``won`` says :data:`TIED` if they are different
    attacks.
    """
    best = _best_on_validation(of)
    tests = {place: fmean(each.test for each in equal) for place, equal in best.items()}
    targets, seeds = (list(dict.fromkeys(keys)) for keys in zip(*best, strict=True))
    values = np.full((len(seeds), len(targets)), np.nan)
    for (target, seed), test in tests.items():
        values[seeds.index(seed), targets.index(target)] = test
    paired = len(best) == len(targets)  # then both are drawn together
    interval = bootstrap_interval([*tests.values()] if paired else values)
    chosen = [{each.case.attack for each in equal} for equal in best.values()]
    return {
        **{EXPOSURE: interval.estimate, "low": interval.low, "high": interval.high, "cases": len(best)},
        "won": dict(Counter(min(attacks) if len(attacks) == 1 else TIED for attacks in chosen)),
    }


def _best_on_validation(of: Iterable[Measured]) -> dict[tuple[str, int], list[Measured]]:
    """Target and seed -> what was highest on validation data; several, if they are alike."""
    tried: dict[tuple[str, int], list[Measured]] = {}
    for each in of:
        tried.setdefault((each.case.target, each.seed), []).append(each)
    highest = {place: max(each.valid for each in own) for place, own in tried.items()}
    return {place: [each for each in own if each.valid == highest[place]] for place, own in tried.items()}


def boards(of: Sequence[Measured]) -> dict[str, Any]:
    """Board -> its worst case over all budgets, and budget -> its worst case and each attack's mean."""
    found = {}
    for name in dict.fromkeys(each.case.board for each in of):
        own = [each for each in of if each.case.board == name]
        ratios = dict.fromkeys(each.case.ratio for each in own)
        found[name] = {
            "worst": worst(own),
            "budgets": {
                written(ratio): _budget([each for each in own if each.case.ratio == ratio]) for ratio in ratios
            },
        }
    return found


def _budget(of: Sequence[Measured]) -> dict[str, Any]:
    attacks = dict.fromkeys(each.case.attack for each in of)
    means = {attack: fmean(each.test for each in of if each.case.attack == attack) for attack in attacks}
    return {"worst": worst(of), "attacks": means}


def clean_figures(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """What a rule comes to without an attack, in the mean over seeds; ``None`` where a store does not say.

    Returns:
        ``hit@10`` and ``ndcg@10`` of all test users and, as ``tail hit@10`` and so on, of those whose item is of the
        tail; ``er@10`` of targets nobody promotes; ``tail moved`` and ``head moved``, how far the rows of items of the
        tail and of all others moved; ``standard error``, of ``hit@10`` over users.
    """
    arms = [record["clean"] for record in records]

    def mean(part: str, key: str) -> float | None:
        values = [(arm.get(part) or {}).get(key) for arm in arms]
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    accuracy = {metric: mean("test_result", metric) for metric in (*ACCURACY, EXPOSURE)}
    tail = {f"tail {metric}": mean("tail", metric) for metric in ACCURACY}
    moved = {"tail moved": mean("tail", "rows_moved"), "head moved": mean("tail", "head_rows_moved")}
    return {**accuracy, **tail, **moved, "standard error": mean("standard_error", "hit@10")}


def seconds_a_round(records: Sequence[Mapping[str, Any]]) -> float:
    """Median seconds of an epoch over its rounds, evaluations and all but the rounds left out as far as they can be."""
    record = records[0]
    config, data = record["config"], record["dataset"]
    clients = data.get("train_users", data["users"])  # arms of older stores do not say how many users can train
    rounds = config["rounds_per_epoch"] or ceil(clients / config["clients_per_round"])
    return median(epoch["seconds"] for each in records for epoch in each["history"]["clean"]) / rounds


def figures(cases: Iterable[Case], records: Records) -> dict[str, Any]:
    """All figures of an evaluation.

    Returns:
        ``boards``, see :func:`boards`; ``mean`` and ``clean``, see :func:`clean_figures`, of the mean and of what is
        evaluated; ``cost``, the former less the latter, for each accuracy; ``seconds a round``.
    """
    mean, clean = clean_figures(records[MEAN]), clean_figures(records[CLEAN])
    names = [*ACCURACY, *(f"tail {metric}" for metric in ACCURACY)]
    return {
        "boards": boards(measured(cases, records)),
        **{"mean": mean, "clean": clean},
        "cost": {name: _less(mean[name], clean[name]) for name in names},
        "seconds a round": seconds_a_round(records[CLEAN]),
    }


def _less(mean: float | None, clean: float | None) -> float | None:
    return None if mean is None or clean is None else mean - clean
