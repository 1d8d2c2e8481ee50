"""Runs as one frame: every figure of every record once, whatever the runs have in common."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack import load_runs, run_recbole_attack
from recbole_attack.benchmark.frame import COLUMNS, tidy
from recbole_attack.benchmark.store import writing
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
VALUES = st.one_of(st.none(), st.floats(0, 1))
METRICS = st.dictionaries(st.sampled_from(["hit@10", "er@10", "ndcg@5"]), VALUES, max_size=3)
ARM = st.fixed_dictionaries(
    {"test_result": st.none() | METRICS, "test_result_full": st.none() | METRICS},
    optional={"tested_epoch": st.integers(0, 99)},
)
PARAMETERS = st.fixed_dictionaries(
    {"attack": st.sampled_from(["none", "ra"]), "topk": st.sampled_from([[10], [5, 10]])},
    optional={"loudness": st.integers(1, 2), "checkpoint_dir": st.text(max_size=3), "seed": st.integers(1, 9)},
)
RECORD = st.fixed_dictionaries(
    {"config": PARAMETERS, "seed": st.integers(0, 9), "history": st.just({})},
    optional={"local": ARM, "clean": st.none() | ARM, "attacked": st.none() | ARM},
)


def record_of_a_run(value: float = 0.5, seed: int = 1, **config: object) -> dict:
    arm = {"test_result": {"er@10": value}, "test_result_full": None, "tested_epoch": 3}
    return {"config": {"attack": "ra", **config}, "seed": seed, "history": {}, "clean": None, "attacked": arm}


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@given(st.lists(RECORD, max_size=4))
def test_every_figure_of_every_record_is_there_once(records):
    frame = tidy(iter(records))
    found = {
        (run, arm, protocol, metric): None if math.isnan(value) else value
        for run, arm, protocol, metric, value in frame[list(COLUMNS[:5])].itertuples(index=False)
    }
    assert len(found) == len(frame)
    assert found == {
        (str(number), arm, protocol, metric): value
        for number, record in enumerate(records)
        for arm in ("local", "clean", "attacked")
        for key, protocol in (("test_result", "configured"), ("test_result_full", "full"))
        for metric, value in ((record.get(arm) or {}).get(key) or {}).items()
    }
    for row in frame.to_dict("records"):
        of = records[int(row["run"])]
        assert row["seed"] == of["seed"]
        assert (None if row["epoch"] is pd.NA else row["epoch"]) == of[row["arm"]].get("tested_epoch")


@given(st.lists(RECORD, max_size=4))
def test_parameters_that_vary_have_a_column_and_no_others(records):
    frame = tidy(records)
    texts = [{key: json.dumps(r["config"].get(key)) for key in ("attack", "topk", "loudness")} for r in records]
    varying = {key for key in ("attack", "topk", "loudness") if len({text[key] for text in texts}) > 1}
    assert set(frame.columns) == {*COLUMNS, *varying}
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    for row in frame.to_dict("records"):
        config = records[int(row["run"])]["config"]
        for key in varying:
            expected = config.get(key)
            missing = row[key] is None or row[key] != row[key]
            assert missing if expected is None else row[key] == (str(expected) if key == "topk" else expected)


def test_a_record_may_bring_its_name():
    frame = tidy({**record_of_a_run(seed=seed), "run": row} for row in ("a", "b") for seed in (1, 2))
    assert frame["run"].tolist() == ["a", "a", "b", "b"]
    assert frame["seed"].tolist() == [1, 2, 1, 2]
    assert frame["epoch"].tolist() == [3] * 4


def test_runs_are_read_from_any_depth_by_their_path(tmp_path):
    write(tmp_path / "saved" / "one" / "result.json", record_of_a_run(0.25, attack="eb"))
    write(tmp_path / "saved" / "two" / "result.json", record_of_a_run(0.75))
    write(tmp_path / "saved" / "two" / "dataset.json", {"name": "tiny"})
    (tmp_path / "saved" / "interrupted").mkdir()
    frame = load_runs(tmp_path)
    assert frame[["run", "attack", "value"]].to_numpy().tolist() == [
        ["saved/one", "eb", 0.25],
        ["saved/two", "ra", 0.75],
    ]
    assert load_runs(str(tmp_path / "saved"))["run"].tolist() == ["one", "two"]
    assert load_runs(tmp_path / "saved" / "two")["run"].tolist() == ["two"]


def test_a_run_is_read_as_it_ended(small, tmp_path):
    result = run_recbole_attack(config_dict=small(epochs=1, attack="ra"))
    frame = load_runs("saved")
    for arm in ("clean", "attacked"):
        own = frame[frame["arm"] == arm].set_index("metric")
        assert own["value"].to_dict() == result[arm]["test_result"]
        assert set(own["epoch"]) == {0} and set(own["protocol"]) == {"configured"}


def test_a_store_is_read_row_by_row(planned, tmp_path):
    plan = planned(grid={"attack": ["ra", "eb"], "seed": [2, 1]})
    with writing(tmp_path / "grids" / "small") as store:
        store.begin(plan)
        for number, arm in enumerate(plan.arms.values()):
            record = {
                "version": "0",
                "dataset": {"sha256": {}},
                "budget": {},
                "best_valid_result": None,
                "uploads": None,
            }
            record |= {"test_result": {"er@10": number / 8}, "test_result_full": None, "tested_epoch": number}
            record |= {"standard_error": None, "standard_error_full": None}
            store.add(arm, TrainedArm(record, [], {"seconds": 1.0, "epochs": [], "environment": {}}, {}))
    write(tmp_path / "alone" / "result.json", record_of_a_run(0.5, attack="c_fsr"))
    numbers = {key: number / 8 for number, key in enumerate(plan.arms)}
    expected = {
        (f"grids/small/{cell.row}", arm, cell.seed): numbers[key]
        for cell in plan.cells
        for arm, key in cell.arms.items()
    }
    frame = load_runs(tmp_path)
    found = frame.set_index(["run", "arm", "seed"])["value"].to_dict()
    assert found == {**expected, ("alone", "attacked", 1): 0.5}
    assert set(frame["attack"]) == {"ra", "eb", "c_fsr"}
    own = load_runs(tmp_path / "grids" / "small")
    assert set(own["run"]) == {cell.row for cell in plan.cells}
    with pytest.raises(DataError, match="did you mean 'grids'"):
        load_runs(tmp_path / "grid")


def test_records_that_are_files_of_their_own_are_read(tmp_path):
    kept = record_of_a_run()
    write(tmp_path / "kept" / "mine.json", kept)
    frame = load_runs(tmp_path / "kept")
    arm = next(arm for arm in ("attacked", "clean", "local") if kept.get(arm))
    own = frame[(frame["run"] == "mine") & (frame["arm"] == arm) & (frame["protocol"] == "configured")]
    assert own.set_index("metric")["value"].dropna().to_dict() == {
        key: value for key, value in kept[arm]["test_result"].items() if value is not None
    }


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("save", "save holds no run: expected result.json or cells.jsonl in it or below it, found no such folder"),
        ("save", "; did you mean 'saved'?"),
        ("sawed", "found a folder without one; did you mean 'saved'?"),
        ("elsewhere", "found no such folder$"),
        ("saved/one/result.json", "found no such folder"),
    ],
)
def test_a_folder_without_runs_is_refused_with_the_nearest_that_has_some(tmp_path, asked, words):
    write(tmp_path / "saved" / "one" / "result.json", record_of_a_run())
    (tmp_path / "sawed").mkdir()
    with pytest.raises(DataError, match=words.replace("?", r"\?")) as raised:
        load_runs(tmp_path / asked)
    assert "\n" not in str(raised.value)


def test_what_else_lies_in_a_store_is_no_record(planned, tmp_path):
    """An evaluation's store has its evaluation.json beside it."""
    plan = planned(grid={"attack": ["ra"]})
    with writing(tmp_path / "store") as store:
        store.begin(plan)
        for arm in plan.arms.values():
            none = dict.fromkeys(("best_valid_result", "test_result_full", "standard_error", "standard_error_full"))
            record = {"version": "0", "dataset": {"sha256": {}}, "budget": {}, "uploads": None, **none}
            record |= {"test_result": {"er@10": 0.5}, "tested_epoch": 0}
            store.add(arm, TrainedArm(record, [], {"seconds": 1.0, "epochs": [], "environment": {}}, {}))
    frame = load_runs(tmp_path / "store")
    write(tmp_path / "store" / "evaluation.json", {"kind": "rule"})
    pd.testing.assert_frame_equal(load_runs(tmp_path / "store"), frame)
    assert len(frame) == 2


def test_the_share_of_malicious_clients_is_that_which_a_run_had():
    """Of whole clients: 1, 4 and 9 of 943 where 0.1, 0.5 and 1 % were asked for."""
    clients = {0.001: 1, 0.005: 4, 0.01: 9}
    frame = tidy(
        {**record_of_a_run(malicious_ratio=ratio), "budget": {"malicious_share": count / 943}}
        for ratio, count in clients.items()
    )
    assert frame["malicious_ratio"].tolist() == [*clients]
    assert frame["malicious_share"].tolist() == [count / 943 for count in clients.values()]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("\udcff", "is not valid JSON"),
        ("[]", r"is no record of a run: expected config, history, seed in it, found \[\]"),
        ('{"config": {}, "seed": 1}', "expected history in it"),
        ('{"config": {}, "seed": 1, "history": {}, "budget": [1]}', "is no record of a run: expected .*budget"),
    ],
    ids=["half", "deep", "bytes", "list", "part", "budget"],
)
def test_what_is_no_record_is_refused(tmp_path, content, words):
    (tmp_path / "result.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=words) as raised:
        load_runs(tmp_path)
    assert "\n" not in str(raised.value)
