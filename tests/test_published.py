"""The tables' rows: what they share, that each is a valid configuration, and two of them run (minutes, so slow)."""

import importlib.util
import os
from pathlib import Path

import pytest

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.utils.files import plain

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
DATA_PATH = os.environ.get("RECBOLE_ATTACK_DATA_PATH")
TABLES = sorted({path.parent for path in EXPERIMENTS.rglob("*-*.yaml")})


def load_make_table():
    spec = importlib.util.spec_from_file_location("make_table", EXPERIMENTS / "make_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_table = load_make_table()


def rows_of(name):
    return make_table.rows_of(EXPERIMENTS / name)


def test_the_tables_were_found():
    names = {str(table.relative_to(EXPERIMENTS)) for table in TABLES}
    assert names >= {"dv-fsr/table1", "dv-fsr/table3", "dv-fsr/table4", "dv-fsr/table5", "dv-fsr/figure2"}


@pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_every_row_is_a_valid_configuration_and_no_two_are_the_same(table):
    rows = make_table.rows_of(table)
    for values in rows.values():
        AttackConfig(config_dict=values)
    assert len({make_table.kept_file(values, 1) for values in rows.values()}) == len(rows)


@pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_the_paper_printed_nothing_that_has_no_row(table):
    assert set(make_table.read(table / "paper.yaml")) <= set(make_table.rows_of(table))


def test_every_kept_run_belongs_to_a_row():
    rows = [values for table in TABLES for values in make_table.rows_of(table).values()]
    rows += list(rows_of("ml-100k").values())
    kept = {make_table.kept_file(values, "*") for values in rows}
    runs = list((make_table.RESULTS / "runs").glob("*.json"))
    assert runs
    assert not [run.name for run in runs if not any(run.match(pattern.name) for pattern in kept)]


@pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_every_table_is_what_its_kept_runs_say(table):
    rows = make_table.rows_of(table)
    text, _ = make_table.described(table, rows)
    file = make_table.RESULTS / f"{table.relative_to(EXPERIMENTS)}.md"
    again = f"python experiments/make_table.py {table} --seeds"
    assert file.read_text(encoding="utf-8") == text, again
    assert file.with_suffix(".csv").read_text(encoding="utf-8") == make_table.raw_cells(table, rows), again


@pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_a_kept_run_was_made_with_what_its_row_says_today(table):
    elsewhere = {"seed", "data_path", "checkpoint_dir", "gpu_id", "show_progress"}
    for row, values in make_table.rows_of(table).items():
        now = plain(AttackConfig(config_dict=values).to_dict())
        for record in make_table.kept(values):
            then = record["config"]
            assert {k for k in then.keys() & now.keys() - elsewhere if then[k] != now[k]} == set(), row


def test_rows_of_several_tables_are_run_once():
    once = make_table.kept_file(rows_of("dv-fsr/table1")["sasrec-ml-1m-dvfsr-0.1"], 2020)
    assert make_table.kept_file(rows_of("dv-fsr/table3")["sasrec-ml-1m"], 2020) == once
    assert make_table.kept_file(rows_of("dv-fsr/table4")["ml-1m-0.1-none"], 2020) == once
    assert make_table.kept_file(rows_of("dv-fsr/figure2")["sasrec-ml-1m-0.1"], 2020) == once


def test_a_row_overrides_what_it_shares(tmp_path, monkeypatch):
    table = tmp_path / "paper" / "table"
    table.mkdir(parents=True)
    (tmp_path / "common.yaml").write_text("epochs: 1\nseed: 3\nlearner: sgd\n", encoding="utf-8")
    (table.parent / "common.yaml").write_text("epochs: 2\n", encoding="utf-8")
    (table.parent / "SASRec.yaml").write_text("hidden_size: 8\nlearner: adam\n", encoding="utf-8")
    for row in ("b-1", "a-1", "z-1"):
        (table / f"{row}.yaml").write_text("model: SASRec\nseed: 4\n", encoding="utf-8")
    (table / "paper.yaml").write_text("z-1: {}\n", encoding="utf-8")
    monkeypatch.setattr(make_table, "ROOT", tmp_path)
    rows = make_table.rows_of(table)
    assert list(rows) == ["z-1", "a-1", "b-1"]
    assert rows["a-1"] == {"epochs": 2, "seed": 4, "learner": "adam", "hidden_size": 8, "model": "SASRec"}


def test_a_finished_row_is_kept_and_written_down(tmp_path, monkeypatch, small):
    table = tmp_path / "experiments" / "table"
    table.mkdir(parents=True)
    monkeypatch.setattr(make_table, "ROOT", tmp_path / "experiments")
    monkeypatch.setattr(make_table, "RESULTS", tmp_path / "results")
    values = small(epochs=1, attack="none", model="SASRec")
    for row, size in (("one", 8), ("two", 16)):
        lines = [f"{key}: {value}\n" for key, value in {**values, "hidden_size": size}.items()]
        (table / f"{row}.yaml").write_text("".join(lines), encoding="utf-8")
    rows = make_table.rows_of(table)
    (table / "three.yaml").write_text("model: SASRec\n", encoding="utf-8")
    make_table.run(rows["one"], 2021, None)
    file = make_table.kept_file(rows["one"], 2021)
    before = file.stat().st_mtime_ns
    make_table.run(rows["one"], 2021, None)
    assert file.stat().st_mtime_ns == before
    text = make_table.write_table(table, make_table.rows_of(table)).read_text(encoding="utf-8")
    assert "\n| one | one seed | " in text and "## SASRec on tiny, full ranking" in text
    raw = (tmp_path / "results" / "table.csv").read_text(encoding="utf-8")
    assert raw == make_table.raw_cells(table, rows) and "one,clean,full,hit@10,2021,0." in raw
    assert "seeds 2021" in text
    assert "\n\nNot run yet: three, two.\n\n" in text


@pytest.mark.slow
@pytest.mark.skipif(not DATA_PATH, reason="set RECBOLE_ATTACK_DATA_PATH to a folder with ml-1m and steam-200k")
@pytest.mark.parametrize(
    ("dataset", "hit", "exposure"), [("ml-1m", (0.095, 0.115), "er@5"), ("steam-200k", (0.29, 0.34), "er@20")]
)
def test_sampled_candidates_give_the_published_numbers_and_full_ranking_does_not(dataset, hit, exposure):
    row = rows_of("dv-fsr/table1")[f"sasrec-{dataset}-dvfsr-0.1"]
    result = run_recbole_attack(
        config_dict={**row, "compare_clean": True, "data_path": DATA_PATH, "show_progress": False}
    )
    for arm in ("clean", "attacked"):
        assert hit[0] <= result[arm]["test_result"]["hit@10"] <= hit[1]
        assert result[arm]["test_result_full"]["hit@10"] < result[arm]["test_result"]["hit@10"] / 2
    assert result["clean"]["test_result"][exposure] < 0.01
    assert result["attacked"]["test_result"][exposure] >= 0.9
