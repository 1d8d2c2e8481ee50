"""What tells rows apart, in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_attack.config.options import OPTIONS
from recbole_attack.evaluator.version import completed
from recbole_attack.report import settings
from recbole_attack.report.settings import _ASIDE, _DECIDED, distinguishing, is_clean_twin, label, named, parts, usual


def test_the_fewest_parameters_that_tell_rows_apart(made):
    rows = {
        "a": made("dvfsr", hidden_size=8),
        "b": made("eb", hidden_size=16),
        "c": made("eb", hidden_size=16, per_item=True),
    }
    assert distinguishing(rows) == {
        "a": {"attack": "dvfsr", "per_item": None},
        "b": {"attack": "eb", "per_item": None},
        "c": {"attack": "eb", "per_item": True},
    }


def test_what_is_off_or_does_nothing_equals_what_is_not_there(made):
    rows = {"old": made(), "new": made(per_item=False, norm_budget=None, gradient_scale=1.0)}
    del rows["old"]["config"]["client_defense"]
    assert distinguishing(rows) == {"old": {}, "new": {}}


def test_what_a_run_decides_by_itself_is_not_what_is_switched_off(made):
    optional = {key for key, option in OPTIONS.items() if option.kind is bool and option.optional}
    assert optional - _ASIDE == _DECIDED
    for key in _DECIDED:
        groups = named([made(**{key: None}), made(**{key: False}), made(**{key: True}), made()])
        assert sorted(map(len, groups.values())) == [1, 1, 2]


def test_every_parameter_that_training_reads_makes_a_row_of_its_own(made):
    """What is set aside is read by no trainer, attack or rule."""
    read = set()
    for room in ("trainer", "attack", "defense", "federated", "experiment", "model", "data"):
        for file in (Path(settings.__file__).parents[1] / room).rglob("*.py"):
            read |= set(re.findall(r"config\[\"(\w+)\"\]", file.read_text(encoding="utf-8")))
    harmless = {"seed", "data_path", "checkpoint_dir", "device", "show_progress", "compare_clean", "topk", "metrics"}
    harmless |= {"save_client_weights", "log_wandb", "wandb_project", "chunk_tokens"}
    assert read & _ASIDE <= harmless
    assert len(named([made("none", shuffle=True), made("none", shuffle=False)])) == 2


def test_a_share_means_nothing_without_an_attack(made):
    rows = {"none": made("none", malicious_ratio=0.2), "weak": made(malicious_ratio=0.2), "strong": made()}
    assert [row["malicious_ratio"] for row in distinguishing(rows).values()] == [None, 0.2, 0.05]


def test_a_parameter_that_older_records_do_not_know_yet_tells_nothing(made):
    old, new, switched = made(), made(train_rows="users"), made(train_rows="users", per_item=True)
    assert distinguishing({"old": old, "new": new}) == {"old": {}, "new": {}}
    assert distinguishing({"old": old, "switched": switched})["switched"] == {"per_item": True}
    assert list(distinguishing({"old": old, "new": new, "rows": made(train_rows="all")})["old"]) == ["train_rows"]


def test_a_rule_that_was_another_when_a_record_was_made_is_not_taken_for_todays(made):
    def record(attack="eb", **own):
        found = made(attack, aggregator="exposure_quota", **own)
        return {**found, "config": completed(found["config"])}

    first, today = {"quota_topk": 10}, {"quota_topk": 10, "quota_lengths": "log"}
    assert list(named([record(**first), record(**today)])) == ["eb", "quota_lengths log"]
    assert len(named([record(**first), record(**first, quota_lengths="even")])) == 1
    assert not is_clean_twin(record("none", **first), record(**today))
    assert not is_clean_twin(record("none"), record(**today))
    assert is_clean_twin(record("none", **today), record(**today))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"dataset": "ml-100k", "attack": "dvfsr", "malicious_ratio": 0.001}, "ml-100k, dvfsr, 0.1 %"),
        ({"attack": "none", "malicious_ratio": None}, "no attack"),
        ({"aggregator": "mean", "client_defense": "none", "per_item": True}, "mean, per_item"),
        ({"epochs": 40, "learning_rate": 0.1, "topk": [5, 10]}, "epochs 40, learning_rate 0.1, topk [5, 10]"),
    ],
)
def test_settings_in_words(settings, text):
    assert label(settings) == text


def test_the_usual_value_goes_without_saying_where_all_rows_have_one():
    rows = [{"epochs": 40, "attack": "eb"}, {"epochs": 40, "attack": "ra"}, {"epochs": 9, "attack": "ra"}]
    unsaid = usual(rows)
    assert unsaid == {"epochs": 40}
    assert [label(row, unsaid=unsaid) for row in rows] == ["eb", "ra", "epochs 9, ra"]
    assert usual([{"deep": True}, {"deep": True}, {"deep": None}]) == {}


def test_parameters_of_a_rule_stand_with_it_and_others_with_the_attack(made):
    records = [
        made("dvfsr", attack_weight=1),
        made("dvfsr", attack_weight=2),
        made("eb"),
        made("dvfsr", attack_weight=1, aggregator="krum", byzantine=1),
        made("dvfsr", attack_weight=1, aggregator="krum", byzantine=2),
    ]
    settings = distinguishing({str(number): record for number, record in enumerate(records)})
    found = parts(list(zip(settings.values(), records, strict=True)))
    assert found == {"place": [], "rule": ["aggregator", "byzantine"], "attack": ["attack", "attack_weight"]}
