"""The worst case against a literal reading, and that what is chosen is not what is reported."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_attack.evaluation.cases import CLEAN, MEAN, Case
from recbole_attack.evaluation.score import Measured, boards, clean_figures, figures, measured, seconds_a_round, worst
from recbole_attack.utils.errors import DataError

ATTACKS, TARGETS, SEEDS, RATIOS = ("a", "b", "c"), ("t1", "t2", "t3"), (1, 2), (0.01, 0.1)


def drawn(seed):
    rng = np.random.default_rng(seed)
    return [
        Measured(Case(board, ratio, attack, target), seed, *rng.random(2))
        for board in ("norm", "free")
        for ratio in RATIOS
        for attack in ATTACKS
        for target in TARGETS
        for seed in SEEDS
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_worst_case_is_the_mean_over_targets_and_seeds_of_what_the_attack_best_on_validation_did(seed):
    of = [each for each in drawn(seed) if each.case.board == "norm"]
    values = []
    for target in TARGETS:
        for run in SEEDS:
            own = [each for each in of if each.case.target == target and each.seed == run]
            values.append(max(own, key=lambda each: each.valid).test)
    found = worst(of)
    assert found["er@10"] == pytest.approx(np.mean(values)) and found["cases"] == len(values)
    assert min(values) <= found["low"] < found["er@10"] < found["high"] <= max(values)
    assert sum(found["won"].values()) == len(values)


def test_where_every_target_has_one_seed_both_are_drawn_together():
    of = [each for each in drawn(2) if each.case.board == "norm" and each.seed == 1 + (each.case.target == "t2")]
    values = []
    for target in TARGETS:
        own = [each for each in of if each.case.target == target]
        values.append(max(own, key=lambda each: each.valid).test)
    found, drawn_means = worst(of), np.random.default_rng(0).choice(values, (4000, len(values))).mean(axis=1)
    assert found["er@10"] == pytest.approx(np.mean(values)) and found["cases"] == len(TARGETS)
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(drawn_means, [0.025, 0.975]), abs=0.02)


def test_what_is_chosen_on_validation_data_is_not_the_best_on_test_data():
    case = Case("norm", 0.01, "a", "t")
    of = [Measured(case, 1, valid=0.5, test=0.1), Measured(case._replace(attack="b"), 1, valid=0.4, test=0.9)]
    assert worst(of) | {"low": 0, "high": 0} == {"er@10": 0.1, "low": 0, "high": 0, "cases": 1, "won": {"a": 1}}
    assert np.isnan(worst(of)["low"])  # one value says nothing about how far it is off


def test_of_what_is_alike_on_validation_data_the_mean_counts_in_whatever_order_it_stands():
    case = Case("norm", 0.01, "a", "t")
    alike = [Measured(case._replace(attack=name), 1, valid=0.5, test=test) for name, test in (("a", 0.1), ("b", 0.4))]
    less = Measured(case._replace(attack="c"), 1, valid=0.4, test=0.9)
    for of in ([*alike, less], [less, *alike[::-1]]):
        assert (worst(of)["er@10"], worst(of)["won"]) == (pytest.approx(0.25), {"tied": 1})
    louder = alike[0]._replace(case=case._replace(ratio=0.1), test=0.3)
    assert worst([alike[0], louder])["won"] == {"a": 1} and worst([alike[0], louder])["er@10"] == pytest.approx(0.2)


def test_boards_and_budgets_are_apart_and_the_worst_of_a_board_is_over_all_budgets():
    of = drawn(3)
    found = boards(of)
    assert list(found) == ["norm", "free"] and list(found["norm"]["budgets"]) == ["0.01", "0.1"]
    for name, board in found.items():
        own = [each for each in of if each.case.board == name]
        assert board["worst"]["er@10"] == worst(own)["er@10"]
        for ratio, budget in board["budgets"].items():
            part = [each for each in own if each.case.ratio == float(ratio)]
            assert budget["worst"]["er@10"] == worst(part)["er@10"]
            for attack, mean in budget["attacks"].items():
                assert mean == pytest.approx(np.mean([each.test for each in part if each.case.attack == attack]))


def record(seed, hit, tail):
    results = {"hit@10": hit, "ndcg@10": hit / 2, "er@10": 0.0}
    moved = {"hit@10": tail, "ndcg@10": tail and tail / 2, "rows_moved": 1.0, "head_rows_moved": 2.0}
    arm = {
        "test_result": results,
        "best_valid_result": results,
        "standard_error": {"hit@10": 0.01},
        "tail": tail and moved,
    }
    config = {"rounds_per_epoch": None, "clients_per_round": 64}
    history = {"clean": [{"seconds": seconds} for seconds in (30.0, 3.0, 1.0)]}
    return {"seed": seed, "clean": arm, "config": config, "dataset": {"users": 129}, "history": history}


def test_costs_are_points_of_accuracy_and_what_an_older_store_lacks_is_missing():
    case = Case("norm", 0.01, "a", "t")
    attacked = {"seed": 1, "attacked": {"best_valid_result": {"er@10": 0.2}, "test_result": {"er@10": 0.3}}}
    records = {MEAN: [record(1, 0.4, 0.2)], CLEAN: [record(1, 0.3, 0.1)], case.row: [attacked]}
    found = figures([case], records)
    assert found["cost"] == pytest.approx({"hit@10": 0.1, "ndcg@10": 0.05, "tail hit@10": 0.1, "tail ndcg@10": 0.05})
    assert clean_figures([record(1, 0.4, 0.2), record(2, 0.2, 0.4)])["tail hit@10"] == pytest.approx(0.3)
    records[CLEAN] = [record(1, 0.3, None)]
    assert figures([case], records)["cost"]["tail hit@10"] is None
    assert seconds_a_round(records[CLEAN]) == 1.0  # 3 seconds for 3 rounds, of 64, 64 and 1 users


def test_a_round_is_of_users_who_can_train():
    made = record(1, 0.3, 0.1)
    made["dataset"] = {"users": 300, "train_users": 59}
    made["config"] = {"rounds_per_epoch": None, "clients_per_round": 16}
    assert seconds_a_round([made]) == 3.0 / 4


def test_an_attack_cannot_be_chosen_without_validation():
    case = Case("norm", 0.01, "a", "t")
    arm = {"best_valid_result": None, "test_result": {"er@10": 0.3}}
    with pytest.raises(DataError, match=r"row 'norm, 0.01, a, t': expected er@10 on validation and test data"):
        measured([case], {case.row: [{"seed": 1, "attacked": arm}]})
