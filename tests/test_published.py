"""The published tables: rows are valid configurations, pages say what the store holds, and two rows run (slow)."""

import os
from pathlib import Path

import pytest

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.benchmark import Store, kept_runs, read_grid
from recbole_attack.benchmark.plan import deciding
from recbole_attack.commands.main import main
from recbole_attack.experiment import arm_parameters
from recbole_attack.report.experiment import read_about
from recbole_attack.utils.yaml_files import load_yaml

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS, STORE = ROOT / "experiments", ROOT / "results" / "store"
DATA_PATH = os.environ.get("RECBOLE_ATTACK_DATA_PATH")
NO_ROWS = {"common.yaml", "demo.yaml", "BERT4Rec.yaml", "SASRec.yaml"}
TABLES = sorted({file.parent for file in EXPERIMENTS.rglob("*.yaml") if file.name not in NO_ROWS})
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))


@pytest.fixture(scope="module")
def store():
    return Store(STORE)


def rows_of(name):
    return {row.name: row.parameters for row in read_grid(EXPERIMENTS / name)}


def test_the_tables_were_found():
    names = {str(table.relative_to(EXPERIMENTS)) for table in TABLES}
    assert names >= {"dv-fsr/table1", "dv-fsr/table3", "dv-fsr/table4", "dv-fsr/table5", "dv-fsr/figure2"}
    assert names >= {"aprec/table1", "aprec/sweep", "strong-victim", "baselines", "ml-100k"}


@each_table
def test_every_row_is_a_valid_configuration_and_no_two_are_the_same(table):
    arms = [str(arm_parameters(AttackConfig(config_dict=row.parameters))) for row in read_grid(table)]
    assert len(set(arms)) == len(arms)


@each_table
def test_what_stands_beside_the_rows_speaks_of_rows_there_are(table):
    about, rows = read_about(table), rows_of(table)
    assert set(about.paper) <= set(rows)
    assert {pair[side] for pair in about.comparisons for side in ("first", "second")} <= set(rows)


def test_everything_in_the_store_belongs_to_a_row(store):
    runs = [run for table in TABLES for run in kept_runs(read_grid(table), store.cells)]
    assert runs
    assert {key for run in runs for key in run.arms.values()} == set(store.cells)


@each_table
def test_every_page_is_what_the_store_says(table, store, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = Path("results") / f"{table.relative_to(EXPERIMENTS)}.md"
    if not page.is_file():
        assert not kept_runs(read_grid(table), store.cells), "what was run has a page"
        return
    out = tmp_path / page.name
    command = ["table", str(table.relative_to(ROOT)), "--store=results/store"]
    assert main([*command, f"--out={out}"]) == 0
    again = f"recbole_attack {' '.join(command)} --out={page}"
    assert page.read_text(encoding="utf-8") == out.read_text(encoding="utf-8").replace(str(out), str(page)), again
    assert page.with_suffix(".csv").read_bytes() == out.with_suffix(".csv").read_bytes(), again
    assert page.with_suffix(".png").is_file() == out.with_suffix(".png").is_file(), again


def test_a_parameter_that_came_later_has_a_value_with_which_stored_arms_stay_what_they_are(store):
    def kind(parameters):
        recipes = ("scenario", "model", "attack", "aggregator", "client_defense")
        return (*map(parameters.get, recipes), parameters.get("upload", "computed"))

    known = {}
    for cell in store.cells.values():
        known.setdefault(kind(cell["parameters"]), set()).update(cell["parameters"])
    for table in TABLES:
        for row in read_grid(table):
            for parameters in arm_parameters(AttackConfig(config_dict=row.parameters)).values():
                given = row.parameters.keys()  # what a row asks for itself is new on purpose
                new = deciding(parameters).keys() - known.get(kind(parameters), parameters.keys()) - given
                assert not new, (
                    f"{row.name}: a value of {new} in evaluator.version.NEUTRAL, or another EVALUATOR_VERSION"
                )


def test_rows_of_several_tables_are_run_once():
    def key(table, row):
        return arm_parameters(AttackConfig(config_dict=rows_of(table)[row]))

    once = key("dv-fsr/table1", "sasrec-ml-1m-dvfsr-0.1")
    assert key("dv-fsr/table3", "sasrec-ml-1m") == once
    assert key("dv-fsr/table4", "ml-1m-0.1-none") == once
    assert key("dv-fsr/figure2", "sasrec-ml-1m-0.1") == once


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


def test_the_board_is_what_its_entries_say(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    grids = "experiments/dv-fsr/table1,experiments/dv-fsr/table4"
    given = [f"--store={STORE}", f"--claims={grids}", "--strong=experiments/strong-victim"]
    assert main(["evaluate", "--board=results/entries", f"--out={tmp_path / 'board.md'}", *given]) == 0
    for name in ("board.md", "board.html"):
        assert (tmp_path / name).read_text() == (ROOT / "results" / name).read_text()


@pytest.mark.parametrize("entry", sorted((ROOT / "results" / "entries").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_entry_of_the_board_is_what_the_store_says(monkeypatch, entry):
    monkeypatch.chdir(ROOT)
    own = load_yaml(entry)["setting"]["dataset"] == "ml-100k"
    if not (own or DATA_PATH):
        pytest.skip("set RECBOLE_ATTACK_DATA_PATH to a folder with ml-1m and steam-200k")
    given = [] if own else [f"--data_path={DATA_PATH}"]
    assert main(["validate", str(entry), f"--store={STORE}", *given]) == 0
