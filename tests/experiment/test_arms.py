"""Arms trained alone: with no more parameters than they read they end as in the run they belong to, bit by bit."""

from __future__ import annotations

import pytest

from recbole_attack import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.options import SCENARIOS, WITHOUT_EFFECT
from recbole_attack.defense import DETECTORS
from recbole_attack.experiment import arm_parameters, prepare
from recbole_attack.quick_start import train_arm
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.files import plain

ATTACKER = {"malicious_ratio": 0.2, "gradient_scale": 3.0, "attack_weight": 2.0, "train_batch_size": 7}
FEDERATION = {"clients_per_round": 5, "local_epochs": 2, "client_weighting": "examples", "per_item": True}
RULES = {"aggregator": "trimmed_mean", "trim_ratio": 0.3, "client_defense": "adversarial_training", "backend": "loop"}
RUNS = {
    "federated": {**ATTACKER, "attack": "eb", "aggregator": "geometric_median", "weiszfeld_iterations": 9},
    "loud": {**ATTACKER, "attack": "ra", "norm_budget": 0.5},
    "adaptive": {
        **{**ATTACKER, "attack": "margin", "upload": "adaptive", "simulated_clients": 3, "tried_lengths": [0.1, 1.0]},
        **{"client_weighting": "examples", "claimed_interactions": "data"},
    },
    "compromise": {**ATTACKER, "attack": "ra", "malicious_clients": "compromise"},
    "central": {**FEDERATION, **RULES, "scenario": "central", "malicious_ratio": 0.2, "norm_budget": 0.5},
    "fake users": {
        **{"scenario": "recbole", "attack": "bandwagon", "malicious_ratio": 0.2, "malicious_seed": 3},
        **{"profile_size": 6, "popular_share": 0.5, "train_batch_size": 50, "gradient_scale": 2.0},
    },
    "central compromise": {
        **{"scenario": "central", "malicious_ratio": 0.2, "malicious_clients": "compromise", "malicious_seed": 7}
    },
}
PRETRAINED = {
    "bra": {**FEDERATION, **RULES, "attack": "bra", "platform": "fine_tune", "epochs": 7, "learning_rate": 0.5},
    "bra alone": {"attack": "bra", "replacement_ratio": 0.9, "compare_clean": False, "fake_tune_epochs": 5},
    "pea": {"attack": "pea", "three_steps": True, "replacement_ratio": 0.9, "fine_tune_epochs": 3},
    "none": {"attack": "none", "platform": "prompt_tune", "stopping_step": 1},
    "repaired": {
        **{"attack": "bra", "repair": "margin", "margin_index": 1.0, "local_train_learning_rate": 0.01},
        **{"repair_learning_rate": 0.02, "spectral_head": 0.5, "fine_tune_epochs": 3},
    },
    "local": {"attack": "bra", "platform": "local", "local_train_learning_rate": 0.01},
}


@pytest.fixture
def configured(small, pretrain):
    """``configured(name)``: one of the runs above."""

    def configured(name):
        make = pretrain if name in PRETRAINED else small
        return AttackConfig(config_dict=make(**{"epochs": 1, **{**RUNS, **PRETRAINED}[name]}))

    return configured


@pytest.mark.parametrize("name", [*RUNS, *PRETRAINED])
def test_every_arm_ends_as_in_its_run(configured, small, tmp_path, name):
    config = configured(name)
    experiment, alone = prepare(config), arm_parameters(config)
    assert list(alone) == list(experiment.arms())
    for arm, run in experiment.arms().items():
        outcome = run(tmp_path / "run" / arm, True, verbose=False)
        place = {"data_path": small()["data_path"], "show_progress": False}
        trained = train_arm({**alone[arm], **place}, arm, tmp_path / "alone")
        found = plain(outcome.report())
        assert {key: trained.record[key] for key in found} == found
        losses = [epoch["train_loss"] for epoch in outcome.history]
        assert [epoch["train_loss"] for epoch in trained.history] == losses and len(losses) >= 1
        assert trained.record["dataset"] == experiment.describe_data()


@pytest.mark.parametrize("name", [*RUNS, *PRETRAINED])
def test_the_parameters_of_an_arm_are_those_of_a_run_that_has_it(configured, small, name):
    for arm, parameters in arm_parameters(configured(name)).items():
        again = arm_parameters(AttackConfig(config_dict={**parameters, "data_path": small()["data_path"]}))
        assert again[arm] == parameters


def test_what_an_arm_does_not_read_is_left_out_and_no_more(configured):
    clean, attacked = arm_parameters(configured("federated")).values()
    attackers = {"malicious_ratio", "malicious_seed", "gradient_scale", "attack_weight"}
    assert clean.keys() == attacked.keys() - {*attackers, "claimed_interactions", "upload"}
    assert {key for key in clean if clean[key] != attacked[key]} == {"attack"}
    assert clean["weiszfeld_iterations"] == 9 and "train_batch_size" not in attacked
    assert "norm_budget" in arm_parameters(configured("loud"))["clean"], "it changes the order of sums"
    turned = arm_parameters(configured("compromise"))["clean"]
    assert turned["malicious_ratio"] == 0.2 and turned["malicious_clients"] == "compromise"
    alone = arm_parameters(configured("central compromise"))["clean"]
    assert alone["malicious_seed"] == 7, "who is malicious is not evaluated"


def test_clean_arms_beside_fake_users_are_those_of_a_run_without_an_attack(small):
    def arms(**changes):
        return arm_parameters(AttackConfig("SASRec", config_dict={**small(), "scenario": "recbole", **changes}))

    plain = arms(attack="none")
    one, other = arms(attack="segment", segment_items=0.2), arms(attack="ra", malicious_ratio=0.5, profile_size=4)
    assert one["clean"] == other["clean"] == plain["clean"] and one["attacked"] != other["attacked"]
    assert not {"malicious_ratio", "malicious_seed", "malicious_clients", "profile_size"} & plain["clean"].keys()
    assert other["attacked"]["malicious_ratio"] == 0.5 and other["attacked"]["profile_size"] == 4


def test_clean_arms_of_providers_are_shared_where_their_stages_are_the_same(pretrain):
    def arms(**changes):
        return arm_parameters(AttackConfig(config_dict=pretrain(**changes)))

    bra, none, pea = arms(attack="bra"), arms(attack="none"), arms(attack="pea", three_steps=True)
    assert bra["clean"] == none["clean"] != pea["clean"]
    assert bra["local"] == none["local"] == pea["local"] == arms(attack="bra", platform="fine_tune")["local"]
    assert arms(attack="pea", three_steps=True, replacement_ratio=0.1)["clean"] == pea["clean"]


def test_what_is_said_of_an_arm_later_decides_no_arm(pretrain):
    """Every parameter of a detector of this package: what detectors read is the same whatever they hold."""
    plain = arm_parameters(AttackConfig(config_dict=pretrain(attack="bra")))
    changes = {key: 0.25 for name in DETECTORS for key in load_defaults(f"detector/{name}")} | {"group_least": 3}
    assert len(changes) == 5
    assert arm_parameters(AttackConfig(config_dict=pretrain(attack="bra", **changes))) == plain


def test_every_scenario_says_what_it_does_not_read():
    assert WITHOUT_EFFECT.keys() == SCENARIOS.keys()


def test_an_arm_that_a_run_does_not_have_is_refused(small, tmp_path):
    with pytest.raises(
        ConfigError, match="arm must be one of clean, attacked: found 'atacked'; did you mean 'attacked'"
    ):
        train_arm(small(attack="ra"), "atacked", tmp_path)
