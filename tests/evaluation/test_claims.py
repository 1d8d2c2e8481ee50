"""Claims against measurements: papers' numbers and the committed store, read literally."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_attack.evaluation import claims_section
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.yaml_files import AliasLoader, load_yaml

ROOT = Path(__file__).resolve().parents[2]
TABLE1, STRONG, STORE = ROOT / "experiments/dv-fsr/table1", ROOT / "experiments/strong-victim", ROOT / "results/store"


@pytest.fixture(scope="module")
def rows():
    return claims_section(STORE, [TABLE1], [STRONG]).table.body


def test_every_row_whose_exposure_the_paper_printed_is_there(rows):
    paper = load_yaml(TABLE1 / "paper.yaml", AliasLoader)
    printed = {name: f"{100 * arms['attacked']['er@10']:.2f}" for name, arms in paper.items() if "attacked" in arms}
    assert {row[0]: row[4] for row in rows} == printed


def test_a_row_says_what_the_store_says(rows):
    """DV-FSR as released on Steam at 0.1 %, found in the store by its parameters."""
    shown = next(row for row in rows if row[0] == "sasrec-steam-200k-dvfsr-0.1-released")
    wanted = {"attack": "dvfsr", "upload_search_gradient": True, "malicious_ratio": 0.001, "model": "SASRec"}
    wanted |= {
        "dataset": "steam-200k",
        "norm_budget": None,
        "target_items": "least_popular:1",
        "client_defense": "none",
    }
    found = {"weak": {}, "strong": {}}
    for line in (STORE / "cells.jsonl").read_text(encoding="utf-8").splitlines():
        cell = json.loads(line)
        parameters = cell["parameters"]
        if all(parameters.get(key) == value for key, value in wanted.items()):
            usual = (parameters["learner"], parameters["position_alignment"], parameters["shared_negatives"])
            if usual == ("sgd", "right", False) and parameters["aggregator"] == "sum":
                found["weak"][parameters["seed"]] = cell
            elif parameters["learner"] == "adam" and parameters["client_weighting"] == "examples":
                found["strong"][parameters["seed"]] = cell

    def mean(kind, part):
        values = [cell[part]["er@10"] for cell in found[kind].values()]
        return f"{100 * sum(values) / len(values):.2f}"

    weak = [mean("weak", "test_result"), mean("weak", "test_result_full")]
    assert shown[5:] == [*weak, mean("strong", "test_result")]
    assert shown[1:4] == ["SASRec on steam-200k", "dvfsr, as released", "0.1"]


def test_what_stands_in_two_tables_of_a_paper_stands_here_once(tmp_path, monkeypatch):
    lines = {"first": [("a", 0.1, ["one"]), ("b", 0.1, ["two"])], "second": [("a", 0.1, ["one again"])]}
    monkeypatch.setattr("recbole_attack.evaluation.claims._lines", lambda grid, *others: lines[grid.name])
    section = claims_section(tmp_path, [Path("first"), Path("second")], [])
    assert section.table.body == [["one"], ["two"]]


def test_other_runs_with_the_same_figures_are_rows_of_their_own():
    table4 = ROOT / "experiments/dv-fsr/table4"
    names = [row[0] for row in claims_section(STORE, [TABLE1, table4], []).table.body]
    assert {"steam-200k-0.1-mixed-rfa", "steam-200k-0.1-mixed-rfa-uniform"} <= {*names}
    assert "sasrec-ml-1m-dvfsr-0.1" in names and "ml-1m-0.1-none" not in names


def test_two_rows_on_strong_victims_that_are_the_same_attack_are_refused(tmp_path, monkeypatch):
    rows = {"one": [record(0.1)], "again": [record(0.1)]}
    monkeypatch.setattr("recbole_attack.evaluation.claims._records", lambda grid, kept: rows)
    monkeypatch.setattr("recbole_attack.evaluation.claims._lines", lambda *given: [("runs", 0.1, ["row", "cells"])])
    assert claims_section(tmp_path, [TABLE1], [Path("strong")]).table.body == [["row", "cells"]]
    rows["again"] = [record(0.2)]
    with pytest.raises(DataError, match=r"expected one row on a strong victim .* found 'one' in strong and 'again' in"):
        claims_section(tmp_path, [TABLE1], [Path("strong")])


def test_a_strong_victim_is_shown_under_full_ranking(tmp_path, monkeypatch):
    sampled = record(0.4, exposure_candidates=20)
    sampled["attacked"]["test_result_full"] = {"er@10": 0.1}
    assert cells_of(tmp_path, monkeypatch, sampled)[-1] == "10.00"


@pytest.mark.parametrize(
    "other",
    [
        *({"upload": "adaptive"}, {"per_item": True}, {"pre_aggregator": "nnm"}, {"gradient_scale": 10.0}),
        *({"claimed_interactions": 50}, {"scenario": "central"}, {"norm_budget": 0.5}),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_attack_on_a_strong_victim_is_not_the_same(tmp_path, monkeypatch, other):
    assert cells_of(tmp_path, monkeypatch, record(0.4))[-1] == "40.00"
    assert cells_of(tmp_path, monkeypatch, record(0.4, **other))[-1] == "-"


def cells_of(folder, monkeypatch, strong):
    """The line of one printed row, beside a run on a strong victim."""
    rows = {"printed": {"row": [record(0.2)]}, "strong": {"row": [strong]}}
    about = type("About", (), {"paper": {"row": {"attacked": {"er@10": 0.9}}}})
    monkeypatch.setattr("recbole_attack.evaluation.claims.read_about", lambda grid: about)
    monkeypatch.setattr("recbole_attack.evaluation.claims._records", lambda grid, kept: rows[grid.name])
    return claims_section(folder, [Path("printed")], [Path("strong")]).table.body[0]


def record(exposure, **others):
    config = {
        "scenario": "federated",
        "malicious_ratio": 0.01,
        "exposure_candidates": "full",
        "model": "SASRec",
        "dataset": "steam-200k",
        "attack": "eb",
        "aggregator": "mean",
        "client_defense": "none",
    }
    config |= others
    return {
        "config": config,
        "dataset": {},
        "budget": {"malicious_share": 0.01},
        "attacked": {"test_result": {"er@10": exposure}},
    }


def test_a_store_without_the_rows_is_refused(tmp_path):
    (tmp_path / "cells.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected runs of rows whose er@10 a paper printed in .*table1, found none"):
        claims_section(tmp_path, [TABLE1], [])
