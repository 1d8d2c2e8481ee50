"""Which metrics a run's table has, and how their figures are written."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_attack import AttackConfig
from recbole_attack.report.markdown import escape
from recbole_attack.report.numbers import is_share, number, percent
from recbole_attack.report.run_table import metric_rows, result_table
from recbole_attack.report.words import nearest

NAMES = ("hit", "ndcg", "er", "target_ndcg", "exposure_share")


def record(metrics: dict[str, float], errors: dict[str, float] | None = None, **config: object) -> dict:
    """A record of one attacked model without a clean twin, and with one target."""
    arm = {"test_result": metrics, "test_result_full": None, "standard_error": errors, "tested_epoch": 0}
    defaults = {
        **{"model": "SASRec", "scenario": "central", "attack": "none", "learner": "adam", "learning_rate": 0.1},
        **{"epochs": 1, "exposure_candidates": "full", "mask_history": True, "target_items": "i1", "topk": [10]},
    }
    return {
        "config": {**defaults, "seed": 1, **config},
        "dataset": {"name": "tiny", "users": 3, "items": 2},
        "budget": {"target_items": ["i1"]},
        "clean": None,
        "attacked": arm,
        "delta": None,
        "history": {},
    }


def measured(*cut_offs: int, names=NAMES) -> dict[str, float]:
    return {f"{name}@{k}": 0.5 for name in names for k in cut_offs}


def labels(of: dict, key: str = "test_result") -> list[str]:
    return [row[0].removesuffix(", %") for row in metric_rows(of, key)[1:]]


@pytest.mark.parametrize(
    ("cut_offs", "k"), [((5, 10, 20), 10), ((5, 20), 5), ((8, 11, 13), 11), ((7, 13), 7), ((50,), 50)], ids=str
)
def test_the_short_table_has_accuracy_and_exposure_at_the_cut_off_nearest_to_ten(cut_offs, k):
    assert nearest(cut_offs) == k
    assert labels(record(measured(*cut_offs))) == [f"hit@{k}", f"ndcg@{k}", f"er@{k}"]


def test_the_short_table_has_both_sides_and_their_ratio_where_a_group_is_meant():
    values = measured(5, 10, names=(*NAMES, "er_in", "er_out")) | {"invisibility@10": 2.5, "invisibility": 1.5}
    both_sides = ["hit@10", "ndcg@10", "er@10", "er_in@10", "er_out@10", "invisibility"]
    assert labels(record(values, target_group="gender=M")) == both_sides
    assert labels(record(values)) == both_sides[:3]


def test_verbose_shows_every_metric_once():
    values = measured(5, 10, names=(*NAMES, "recall", "mrr", "map", "precision")) | {"invisibility": 1.5}
    shown = labels(record(values, verbose=True))
    assert shown == [key for key in values if key.split("@")[0] not in ("exposure_share", "recall", "map")]


def test_a_metric_is_left_out_only_beside_the_one_it_equals():
    assert labels(record(measured(10, names=("recall", "map")), verbose=True)) == ["recall@10", "map@10"]
    assert labels(record(measured(10, names=("recall", "map")))) == ["recall@10"], "it is hit@10 by another name"
    several = record(measured(2, 3, names=("er", "exposure_share")), verbose=True)
    several["budget"] = {"target_items": ["i1", "i2", "i3"]}
    assert labels(several) == ["er@2", "er@3", "exposure_share@2"]


@pytest.mark.parametrize(("group", "shown"), [("all", ["er@10", "er_out@10"]), ("gender=M", None)])
def test_a_group_of_everybody_is_shown_once(group, shown):
    values = measured(10, names=("er", "er_in", "er_out", "exposure_share_in"))
    expected = shown or ["er@10", "er_in@10", "er_out@10"]
    assert labels(record(values, verbose=True, target_group=group)) == expected


def test_where_none_of_the_usual_metrics_was_measured_all_are_shown():
    values = {"mrr@3": 0.5, "itemcoverage@3": 0.25, "mine": 2.0, "mine@all": 3.0}
    assert metric_rows(record(values)) == [
        ["metric", "attacked"],
        ["mrr@3", "0.5000"],
        ["itemcoverage@3, %", "25.00"],
        ["mine", "2.0000"],
        ["mine@all", "3.0000"],
    ]


@st.composite
def evaluations(draw):
    """What RecBole's metrics and ours read of up to six users, lists of 4 and up to four targets."""
    users, targets, k = draw(st.integers(1, 6)), draw(st.integers(1, 4)), 4
    truth = draw(st.lists(st.integers(1, k + 1), min_size=users, max_size=users))
    hits = [[int(rank == place) for place in range(1, k + 1)] + [1] for rank in truth]
    cells = st.lists(st.booleans(), min_size=targets, max_size=targets)
    eligible = draw(st.lists(cells, min_size=users, max_size=users))
    ranks = [[*draw(st.permutations(range(1, k + 2)))][:targets] for _ in range(users)]
    struct = DataStruct()
    struct.set("rec.topk", torch.tensor(hits))
    struct.set("rec.target_rank", torch.tensor(ranks))
    struct.set("rec.target_eligible", torch.tensor(eligible))
    struct.set("rec.target_user", torch.ones(users, dtype=torch.bool))
    return struct, targets


@pytest.fixture(scope="module")
def metrics():
    """RecBole's metrics and ours, at every cut-off of lists of 4."""
    names = ["Hit", "Recall", "MRR", "MAP", "ER", "ER_In", "Exposure_Share", "Exposure_Share_In", "NDCG"]
    config = AttackConfig(config_dict={"metrics": names, "topk": [1, 2, 3, 4], "valid_metric": "Hit@1"})
    return [metrics_dict[name.lower()](config) for name in names]


@given(evaluations())
def test_what_is_left_out_equals_what_is_shown(metrics, case):
    struct, targets = case
    values = {key: value for metric in metrics for key, value in metric.calculate_metric(struct).items()}
    of = record(values, verbose=True)
    of["budget"] = {"target_items": ["i"] * targets}
    shown = labels(of)
    stands_for = {"recall": "hit", "map": "mrr", "er_in": "er", "exposure_share": "er", "exposure_share_in": "er"}
    for metric in values.keys() - set(shown):
        name, k = metric.split("@")
        other = "exposure_share" if name == "exposure_share_in" and targets > int(k) else stands_for[name]
        assert f"{other}@{k}" in shown
        assert values[f"{other}@{k}"] == pytest.approx(values[metric], abs=2e-6, nan_ok=True)


def test_shares_are_per_cent_with_their_error_and_other_metrics_are_not():
    values = {"hit@10": 0.12345, "ndcg@10": 0.06789, "er@10": 0.5}
    of = record(values, {"hit@10": 0.0107, "ndcg@10": 0.00612})
    assert metric_rows(of)[1:] == [
        ["hit@10, %", "12.35 ± 1.07"],
        ["ndcg@10", "0.0679 ± 0.0061"],
        ["er@10, %", "50.00"],
    ]
    assert "± one standard error over test users" in result_table(of).splitlines()
    assert result_table(json.loads(json.dumps(of))) == result_table(of)
    assert "±" not in result_table(record(values))


def test_full_rankings_have_their_own_errors():
    of = record({"hit@10": 0.5}, {"hit@10": 0.125})
    of["attacked"] |= {"test_result_full": {"hit@10": 0.25}, "standard_error_full": {"hit@10": 0.0625}}
    assert metric_rows(of, "test_result_full")[1:] == [["hit@10, %", "25.00 ± 6.25"]]
    assert metric_rows(of, "best_valid_result") == [["metric"]]


def test_kept_records_of_runs_that_knew_no_errors_are_shown():
    of = record(measured(10))
    del of["attacked"]["standard_error"]
    assert metric_rows(of)[1] == ["hit@10, %", "50.00"]


@pytest.mark.parametrize(
    ("metric", "share"),
    [("hit@10", True), ("er_out@5", True), ("exposure_share_in@5", True), ("ndcg@10", False), ("invisibility", False)],
)
def test_shares_are_told_by_name(metric, share):
    assert is_share(metric) == share


def test_no_cell_is_wrapped_however_many_arms_there_are():
    of = record(measured(30, names=("exposure_share",)), {"exposure_share@30": 0.1}, verbose=True)
    of["local"] = of["clean"] = of["attacked"]
    of["budget"] = {"target_items": ["i"] * 31}
    of["delta"] = {"exposure_share@30": 0.0}
    assert "exposure_share@30, %   50.00 ± 10.00   50.00 ± 10.00   50.00 ± 10.00   +0.00" in result_table(of)


def test_names_from_files_move_no_cursor():
    of = record(measured(10))
    of["dataset"]["name"], of["budget"]["target_items"] = "\x1b[31mred", ["a\x1b[2J\u202eb"]
    shown = result_table(of)
    assert "on \\x1b[31mred (" in shown
    assert "target item a\\x1b[2J\\u202eb (" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    assert escape("a\x1b[2J") == "a\\\\x1b\\[2J"


def test_what_rounds_to_zero_has_no_minus():
    assert [percent(-1e-16), percent(-1e-16, True), percent(-0.0001, True)] == ["0.00", "+0.00", "-0.01"]
    assert [number(-1e-5, True), number(-0.00004), number(-0.00006)] == ["+0.0000", "0.0000", "-0.0001"]
