"""The analyses that notes of tables speak of: what they measure is what runs and slow readings say."""

from __future__ import annotations

import importlib
from itertools import product
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from recbole_attack import run_recbole_attack
from recbole_attack.data.sequences import from_pairs

SCRIPTS = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture
def script(monkeypatch):
    """``script(name)``: the module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def test_the_model_is_served_with_what_runs_serve_it_with(script, pretrain, experiment, tmp_path):
    given = {"attack": "pea", "metrics": ["Hit", "ER_In", "ER_Out", "Invisibility"], "valid_metric": "Hit@10"}
    module = script("prompts")
    found = dict(module.served(experiment(**given), [2, 1], tmp_path))
    assert list(found) == [
        *("none", "the provider's"),
        *(f"own, {count} epochs{start}" for count in (2, 1) for start in ("", ", same start")),
    ]
    platforms = {
        "none": {"platform": "direct", "three_steps": True},
        "own, 1 epochs": {"platform": "prompt_tune"},
        "own, 2 epochs": {"platform": "prompt_tune", "prompt_tune_epochs": 2},
    }
    for name, changes in platforms.items():
        parameters = pretrain(**given, compare_clean=False, **changes)
        result = run_recbole_attack(config_dict=parameters, saved=False)["attacked"]["test_result"]
        assert np.array_equal([found[name][m] for m in module.METRICS], [result[m] for m in module.METRICS], True)
    lengths = [prompted["norm"] for prompted in found.values() if "norm" in prompted]
    assert len(lengths) == 5 and len(set(lengths)) == 5, "every line is of prompts of its own"


def test_how_far_groups_are_apart(script):
    apart = script("prompts").apart
    points = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    inside = np.array([True, True, False, False])
    assert apart(points, inside) == apart(points, ~inside) == 4.0
    assert apart(7 * points + 3, inside) == pytest.approx(4.0), "neither scale nor place matter"
    assert apart(points, np.array([True, False, True, False])) == pytest.approx(1.0)


def test_histories_are_what_users_had(script):
    users, items = np.array([1, 1, 1, 2, 4, 4]), np.array([5, 2, 5, 3, 1, 3])
    found = script("group_from_history").histories(from_pairs(users, items, 5, 6)).toarray()
    assert {(u, i) for u, i in zip(*np.nonzero(found), strict=True)} == set(zip(users, items, strict=True))
    assert set(np.unique(found)) == {0.0, 1.0}


def test_a_group_is_told_by_an_item_it_alone_has_and_not_by_chance(script):
    module, rng = script("group_from_history"), np.random.default_rng(0)
    inside = np.arange(400) % 2 == 0
    noise = [rng.choice(np.arange(3, 30), 8, replace=False) for _ in inside]
    told = [[*row, 1 if member else 2] for row, member in zip(noise, inside, strict=True)]
    for rows, low, high in ((told, 0.99, 1.0), (noise, 0.35, 0.65)):
        users = np.repeat(np.arange(400), [len(row) for row in rows])
        aucs = module.folds(module.histories(from_pairs(users, np.concatenate(rows), 400, 30)), inside)
        assert len(aucs) == 5 and low <= np.mean(aucs) <= high


RUNS = ["aggregator", "per_item", "attack", "upload_search_gradient", "target_items", "malicious_ratio", "seed"]


def attacked_runs(exposures):
    """``(aggregator, per_item, attack, upload, target, share, seed) -> er@10`` as the script's frame."""
    lines = [{**dict(zip(RUNS, run, strict=True)), "er@10": er, "hit@10": 0.1} for run, er in exposures.items()]
    return pd.DataFrame(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_the_worst_case_is_over_what_every_rule_has_been_through(script, data):
    module = script("choosing_a_rule")
    rules = [("mean", False), ("mean", True), ("krum", False)]
    attacks = list(product(["eb", "dvfsr"], [False], ["1", "2"], [0.01, 0.001], [1, 2]))
    every = [(*rule, *attack) for rule, attack in product(rules, attacks)]
    ran = data.draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    exposures = {run: data.draw(st.floats(0, 1)) for run in ran}
    tried = {run[:2] for run in ran}
    shared = [attack for attack in attacks if all((*rule, *attack) in exposures for rule in tried)]
    frame = module.common(attacked_runs(exposures))
    assert sorted(map(tuple, frame[RUNS].to_numpy().tolist())) == sorted((*r, *a) for r, a in product(tried, shared))
    found = {(r.aggregator, r.per_item, r.malicious_ratio): r["er@10"] for _, r in module.worst(frame).iterrows()}
    expected = {}
    for rule, attack in product(tried, shared):
        place = (*rule, attack[3])
        expected[place] = max(expected.get(place, 0.0), exposures[(*rule, *attack)])
    assert found == expected


def test_a_rule_has_the_rate_that_validation_likes_best_and_the_seeds_that_all_have(script):
    clean = pd.DataFrame(
        [
            ("mean", False, 0.01, 1, 0.3, 0.10),
            ("mean", False, 0.01, 2, 0.1, 0.20),
            ("mean", False, 0.1, 1, 0.2, 0.40),
            ("mean", True, 0.1, 1, 0.2, 0.15),
            ("mean", True, 0.01, 1, 0.1, 0.30),
            ("mean", False, 0.01, 3, 0.1, 0.50),
            ("mean", True, 0.1, 2, 0.1, 0.25),
            ("mean", True, 0.01, 3, 0.1, 0.60),
        ],
        columns=["aggregator", "per_item", "learning_rate", "seed", "selected_by", "hit@10"],
    )
    found = script("choosing_a_rule").tuned(clean)
    assert sorted(found["hit@10"]) == [0.10, 0.15, 0.20, 0.25]


def test_the_page_on_rules_is_what_the_store_says(script, tmp_path, monkeypatch):
    root = SCRIPTS.parent
    monkeypatch.chdir(root)
    page = Path("docs/choosing-a-rule.md")
    places = ["experiments/choosing-a-rule", "results/store", "results/seconds-per-round.csv"]
    script("choosing_a_rule").main([*places, f"--out={tmp_path / 'page.md'}"])
    again = (tmp_path / "page.md").read_text(encoding="utf-8").replace(str(tmp_path / "page.md"), str(page))
    assert page.read_text(encoding="utf-8") == again
