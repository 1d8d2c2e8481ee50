"""Which recipes are chosen by what is given, and which columns they need."""

from __future__ import annotations

import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES
from recbole_attack.config.defaults import ATTACKS_OF, chosen_recipes
from recbole_attack.config.options import SCENARIOS
from recbole_attack.utils.errors import ConfigError

DEFAULT = {"federated": "dvfsr", "central": "none", "pretrain": "bra", "recbole": "none"}


def chosen(**given):
    found = chosen_recipes(given)
    return found["scenario"], found["attack"]


def test_an_attack_of_a_provider_implies_the_scenario_and_no_other_does():
    assert chosen() == ("federated", "dvfsr")
    for attack in {**ATTACKS, **BACKDOORS}:
        expected = "pretrain" if attack in ("bra", "pea") else "federated"
        assert chosen(attack=attack) == (expected, attack)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("attack", [None, *{**ATTACKS, **BACKDOORS, **PROFILES}])
def test_a_scenario_takes_its_own_attacks_only(scenario, attack):
    if attack is None:
        assert chosen(scenario=scenario) == (scenario, DEFAULT[scenario])
    elif attack in ATTACKS_OF[scenario]:
        assert chosen(scenario=scenario, attack=attack) == (scenario, attack)
    else:
        home = "federated" if attack in ATTACKS else "pretrain" if attack in BACKDOORS else "recbole"
        with pytest.raises(ConfigError, match=f"attack '{attack}': expected scenario '{home}', found '{scenario}'"):
            chosen(scenario=scenario, attack=attack)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scenario": "pretrian"}, "did you mean 'pretrain'"),
        ({"attack": "pae"}, "unknown attack 'pae'"),
        ({"attack": 3}, "unknown attack '3'"),
        ({"aggregator": "man"}, "did you mean 'mean'"),
    ],
    ids=str,
)
def test_a_mistyped_recipe_is_refused_with_the_nearest(given, words):
    with pytest.raises(ConfigError, match=words):
        chosen_recipes(given)


def test_in_recboles_scenario_an_attack_has_the_parameters_of_its_profile():
    profile = AttackConfig("Pop", config_dict={"scenario": "recbole", "attack": "bandwagon", "popular_share": 0.3})
    assert profile["profile_size"] is None and profile["popular_share"] == 0.3
    with pytest.raises(ConfigError, match=r"unknown parameter 'attack_weight' .*read by .*attack bandwagon"):
        AttackConfig("Pop", config_dict={"scenario": "recbole", "attack": "bandwagon", "attack_weight": 2.0})
    with pytest.raises(ConfigError, match=r"unknown parameter 'profile_size' .*read by .*profile ra"):
        AttackConfig(config_dict={"attack": "ra", "profile_size": 3})
    clean = profile.replace(attack="none")
    assert not {"profile_size", "popular_share"} & clean.to_dict().keys()
    central = profile.replaced(scenario="federated", model="SASRec")
    assert "profile_size" not in central and "popular_share" not in central


def test_parameters_of_a_scenario_belong_to_it_alone():
    assert AttackConfig(config_dict={"attack": "bra"})["platform"] == "direct"
    with pytest.raises(ConfigError, match=r"unknown parameter 'platform' .*scenario federated"):
        AttackConfig(config_dict={"platform": "local"})


# Columns


INTER = {"inter": ["user_id", "item_id", "timestamp"]}


def columns(**given):
    return AttackConfig(config_dict={"scenario": "pretrain", "dataset": "tiny", **given})["load_col"]


def test_the_fields_of_groups_prompts_and_categories_are_loaded():
    assert columns() == {**INTER, "user": ["user_id", "age", "gender", "occupation"]}
    found = columns(target_group="gender=M & zip=3..5", prompt_fields=["age"], category_field="class")
    assert found == {**INTER, "user": ["user_id", "gender", "zip", "age"], "item": ["item_id", "class"]}


@pytest.mark.parametrize("user", ["*", ["user_id", "age", "gender", "zip"]], ids=str)
def test_sufficient_columns_are_kept_as_given(user):
    given = {**INTER, "user": user}
    assert columns(load_col=given, prompt_fields=["age"], target_group="gender=F") == given


@pytest.mark.parametrize(
    ("given", "changes", "words"),
    [
        ({}, {}, r"load_col must list user_id, age for \.user: found none"),
        ({"user": ["user_id"]}, {}, r"load_col must list user_id, age for \.user: found user_id"),
        ({"user": ["age"]}, {}, r"load_col must list user_id, age for \.user: found age"),
        ({"user": "*"}, {"category_field": "class"}, r"load_col must list item_id, class for \.item: found none"),
    ],
    ids=str,
)
def test_columns_that_leave_out_what_is_needed_are_refused(given, changes, words):
    with pytest.raises(ConfigError, match=words):
        columns(load_col={**INTER, **given}, prompt_fields=["age"], **changes)


@pytest.mark.parametrize(
    ("there_is_one", "given", "device", "tokens"),
    [
        (False, {}, "cpu", 2048),
        (True, {}, "cuda", 65536),
        (True, {"use_gpu": False}, "cpu", 2048),
        (True, {"gpu_id": ""}, "cpu", 2048),
        (True, {"chunk_tokens": 77}, "cuda", 77),
        (False, {"chunk_tokens": "~"}, "cpu", 2048),
        (True, {"chunk_tokens": None, "scenario": "central"}, "cuda", 65536),
    ],
)
def test_what_is_empty_follows_from_the_device_and_is_kept(monkeypatch, there_is_one, given, device, tokens):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_one)
    config = AttackConfig(config_dict=given)
    assert (config["device"].type, config["chunk_tokens"]) == (device, tokens)
    assert ("chunk_tokens" in config.changed()) == (tokens == 77)
    assert config.to_dict()["chunk_tokens"] == tokens, "what config.yaml holds"
    for elsewhere in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=elsewhere: found)
        assert AttackConfig(config_dict=config.to_dict())["chunk_tokens"] == tokens
