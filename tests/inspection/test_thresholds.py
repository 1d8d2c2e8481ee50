"""The arithmetic of ``benchmarks/inspection``: what is flagged above a score, and which score known targets ask for."""

import csv
import importlib
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from recbole_attack.defense import DETECTORS
from recbole_attack.inspection.calibration import is_flagged, p_values

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "inspection"


@pytest.fixture
def script(monkeypatch):
    """``script(name)``: the module."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    return importlib.import_module


def test_flags_are_counted_per_model_and_over_models(script):
    module = script("thresholds")
    found = module.flags(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, True]), 2.0)
    assert (found.flagged, found.right, found.targets) == (2, 1, 3), "an item at the threshold is not flagged"
    assert found.f1 == pytest.approx(0.4), "precision 1/2, recall 1/3"
    both = module.summary([found, module.Flags(0, 0, 3)])
    assert (both.models, both.caught, both.flagged) == (2, 1, 2)
    assert (both.precision, both.recall, both.f1) == pytest.approx((1 / 2, 1 / 6, 0.2))


def test_what_is_flagged_of_honest_models_is_wrong_and_has_no_f1(script):
    module = script("thresholds")
    honest = module.summary([module.Flags(2, 0, 0), module.Flags(0, 0, 0)])
    assert (honest.caught, honest.precision) == (1, 0.0)
    assert math.isnan(honest.recall) and math.isnan(honest.f1)
    assert math.isnan(module.summary([module.Flags(0, 0, 0)]).precision)


def test_the_best_threshold_by_hand(script):
    best = script("thresholds").best_threshold
    planted, promoted = np.array([9.0, 7.0, 6.0, 3.0]), np.array([True, True, False, False])
    assert best([planted], [promoted]) == 6.5
    honest, none = np.array([8.0, 1.0]), np.array([False, False])
    assert best([planted, honest], [promoted, none]) == 6.5, "F1 of 2/3, 1/2, 4/5, 2/3 down to 6"
    assert best([planted, np.array([8.0, 8.0, 8.0])], [promoted, np.zeros(3, dtype=bool)]) == 8.5, "4/7 at 7 is less"
    assert best([np.array([5.0, 5.0])], [np.array([True, False])]) == -math.inf, "equal scores are flagged together"


def test_no_threshold_flags_better(script):
    module, draw = script("thresholds"), np.random.default_rng(5)
    for _ in range(20):
        scores = [draw.integers(0, 8, 30).astype(float) for _ in range(3)]
        promoted = [draw.random(30) < share for share in (0.3, 0.2, 0.0)]
        above = module.best_threshold(scores, promoted)
        merged, right = np.concatenate(scores), np.concatenate(promoted)
        f1 = [f1_score(right, merged > each, zero_division=0) for each in (*np.arange(-1.0, 9.0), above)]
        assert f1[-1] == pytest.approx(max(f1))


def test_who_chooses_a_threshold_is_not_judged_by_it(script):
    module, judging = script("verdicts"), script("judging")
    clean = dict.fromkeys(DETECTORS, 2.0)
    models = [
        judging.Judged(
            2020, kind, number, 0.5, None, [kind != "honest", False], {n: [3.0, 1.0] for n in DETECTORS}, clean
        )
        for kind in ("honest", "bra", "pea")
        for number in range(3)
    ]
    found = list(module.lines(models, {2020: dict.fromkeys(DETECTORS, 5.0)}))

    def judged(rule):
        return {(line.model.kind, line.model.number) for line in found if line.rule == rule}

    assert judged(module.TUNED) == {("honest", 1), ("bra", 1), *(("pea", number) for number in range(3))}
    assert judged(module.CLEAN) == judged(module.SAME) == {(model.kind, model.number) for model in models}
    flagged = {
        rule: {line.found.flagged for line in found if line.rule == rule} for rule in (module.CLEAN, module.SAME)
    }
    assert flagged == {module.CLEAN: {1}, module.SAME: {0}}


def test_above_all_clean_models_is_what_the_command_flags(script):
    scores, clean = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 3.0, 2.0])
    found = script("thresholds").flags(scores, np.zeros(4, dtype=bool), clean.max())
    assert found.flagged == is_flagged(p_values(scores, clean), Fraction(1, 4)).sum() == 1


def test_the_page_has_the_notes_and_the_figures_of_the_csv(script):
    module, results = script("verdicts"), BENCHMARK.parents[1] / "results"
    shown = (results / "backdoor-detectors.md").read_text()
    for part in (BENCHMARK / "notes.md").read_text().split(module.TABLES):
        assert part.strip() in shown
    with (results / "backdoor-detectors.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["threshold"], row["kind"]) == (module.TUNED, "pea-steps")]
    for name in DETECTORS:
        of = [row for row in rows if row["detector"] == name]
        flagged, right, targets = (
            sum(int(row[key]) for row in of) for key in ("flagged items", "targets flagged", "targets")
        )
        f1 = sum(float(row["f1"]) for row in of) / len(of)
        line = next(
            line for line in shown.splitlines() if line.startswith(f"| {module.TUNED} | {name} |") and "/" in line
        )
        assert line.endswith(f" {right / flagged:.2f} / {right / targets:.2f} / {f1:.2f} |")
