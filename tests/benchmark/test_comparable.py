"""Rows whose numbers answer different questions do not stand in one table unless told to."""

from __future__ import annotations

import copy

import pytest

from recbole_attack.benchmark.comparable import ASPECTS, check_comparable
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import ConfigError


@pytest.fixture
def record(config):
    """What a record says of its run, without having trained one."""

    def made(**changes):
        experiment = prepare_training(config(malicious_ratio=0.1, **changes))
        return copy.deepcopy(
            {
                "config": experiment.config.to_dict(),
                "dataset": experiment.describe_data(),
                "budget": experiment.describe_threat(),
            }
        )

    return made


@pytest.fixture
def rows(record):
    first = record(attack="ra")
    return {"RA": [first], "RA again": [copy.deepcopy(first)]}


CHANGES = {
    "dataset": lambda r: r["dataset"]["sha256"].update({"tiny.inter": "0" * 64}),
    "filters": lambda r: r["config"].update(user_inter_num_interval="[5,inf)"),
    "platform_users": lambda r: r["config"].update(platform_users="random:0.5"),
    "split": lambda r: r["config"].update(eval_args={"split": {"LS": "test_only"}}),
    "candidates": lambda r: r["config"].update(exposure_candidates=1000),
    "mask_history": lambda r: r["config"].update(mask_history=False),
    "eval_users": lambda r: r["config"].update(eval_users=100),
    "valid_metric": lambda r: r["config"].update(valid_metric="Hit@10"),
    "evaluator": lambda r: r.update(evaluator=2),
    "targets": lambda r: r["config"].update(target_items="popular:1"),
    "target_group": lambda r: r["config"].update(target_group="gender=F"),
    "knowledge": lambda r: r["budget"]["knowledge"].append("popularity of items"),
    "malicious_share": lambda r: r["budget"].update(malicious_share=0.2),
    "malicious_clients": lambda r: r["budget"].update(mode="compromise"),
    "gradient_scale": lambda r: r["budget"].update(gradient_scale=10.0),
    "norm_budget": lambda r: r["budget"].update(norm_budget=0.0),
    "claimed_interactions": lambda r: r["budget"].update(claimed_interactions="round"),
}


def test_every_aspect_is_tried():
    assert CHANGES.keys() == ASPECTS.keys()


@pytest.mark.parametrize("aspect", CHANGES)
def test_a_difference_is_named_with_its_rows_unless_it_is_wanted(rows, aspect):
    check_comparable(rows)
    if aspect in {"target_group", "platform_users"}:
        rows["RA"][0]["config"][aspect] = "all"
    CHANGES[aspect](rows["RA again"][0])
    with pytest.raises(ConfigError, match=rf"expected one {aspect}, found {aspect}: ") as raised:
        check_comparable(rows)
    assert "(RA)" in str(raised.value) and "(RA again)" in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value).endswith(f"--may_differ {aspect}")
    others = [name for name in ASPECTS if name != aspect]
    with pytest.raises(ConfigError):
        check_comparable(rows, may_differ=others)
    check_comparable(rows, may_differ=[aspect])


def test_all_that_differs_is_said_at_once_and_can_be_let_through(rows):
    for change in (CHANGES["candidates"], CHANGES["malicious_share"]):
        change(rows["RA again"][0])
    words = r"found candidates: \"full\" \(RA\), 1000 \(RA again\); malicious_share: 0.1 \(RA\), 0.2 \(RA again\)"
    with pytest.raises(ConfigError, match=words):
        check_comparable(rows)
    check_comparable(rows, may_differ=["malicious_share", "candidates"])


def test_seeds_of_one_row_have_to_be_alike_too(rows):
    CHANGES["mask_history"](rows["RA again"][0])
    with pytest.raises(ConfigError, match=r"mask_history: true \(RA\), false \(RA\)"):
        check_comparable({"RA": [*rows["RA"], *rows["RA again"]]})


def test_a_row_without_an_attack_has_no_budget_that_could_differ(rows, record):
    check_comparable({**rows, "clean": [record(attack="none")], "central": [record(scenario="central")]})
    with pytest.raises(ConfigError, match="expected one mask_history, found"):
        check_comparable({**rows, "clean": [record(attack="none", mask_history=False)]})


def test_what_decides_nothing_may_differ(rows, record):
    changed = record(attack="ra", seed=7, epochs=9, learning_rate=0.1, aggregator="median", hidden_size=16)
    check_comparable({**rows, "another victim": [changed]})


def test_attacks_with_other_knowledge_do_not_compare(rows, record):
    with pytest.raises(ConfigError, match=r"expected one knowledge, found knowledge: .*\(RA, RA again\), .*\(B"):
        check_comparable({**rows, "Bandwagon": [record(attack="bandwagon")]})


def test_what_differs_is_said_and_not_what_rows_share_before_it(rows, record):
    """Lists of knowledge begin alike, and are longer than a message has room for."""
    popular = record(attack="popular")
    popular["budget"]["knowledge"] += [f"fact {number} of the world" for number in range(30)]
    again = copy.deepcopy(popular)
    again["budget"]["knowledge"].append("zzz")
    words = r'found knowledge: \[\] \(RA, RA again\), \["fact 0 .*\.\.\. \(popular\)'
    with pytest.raises(ConfigError, match=words):
        check_comparable({**rows, "popular": [popular]})
    with pytest.raises(ConfigError, match=r'found knowledge: \[\] \(popular\), \["zzz"\] \(again\)\. '):
        check_comparable({"popular": [popular], "again": [again]})
    other = copy.deepcopy(popular)
    other["dataset"]["sha256"]["tiny.inter"] = "0" * 64
    with pytest.raises(ConfigError, match=r'dataset: \{"sha256": \{"tiny.inter": "[0-9a-f]{64}"\}\} \(popular\)'):
        check_comparable({"popular": [popular], "again": [other]})


def test_an_aspect_that_is_none_is_an_error(rows):
    with pytest.raises(ConfigError, match="did you mean 'mask_history'"):
        check_comparable(rows, may_differ=["mask_histori"])


def test_no_rows_compare():
    check_comparable({})
