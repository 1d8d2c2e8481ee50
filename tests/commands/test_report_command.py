"""From folders of records to the files of a report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from recbole_attack.benchmark import Store, kept_runs, read_grid
from recbole_attack.commands import report
from recbole_attack.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
FILES = {"report.html", "report.md", "report.tex", "report.csv"}


def arguments(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
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
        ("[]", "x.json is no record: expected 'config' as a dict, as in result.json, found list"),
        (
            '{"config": {}}',
            "x.json is no record: expected 'dataset' as a dict, as in result.json, found 'dataset': NoneType",
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


def test_a_grids_store_is_read_by_its_rows_with_what_failed(tmp_path, monkeypatch):
    (tmp_path / "cells.jsonl").touch()
    store = argparse.Namespace(
        records=lambda runs: {"row": ["its records"]}, failed=lambda: {"row, seed 1, clean": "why"}
    )
    monkeypatch.setattr("recbole_attack.benchmark.Store", {tmp_path: store}.get)
    assert report.read_records(tmp_path) == ({"row": ["its records"]}, {"row, seed 1, clean": "why"})
