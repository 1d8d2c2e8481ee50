"""What may be said of a rule, and the rows that follow."""

from __future__ import annotations

import pytest

from recbole_attack.attack import ATTACKS
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS
from recbole_attack.evaluation.cases import CLEAN, MEAN, RECIPES, cases_of, read_subject, rows_of
from recbole_attack.evaluation.ensemble import read_ensemble
from recbole_attack.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": 3}, "an evaluation fixes all but the rule: .* found 'epochs'"),
        ({"target_items": "popular:1"}, "found 'target_items'"),
        ({"agregator": "median"}, "found 'agregator'; did you mean 'aggregator'?"),
        ({"aggregator": "medain"}, "unknown aggregator 'medain': .* did you mean 'median'?"),
        ({"aggregator": "median", "byzantine_ratio": 0.1}, "found 'byzantine_ratio'"),
        ({"attack": "none"}, "unknown attack 'none'"),
        ({"score_margin": 1}, "found 'score_margin'"),
    ],
    ids=["victim", "threat", "mistyped", "rule", "of another rule", "no attack", "of no attack"],
)
def test_only_the_rule_may_be_changed(given, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        read_subject(given)


@pytest.mark.parametrize("taken", ["gradient_scale", "epochs", "eval_users"])
def test_a_rule_from_outside_cannot_bring_another_evaluation_as_parameters_of_its_own(written, monkeypatch, taken):
    ensemble = read_ensemble(written())
    monkeypatch.setitem(AGGREGATORS, "foreign", AGGREGATORS["mean"])
    monkeypatch.setitem(REGISTERED, "defense/foreign", {"its_own": 1})
    assert rows_of(ensemble, read_subject({"aggregator": "foreign", "its_own": 2}))
    monkeypatch.setitem(REGISTERED, "defense/foreign", {"its_own": 1, taken: 1})
    with pytest.raises(ConfigError, match=f"'foreign' has a parameter that an evaluation fixes: .* found {taken}"):
        rows_of(ensemble, read_subject({"aggregator": "foreign"}))


def test_no_attack_of_the_evaluation_sets_a_parameter_of_a_rule_and_none_of_ones_own_does(written, monkeypatch):
    ensemble = read_ensemble(written())
    monkeypatch.setitem(AGGREGATORS, "foreign", AGGREGATORS["mean"])
    monkeypatch.setitem(REGISTERED, "defense/foreign", {"sampled_histories": 500})
    with pytest.raises(ConfigError, match=r"aggregator 'foreign' has a parameter .* found sampled_histories"):
        rows_of(ensemble, read_subject({"aggregator": "foreign", "sampled_histories": 300}))
    monkeypatch.setitem(ATTACKS, "own", ATTACKS["margin"])
    monkeypatch.setitem(REGISTERED, "attack/own", {"clip_norm": 1000.0})
    assert rows_of(ensemble, read_subject({"attack": "own", "aggregator": "median"}))
    with pytest.raises(ConfigError, match=r"attack 'own' has a parameter .* found clip_norm"):
        rows_of(ensemble, read_subject({"attack": "own", "aggregator": "norm_clipping"}))
    every = read_ensemble("plus").attacks.values()
    for folder, table in RECIPES.values():
        assert not {key for name in table if name != "foreign" for key in load_defaults(f"{folder}/{name}")} & {
            key for of in every for key in of
        }


def test_texts_are_read_as_on_a_command_line():
    found = read_subject({"aggregator": "krum", "byzantine_ratio": "0.1", "per_item": "True", "dataset": "012"})
    assert found.rule == {"aggregator": "krum", "per_item": True, "byzantine_ratio": 0.1}
    assert found.setting == {"dataset": "012"} and found.kind == "rule"
    assert (found.name, found.slug) == (
        "krum, per_item True, byzantine_ratio 0.1",
        "krum-per_item-True-byzantine_ratio-0.1-012",
    )


def test_every_row_is_the_rule_under_one_attack_and_the_mean_stands_beside_it(written):
    ensemble, subject = (
        read_ensemble(written(seeds=[1, 2])),
        read_subject({"aggregator": "median", "learning_rate": 0.1}),
    )
    rows = {row.name: row.parameters for row in rows_of(ensemble, subject)}
    assert list(rows)[:2] == [MEAN, CLEAN] and len(rows) == 2 + 2 * 2
    assert rows[MEAN]["aggregator"] == "mean" and "learning_rate" not in rows[MEAN]
    assert {row["aggregator"] for name, row in rows.items() if name != MEAN} == {"median"}
    for case in cases_of(ensemble, subject):
        row = rows[case.row]
        assert (row["attack"], row["target_items"], row["malicious_ratio"]) == (case.attack, case.target, case.ratio)
        assert row["norm_budget"] == {"norm": 0.5, "free": None}[case.board] and row["learning_rate"] == 0.1
    assert {row.seeds for row in rows_of(ensemble, subject)} == {(1, 2)}


def test_targets_may_take_the_seeds_in_turn_and_all_that_is_without_an_attack_has_every_seed(written):
    targets = [f"stratified:3:{place}" for place in (1, 2, 3)]
    board = {"norm_budget": None, "malicious_ratio": [0.1, 0.2], "targets": targets}
    ensemble = read_ensemble(written(seeds=[7, 8], one_seed_a_target=True, boards={"free": board}))
    rows = rows_of(ensemble, read_subject({}))
    assert {row.seeds for row in rows if row.name in (MEAN, CLEAN)} == {(7, 8)}
    seeds = {row.parameters["target_items"]: row.seeds for row in rows[2:]}
    assert seeds == dict(zip(targets, [(7,), (8,), (7,)], strict=True)) and len(rows) == 2 + 2 * 2 * 3


def test_an_attack_of_ones_own_stands_in_for_the_ensemble(written):
    subject = read_subject({"attack": "eb", "attack_weight": "2"})
    found = cases_of(read_ensemble(written()), subject)
    assert (subject.kind, subject.name) == ("attack", "eb, attack_weight 2 under mean")
    assert {case.attack for case in found} == {"eb"} and len(found) == 2
