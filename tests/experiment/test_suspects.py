"""flagged.csv: every item once, the most suspicious first, with what detectors say of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from recbole_attack import run_recbole_attack
from recbole_attack.defense import Detection, Evidence
from recbole_attack.experiment.suspects import suspects

INF = -np.inf


def test_rows_are_in_the_order_of_one_detector_and_hold_what_was_counted():
    shown = np.array([[[0, 0], [3, 4], [1, 2]], [[0, 0], [1, 2], [5, 6]]])
    evidence = Evidence(shown[0], shown[1], np.array([0, 10, 20]), 7)
    found = {
        "a": Detection(np.array([INF, 0.5, 0.25]), np.array([False, True, False])),
        "b": Detection(np.array([INF, 1.0, 2.0]), np.array([False, False, True])),
    }
    p = {"a": np.array([1, 0.1, 0.2]), "b": np.array([1, 0.3, 0.05])}
    header, rows = suspects(["pad", "x", "y"], evidence, [5, 10], found, found["b"].flagged, "b", p)
    assert header == ["item", "flagged", "b_score", "b_p", "a_score", "a_p", *COUNTED]
    assert rows == [
        ["y", 1, "2", "0.05", "0.25", "0.2", 1, 5, 2, 6, 7, 20],
        ["x", 0, "1", "0.3", "0.5", "0.1", 3, 1, 4, 2, 7, 10],
    ]
    _, without = suspects(["pad", "x", "y"], evidence, [5, 10], found, found["a"].flagged, "a")
    assert [(row[0], row[1], row[3], row[5]) for row in without] == [("x", 1, "", ""), ("y", 0, "", "")]


COUNTED = ["model@5", "local@5", "model@10", "local@10", "users", "popularity"]


def test_a_simulated_provider_leaves_a_table_of_each_model_that_agrees_with_its_record(pretrain):
    result = run_recbole_attack(config_dict=pretrain(attack="bra", epochs=1))
    folder = Path(result["result_file"]).parent
    assert sorted(file.parent.name for file in folder.rglob("flagged.csv")) == ["attacked", "clean"]
    targets = set(result.record["budget"]["target_items"])
    for arm in ("clean", "attacked"):
        with (folder / arm / "flagged.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert len({row["item"] for row in rows}) == len(rows) == result.record["dataset"]["items"]
        assert {row["excess_tail_p"] for row in rows} == {""}
        flagged = [row["item"] for row in rows if row["flagged"] == "1"]
        quality = result.record["detection"][arm]["excess_tail"]
        assert quality["flagged"] == len(flagged)
        assert flagged == [row["item"] for row in rows[: len(flagged)]], (
            "of two items the more suspicious one is flagged"
        )
        assert quality["recall"] == len(targets & set(flagged)) / len(targets)
        assert f"{arm}/flagged.csv" in json.loads((folder / "result.json").read_text())["artefacts"]
