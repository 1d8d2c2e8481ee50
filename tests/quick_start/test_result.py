"""What a run returns: still RecBole's dict, and its tables as data frames and in a notebook."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import pandas as pd
import pytest

from recbole_attack import run_recbole_attack
from recbole_attack.quick_start.result import Result
from recbole_attack.report.run_table import metric_rows


@pytest.fixture(scope="module")
def runs():
    """Results of runs, to be looked at only."""
    return []


@pytest.fixture
def result(runs, small, tmp_path_factory):
    """One short run with both arms, saved; the same for all tests."""
    if not runs:
        saved = tmp_path_factory.mktemp("saved")
        runs.append(run_recbole_attack(config_dict=small(attack="ra", eval_step=2, checkpoint_dir=str(saved))))
    return runs[0]


def test_it_is_a_dict_and_goes_where_dicts_go(result):
    assert isinstance(result, dict)
    for copied in (dict(result), pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert copied == result
    again = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(again.table(), result.table())
    pd.testing.assert_frame_equal(again.history(), result.history())


def test_the_table_has_the_arms_and_their_difference(result):
    table = result.table()
    assert list(table.columns) == ["clean", "attacked", "delta"]
    assert table.index.name == "metric"
    assert list(table.index) == list(result["test_result"])
    assert table["clean"].to_dict() == result["clean"]["test_result"]
    assert table["attacked"].to_dict() == result["attacked"]["test_result"]
    assert (table["attacked"] - table["clean"]).to_dict() == pytest.approx(result["delta"])


def test_the_history_has_a_row_for_each_epoch_of_each_arm(result):
    history, record = result.history(), json.loads(Path(result["result_file"]).read_text())
    assert list(zip(history["arm"], history["epoch"], strict=True)) == [
        (arm, epoch) for arm in ("clean", "attacked") for epoch in (0, 1)
    ]
    assert history["er@10"].isna().tolist() == [True, False, True, False], "evaluated every second epoch"
    for _, row in history.iterrows():
        expected = record["history"][row["arm"]][row["epoch"]]
        assert {key: row[key] for key in expected} == expected


def test_the_record_is_the_one_that_was_written(result):
    record = json.loads(Path(result["result_file"]).read_text())
    assert record.items() >= json.loads(json.dumps(result.record)).items()


def test_a_notebook_shows_the_table_of_the_command_line(result):
    shown = result._repr_html_()
    assert re.findall(r"<t[hd]>(.*?)</t[hd]>", shown) == [cell for row in metric_rows(result.record) for cell in row]
    assert "<p>SASRec on tiny (60 users, 39 items)" in shown


def test_names_cannot_get_into_the_page():
    record = {
        "config": {
            **{"model": "<b>", "scenario": "central", "learner": "adam", "learning_rate": 1.0, "epochs": 1, "seed": 1},
            **{
                "attack": "none",
                "exposure_candidates": "full",
                "mask_history": True,
                "target_items": "x",
                "topk": [10],
            },
        },
        "dataset": {"name": "<script>", "users": 1, "items": 1},
        "budget": {"target_items": ["&"]},
        "clean": {"test_result": {"<i>@10": 0.5}},
        "delta": None,
        "history": {"clean": []},
    }
    shown = Result({"clean": record["clean"], "delta": None}, record)._repr_html_()
    assert not any(word in shown for word in ("<b>", "<script>", "<i>", "item &;"))


@pytest.mark.parametrize("mode", ["valid_only", "valid_and_test"])
def test_one_arm_and_no_test_users_leave_less_of_it(small, mode):
    given = small(attack="none", epochs=1, eval_args={"split": {"LS": mode}})
    result = run_recbole_attack(config_dict=given, saved=False)
    expected = {"valid_only": [], "valid_and_test": ["clean"]}[mode]
    assert list(result.table().columns) == expected
    assert len(result.history()) == 1
    assert "<table" in result._repr_html_()


def test_stages_stand_in_the_history(pretrain):
    result = run_recbole_attack(config_dict=pretrain(platform="fine_tune"), saved=False)
    history = result.history()
    assert list(result.table().columns) == ["local", "clean", "attacked", "delta"]
    assert history.groupby("arm", sort=False)["stage"].agg(list).to_dict() == {
        "local": ["local_train"],
        "clean": ["pre_train", "fine_tune"],
        "attacked": ["pre_train", "fine_tune"],
    }
    assert history["epoch"].tolist() == [0, 0, 1, 0, 1]
