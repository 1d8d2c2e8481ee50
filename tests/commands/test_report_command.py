"""From folders of records to the files of a report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from recbole_attack.benchmark import Store, kept_runs, make_plan, read_grid, run_grid
from recbole_attack.commands import report
from recbole_attack.quick_start import train_arm
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

ROOT = Path(__file__).resolve().parents[2]
FILES = {"report.html", "report.md", "report.tex", "report.csv"}


def arguments(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    parser.set_defaults(plugins=None)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def kept(tmp_path):
    """Two kept records of one row, of two seeds, and one of another."""
    folder = tmp_path / "kept"
    folder.mkdir()
    store, rows = Store(ROOT / "results" / "store"), read_grid(ROOT / "experiments" / "strong-victim")
    run = kept_runs([row for row in rows if row.name == "ml-100k-a-ra-1"], store.cells)[0]
    record = store.records([run])[run.row][0]
    for number, (attack, seed) in enumerate((("a_ra", 2020), ("a_ra", 2021), ("eb", 2020))):
        copy = {**record, "seed": seed, "config": {**record["config"], "attack": attack, "seed": seed}}
        (folder / f"{number}.json").write_text(json.dumps(copy), encoding="utf-8")
    return folder


def test_a_folder_of_kept_records_becomes_a_report(kept, tmp_path, capsys):
    report.run(arguments(kept, "--out", tmp_path / "out", "--title", "A & B"))
    finding, *files = capsys.readouterr().out.splitlines()
    assert {Path(file).name for file in files} == FILES | {"epochs.png", "epochs.pdf"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {Path(file).name for file in files}
    page, text = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert finding in page
    assert "<h1>A &amp; B</h1>" in page
    assert text.startswith("# A &amp; B\n")
    assert "a\\_ra" in text


def test_what_rows_were_let_differ_in_is_on_every_page(kept, tmp_path):
    file = kept / "2.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["budget"]["gradient_scale"] = 5.0
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match="expected one gradient_scale"):
        report.run(arguments(kept, "--out", tmp_path / "out"))
    report.run(arguments(kept, "--out", tmp_path / "out", "--may_differ", "gradient_scale"))
    page, text = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "- rows differ on purpose in: gradient\\_scale\n" in text
    assert "rows differ on purpose in" in page


def test_the_same_records_give_the_same_bytes_and_pictures_that_are_gone_do_not_stay(kept):
    def content():
        return {file.name: file.read_bytes() for file in (kept / "report").iterdir()}

    (kept / "report").mkdir()
    (kept / "report" / "shares.png").write_bytes(b"of an earlier report")
    report.run(arguments(kept))
    first = content()
    assert "shares.png" not in first
    report.run(arguments(kept))
    assert content() == first


def test_run_folders_are_found_below_the_source_and_nothing_else_in_them(kept, tmp_path):
    runs = tmp_path / "runs"
    for file in kept.iterdir():
        (runs / "saved" / file.stem).mkdir(parents=True)
        (runs / "saved" / file.stem / "dataset.json").write_text("{}", encoding="utf-8")
        file.rename(runs / "saved" / file.stem / "result.json")
    records, failures = report.read_records(runs)
    assert [record["config"]["attack"] for record in records] == ["a_ra", "a_ra", "eb"]
    assert failures == {}


@pytest.mark.parametrize("given", ["text", "file"])
def test_the_finding_is_given_as_text_or_file(kept, tmp_path, capsys, given):
    file = tmp_path / "finding.txt"
    file.write_text("It is <worse>.\n", encoding="utf-8")
    report.run(arguments(kept, "--finding", {"text": "It is <worse>.", "file": f"@{file}"}[given]))
    assert capsys.readouterr().out.startswith("It is <worse>.\n")
    assert '<p class="finding">It is &lt;worse&gt;.</p>' in (kept / "report" / "report.html").read_text(
        encoding="utf-8"
    )


def test_a_finding_that_is_no_file_is_refused_before_anything_is_written(kept, tmp_path):
    (tmp_path / "finding.txt").touch()
    with pytest.raises(DataError, match=r"expected text or @file, found @.*findin.txt; did you mean '@.*finding.txt'"):
        report.run(arguments(kept, "--finding", f"@{tmp_path / 'findin.txt'}"))
    assert not (kept / "report").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "x.json is no record: expected JSON as in result.json"),
        ("[]", "x.json is no record such as result.json of a run: expected it as a mapping, found a list"),
        ("{}", "x.json is no record such as .*: expected 'config' as a mapping, found none"),
        (
            '{"config": {}}',
            "x.json is no record .*: expected 'config.scenario' as one of central, .*, found none",
        ),
        ("[" * 100_000, "x.json is no record"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        report.read_records(tmp_path)


def test_a_folder_without_records_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(DataError, match=r"holds no record: expected result\.json in folders of runs, or records as"):
        report.read_records(tmp_path / "runs")
    with pytest.raises(DataError, match=r"run is no folder: expected one with records of runs; did you mean '.*/runs'"):
        report.read_records(tmp_path / "run")
    (tmp_path / "runs" / "store").mkdir()
    (tmp_path / "runs" / "store" / "cells.jsonl").touch()
    with pytest.raises(DataError, match=r"runs holds stores of grids: expected one of them, such as .*/runs/store$"):
        report.read_records(tmp_path / "runs")
    with pytest.raises(DataError, match=r"cells\.jsonl is no folder: .*; did you mean '.*/runs/store'\?"):
        report.read_records(tmp_path / "runs" / "store" / "cells.jsonl")


@pytest.fixture
def grids(tmp_path, small):
    """Two grids, the second of which was last run in their store and stopped before its end; and the store."""
    files = {}
    for name, attacks in {"first": ["ra", "eb"], "last": ["ra", "a_ra"]}.items():
        files[name] = tmp_path / f"{name}.yaml"
        fixed = {**small(epochs=1), "target_items": "random:2"}
        files[name].write_text(yaml.safe_dump({"fixed": fixed, "grid": {"attack": attacks, "seed": [1, 2]}}))

    def stopping(parameters, arm, folder):
        if parameters["attack"] == "eb" or (parameters["attack"], parameters["seed"]) == ("none", 2):
            raise TrainingError("it diverged")
        if parameters["attack"] == "a_ra":
            raise KeyboardInterrupt
        return train_arm(parameters, arm, folder)

    store = tmp_path / "store"
    run_grid(make_plan(read_grid(files["first"])), store, stopping, 1, tell=len)
    with pytest.raises(KeyboardInterrupt):
        run_grid(make_plan(read_grid(files["last"])), store, stopping, 1, tell=len)
    return files, store


FIRST = {
    "attack=ra, seed 2, clean (and 1 more)": "TrainingError: it diverged",
    "attack=eb, seed 1, attacked": "TrainingError: it diverged",
    "attack=eb, seed 2, attacked": "TrainingError: it diverged",
    "attack=ra, seed 2": "failed: clean",
    "attack=eb, seed 1": "failed: attacked",
    "attack=eb, seed 2": "failed: clean, attacked",
}
LAST = {
    "attack=ra, seed 2, clean (and 1 more)": "TrainingError: it diverged",
    "attack=ra, seed 2": "failed: clean",
    "attack=a_ra, seed 1": "not trained yet: attacked",
    "attack=a_ra, seed 2": "failed: clean; not trained yet: attacked",
}


@pytest.mark.parametrize(("chosen", "expected"), [(None, LAST), ("first", FIRST), ("last", LAST)])
def test_a_report_lists_what_failed_and_was_not_finished_of_its_own_grid(grids, tmp_path, chosen, expected):
    files, store = grids
    records, failures = report.read_records(store, files[chosen] if chosen else None)
    assert {row: [record["seed"] for record in seeds] for row, seeds in records.items()} == {"attack=ra": [1]}
    assert failures == expected
    words = ["--grid", files[chosen]] if chosen else []
    report.run(arguments(store, "--out", tmp_path / "out", *words))
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8").replace("\\", "")
        listed = text[text.index("Not finished") :]
        assert all(f"{run}: {reason}" in listed for run, reason in expected.items())
        assert listed.count("diverged") == sum("diverged" in reason for reason in expected.values())


def test_a_report_says_that_a_store_holds_more_than_it_shows(grids, tmp_path):
    files, store = grids
    run_grid(make_plan(read_grid(files["first"], [1])[:1]), store, train_arm, 1, tell=len)
    kept = set(Store(store).cells) - {key for run in Store(store).rows for key in run.arms.values()}
    assert len(kept) == 1, "the attacked arm of the other seed"
    _, failures = report.read_records(store)
    (said,) = failures.items()
    assert said[0] == "1 other kept arm" and "--grid shows those of a grid" in said[1]
    report.run(arguments(store, "--out", tmp_path / "out"))
    for name in ("report.html", "report.md"):
        assert "1 other kept arm: of no row" in (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert report.read_records(store, files["first"])[1] == FIRST


def test_a_row_without_seeds_asks_for_its_default_one(grids, tmp_path, small):
    _, store = grids
    folder = tmp_path / "rows"
    folder.mkdir()
    for name, attack in {"kept": "ra", "new": "dvfsr"}.items():
        row = {**small(epochs=1), "target_items": "random:2", "attack": attack}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(row), encoding="utf-8")
    records, failures = report.read_records(store, folder)
    assert {row: [record["seed"] for record in seeds] for row, seeds in records.items()} == {"kept": [1]}
    assert failures == {
        "kept, seed 2, clean": "TrainingError: it diverged",
        "kept, seed 2": "failed: clean",
        "new, seed 2020": "not trained yet: clean, attacked",
    }
