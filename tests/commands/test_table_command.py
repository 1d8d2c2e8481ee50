"""From an experiment's folder and a store to its page."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import yaml

from recbole_attack.benchmark import Store, kept_runs, read_grid
from recbole_attack.commands.main import main
from recbole_attack.commands.report import read_records
from recbole_attack.report.experiment import read_about
from recbole_attack.utils.errors import ConfigError


@pytest.fixture
def experiment(tmp_path, small):
    """A folder of two rows with all that may stand beside them, and the store of one that was run."""
    folder = tmp_path / "paper" / "table"
    folder.mkdir(parents=True)
    shared = small(epochs=2, model="SASRec", attack="ra", malicious_ratio=0.1, compare_clean=False)
    own = {"one": {}, "two": {"hidden_size": 4}, "loud": {"gradient_scale": 2.0}}
    files = {
        "../common.yaml": shared,
        **{f"{name}.yaml": values or {"train_batch_size": 64} for name, values in own.items()},
        "paper.yaml": {"two": {}, "one": {"attacked": {"hit@10": 0.5}, "reason": "Because."}},
        "table.yaml": {
            "columns": ["hit@10", "er@10"],
            "comparisons": [{"first": "one", "second": "loud", "metrics": ["hit@10"]}],
            "figure": {"x": "epoch", "y": "train_loss", "line": ["attack", "gradient_scale"], "panel": ["model"]},
        },
    }
    for name, values in files.items():
        (folder / name).write_text(yaml.safe_dump(values), encoding="utf-8")
    (folder / "notes.md").write_text("**It is so.**\n<!-- table -->\n- And so.\n", encoding="utf-8")
    store = tmp_path / "store"
    grid = ["grid", str(folder), f"--store={store}", "--jobs=1", "--only=one", "--seeds", "1", "2"]
    assert main(grid) == 0
    return folder, store


def test_the_page_has_what_was_found_the_figures_beside_the_papers_and_how_to_make_it(experiment, tmp_path, capsys):
    folder, store = experiment
    page = tmp_path / "out" / "table.md"
    capsys.readouterr()
    assert main(["table", str(folder), f"--store={store}", f"--out={page}"]) == 0
    names = [page, page.with_suffix(".csv"), page.with_suffix(".png")]
    assert capsys.readouterr().out.split() == [str(name) for name in names]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# paper/table\n\n**It is so.**\n\n## SASRec on tiny, full ranking\n")
    order = [
        "\n| one | 2 | ",
        "![train_loss against epoch](table.png)",
        "- And so.",
        "Not run yet: two, loud.",
        "```bash",
    ]
    assert [part for part in order if part not in text] == []
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert re.search(r"- `one`: .*; seeds 1, 2; \d+\.\d min a seed\. Because\.$", text, re.MULTILINE)
    assert f"recbole_attack table {folder} --store={store} --out={page}" in text
    cells = pd.read_csv(page.with_suffix(".csv"))
    kept = Store(store)
    records = kept.records(kept_runs(read_grid(folder), kept.cells))["one"]
    for record in records:
        own = cells[(cells["metric"] == "hit@10") & (cells["seed"] == record["seed"])]
        assert own["ours"].tolist() == [record["attacked"]["test_result"]["hit@10"]]
        assert own["paper"].tolist() == [0.5]


def test_seeds_that_a_row_lacks_are_named(tmp_path, small, capsys):
    file, store = tmp_path / "grid.yaml", f"--store={tmp_path / 'store'}"
    fixed = small(epochs=1, attack="ra", compare_clean=False)
    rows = {"a": {}, "b": {"malicious_ratio": 0.1}, "c": {"malicious_ratio": 0.2}}
    file.write_text(yaml.safe_dump({"fixed": fixed, "grid": {"seed": [1, 2, 3]}, "rows": rows}), encoding="utf-8")
    assert main(["grid", str(file), store, "--jobs=1", "--only=a", "--seeds", "2", "3"]) == 0
    assert main(["grid", str(file), store, "--jobs=1", "--only=b"]) == 0
    capsys.readouterr()
    assert main(["table", str(file), store, "--may_differ", "malicious_share"]) == 0
    assert "\n\nNot run yet: a (seeds 1), c.\n" in capsys.readouterr().out


def test_a_page_is_of_the_seeds_its_grid_names_as_its_own_commands_make_it(tmp_path, small, capsys):
    """Whatever else the store holds of its rows."""
    file, fixed = tmp_path / "grid.yaml", small(epochs=1, attack="ra", compare_clean=False)

    def page(store):
        capsys.readouterr()
        assert main(["table", str(file), f"--store={store}"]) == 0
        return capsys.readouterr().out

    for seeds in ([3], [1, 2]):  # first what somebody else ran
        parts = {"fixed": fixed, "grid": {"seed": seeds}, "rows": {"a": {}}}
        file.write_text(yaml.safe_dump(parts), encoding="utf-8")
        assert main(["grid", str(file), f"--store={tmp_path / 'store'}", "--jobs=1"]) == 0
    text = page(tmp_path / "store")
    assert "; seeds 1, 2; " in text and "--seeds" not in text
    assert main(["grid", str(file), f"--store={tmp_path / 'alone'}", "--jobs=1"]) == 0
    alone = page(tmp_path / "alone").replace("alone", "store")
    assert re.sub(r"[\d.]+ min a seed", "", text) == re.sub(r"[\d.]+ min a seed", "", alone)
    records, _ = read_records(tmp_path / "store", file)
    assert [record["seed"] for record in records["a"]] == [1, 2], "a report of the grid"
    file.write_text(yaml.safe_dump({"fixed": fixed, "grid": {"seed": [5, 4]}, "rows": {"a": {}}}), encoding="utf-8")
    capsys.readouterr()
    assert main(["table", str(file), f"--store={tmp_path / 'store'}"]) == 2
    assert "expected one at least of seeds 4, 5; recbole_attack grid trains it" in capsys.readouterr().err


def test_a_store_that_holds_none_of_the_rows_has_no_page(experiment, tmp_path, capsys):
    folder, store = experiment
    (folder / "one.yaml").unlink()
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(["table", str(folder), f"--store={store}", f"--out={tmp_path / 'page.md'}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"DataError: {store} holds no finished run of {folder}: expected")
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_file_the_page_is_printed(experiment, capsys):
    folder, store = experiment
    capsys.readouterr()
    assert main(["table", str(folder), f"--store={store}"]) == 0
    assert capsys.readouterr().out.startswith("# paper/table\n")
    assert not list(store.glob("*.md"))


def test_rows_that_do_not_compare_are_refused_unless_told_to(experiment, capsys):
    folder, store = experiment
    assert main(["grid", str(folder), f"--store={store}", "--jobs=1", "--only=loud", "--seeds", "1"]) == 0
    capsys.readouterr()
    words = ["table", str(folder), f"--store={store}"]
    assert main(words) == 2
    assert "expected one gradient_scale, found gradient_scale: 1" in capsys.readouterr().err
    assert main([*words, "--may_differ", "gradient_scale"]) == 0
    let = capsys.readouterr().out
    assert "Rows of one victim differ on purpose in: gradient_scale." in let
    assert f"recbole_attack table {folder} --store={store} --may_differ gradient_scale\n" in let
    assert f"recbole_attack grid {folder} --store={store} --seeds=1,2\n" in let
    table = yaml.safe_load((folder / "table.yaml").read_text(encoding="utf-8"))
    (folder / "table.yaml").write_text(yaml.safe_dump({**table, "may_differ": ["gradient_scale"]}), encoding="utf-8")
    capsys.readouterr()
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "Rows of one victim differ on purpose in: gradient_scale." in text and "| one | loud | hit@10 | " in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out=page.txt"], "out must be a file whose name ends in .md: found page.txt"),
        (["--store=nowhere"], "nowhere is no store: expected the folder with the results of"),
        (["--may_differ", "knowlege"], "unknown aspect that may differ 'knowlege': .*did you mean 'knowledge'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(experiment, capsys, monkeypatch, tmp_path, words, message):
    folder, store = experiment
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(["table", str(folder), f"--store={store}", *words]) in (1, 2)
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("colums: [hit@10]", "unknown part of .*table.yaml 'colums': .*did you mean 'columns'"),
        ("columns: hit@10", "columns must be a list: found 'hit@10'"),
        ("dose: {metric: er@10, by: [attack], lvel: 0.2}", "unknown key of dose in .*table.yaml 'lvel'.*mean 'level'"),
        ("comparisons: [{first: a, second: b}]", "comparisons must hold first, second, metrics: found no metrics"),
        ("comparisons: [a]", "comparisons must hold first, second, metrics: found 'a'"),
        ("figure: {x: epoch}", "figure must hold x, y, line, panel: found no y"),
    ],
)
def test_a_table_file_that_is_none_is_refused(tmp_path, content, message):
    (tmp_path / "table.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_about(tmp_path)


def test_a_pattern_that_fits_no_row_is_refused(experiment, capsys):
    folder, store = experiment
    assert main(["grid", str(folder), f"--store={store}", "--only=tow"]) == 2
    assert "only must fit the name of a row: found 'tow'; did you mean 'two'?" in capsys.readouterr().err
