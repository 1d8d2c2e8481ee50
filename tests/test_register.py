"""Attacks, rules and models of one's own: known by name everywhere, with defaults that are checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.loss import BPRLoss
from torch import nn

from recbole_attack import (
    AttackConfig,
    Option,
    load_data_and_model,
    register_aggregator,
    register_attack,
    register_backdoor,
    register_client_defense,
    register_detector,
    register_model,
    run_recbole_attack,
)
from recbole_attack.attack import ATTACKS, BACKDOORS
from recbole_attack.attack.backdoors import bra
from recbole_attack.attack.recipes import ra
from recbole_attack.commands.catalogue import listing
from recbole_attack.commands.parts import parts_called
from recbole_attack.commands.usage import usage
from recbole_attack.config.knowledge import knowledge_levels
from recbole_attack.config.registered import REGISTERED, REGISTERED_CODE, REGISTERED_OPTIONS
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, DETECTORS
from recbole_attack.defense.aggregators import mean
from recbole_attack.defense.client_defenses import adversarial_training
from recbole_attack.defense.detection import excess_tail
from recbole_attack.model import MODELS, SASRec
from recbole_attack.stages import FINE_TUNE, JOINT, PRE_TRAIN, PROVIDERS, plans
from recbole_attack.utils.errors import ConfigError


@pytest.fixture(autouse=True)
def tidy():
    """What a test registers is gone after it."""
    tables = [ATTACKS, BACKDOORS, PROVIDERS, AGGREGATORS, CLIENT_DEFENSES, DETECTORS, MODELS]
    tables += [REGISTERED, REGISTERED_OPTIONS, REGISTERED_CODE]
    before = [dict(table) for table in tables]
    yield
    for table, values in zip(tables, before, strict=True):
        table.clear()
        table.update(values)


def louder(config):
    """Random profiles, weighted."""
    return replace(ra(config), weight=config["loudness"])


class Mean(SequentialRecommender):
    """The mean of the items so far, on RecBole's classes alone."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.loss_type = config["loss_type"]
        self.item_embedding = nn.Embedding(self.n_items, config["size"], padding_idx=0)
        self.loss_fct = BPRLoss() if self.loss_type == "BPR" else nn.CrossEntropyLoss()

    def forward(self, item_seq, item_seq_len):
        return self.item_embedding(item_seq).sum(dim=1) / item_seq_len[:, None]

    def calculate_loss(self, interaction):
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        if self.loss_type == "CE":
            return self.loss_fct(state @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])
        items = (self.item_embedding(interaction[field]) for field in (self.POS_ITEM_ID, self.NEG_ITEM_ID))
        return self.loss_fct(*((state * item).sum(dim=1) for item in items))

    def full_sort_predict(self, interaction):
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return state @ self.item_embedding.weight.T


class Scaled(SASRec):
    """SASRec with a parameter of its own."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scale = config["scale"]

    def embed(self, item_seq):
        return super().embed(item_seq) * self.scale


def test_an_attack_of_ones_own_runs_under_its_name_with_its_defaults(small):
    register_attack("louder", louder, {"attack_weight": 1.0, "loudness": 1.0})
    one, own = (run_recbole_attack(config_dict=small(attack=name), saved=False) for name in ("ra", "louder"))
    loud = run_recbole_attack(config_dict=small(attack="louder", loudness=50.0), saved=False)
    assert one["attacked"] == own["attacked"] != loud["attacked"]
    assert "louder" in listing() and "Random profiles, weighted." in listing()
    with pytest.raises(ConfigError, match="loudness must be float"):
        AttackConfig(config_dict={"attack": "louder", "loudness": "very"})
    with pytest.raises(ConfigError, match="unknown parameter 'loudness'"):
        AttackConfig(config_dict={"attack": "ra", "loudness": 2.0})


def test_a_rule_of_ones_own_runs_under_its_name(small):
    register_aggregator("average", mean)
    one, own = (run_recbole_attack(config_dict=small(aggregator=name), saved=False) for name in ("mean", "average"))
    assert one["attacked"] == own["attacked"]


def test_a_model_of_recboles_kind_is_adapted_trained_and_loaded(small):
    register_model(Mean, {"size": 8, "loss_type": "BPR"})
    settings = small(model="Mean", attack="a_ra", epochs=1, MAX_ITEM_LIST_LENGTH=8)
    for key in set(settings) & {"hidden_size", "n_layers", "n_heads", "inner_size"}:
        del settings[key]
    result = run_recbole_attack(config_dict=settings)
    folder = result["result_file"].removesuffix("result.json")
    config, model, *_ = load_data_and_model(f"{folder}attacked/Mean.pth")
    assert config["model"] == "Mean" and isinstance(model, Mean)
    resumed = run_recbole_attack(resume=folder)
    assert resumed["attacked"] == result["attacked"]


def test_a_model_derived_from_ours_has_both_defaults(small):
    register_model(Scaled, {"scale": 1.0})
    plain, same, other = (
        run_recbole_attack(config_dict=small(model=name, **changes), saved=False)
        for name, changes in (("SASRec", {}), ("Scaled", {}), ("Scaled", {"scale": 3.0}))
    )
    assert plain["attacked"] == same["attacked"] != other["attacked"]


def test_names_of_this_package_stay_its_own_and_others_can_be_registered_again():
    for call in (lambda: register_attack("ra", louder), lambda: register_aggregator("mean", mean)):
        with pytest.raises(ConfigError, match="exists already"):
            call()
    with pytest.raises(ConfigError, match="exists already"):
        register_model(type("SASRec", (SASRec,), {}))
    register_attack("mine", louder, {"loudness": 1.0})
    register_attack("mine", ra)
    assert ATTACKS["mine"] is ra and REGISTERED["attack/mine"] == {}


def test_what_cannot_be_attacked_is_not_registered():
    class Other(Mean):
        def forward(self, user, item_seq):
            return self.item_embedding(item_seq)[:, 0]

    with pytest.raises(ConfigError, match=r"forward takes \(user, item_seq\)"):
        register_model(Other)
    with pytest.raises(ConfigError, match="sequential recommender"):
        register_model(torch.nn.Linear)
    assert "Other" not in MODELS


def test_a_client_defence_of_ones_own_runs_under_its_name(small):
    own = {"adversarial_steps": 1, "adversarial_step_size": 1.0, "adversarial_ratio": 0.5}
    register_client_defense("hardened", adversarial_training, own)
    settings = small(attack="none", epochs=1)
    one, same = (
        run_recbole_attack(config_dict={**settings, **changes}, saved=False)
        for changes in (
            {"client_defense": "adversarial_training", "adversarial_steps": 1},
            {"client_defense": "hardened"},
        )
    )
    plain = run_recbole_attack(config_dict=settings, saved=False)
    assert one["clean"] == same["clean"] != plain["clean"]


def test_a_part_that_forgets_to_return_is_no_run_without_it(small, pretrain):
    def forgot(*given):
        """Says nothing."""

    register_attack("mute", forgot)
    register_client_defense("idle", forgot)
    register_backdoor("shut", forgot)
    for run in (small(attack="mute"), small(attack="none", client_defense="idle"), pretrain(attack="shut")):
        with pytest.raises(ConfigError, match=r"'(mute|idle|shut)' must return .*: found None"):
            run_recbole_attack(config_dict=run, saved=False)


def test_an_attack_that_is_not_made_with_default_parameters_is_listed_all_the_same():
    register_attack(
        "picky", lambda config: ATTACKS["ra"](config) if config["malicious_clients"] == "compromise" else 1 / 0
    )
    assert knowledge_levels()["picky"] is None and "picky" in listing()


@pytest.mark.parametrize(("scenario", "base"), [("federated", SASRec), ("recbole", SequentialRecommender)])
def test_a_class_with_the_name_of_a_model_is_not_taken_for_it(scenario, base):
    own = type("SASRec", (base,), {"__module__": "mine"})
    with pytest.raises(ConfigError, match=r"model mine\.SASRec: expected another name"):
        AttackConfig(model=own, config_dict={"scenario": scenario})
    assert AttackConfig(model=SASRec).model_class is SASRec


def test_a_backdoor_of_ones_own_runs_under_its_name_in_its_stages(pretrain):
    defaults = {"replacement_ratio": 0.5, "replacement_negatives": "sampled"}
    register_backdoor("swap", bra, defaults)
    one, own = (run_recbole_attack(config_dict=pretrain(attack=name), saved=False) for name in ("bra", "swap"))
    assert one["attacked"] == own["attacked"]
    assert AttackConfig(config_dict={"attack": "swap"})["scenario"] == "pretrain", "as for this package's own"
    register_backdoor("shipped", bra, defaults, stages=[replace(JOINT, poisoned=True)])
    shipped, pea = (
        plans({"attack": name, "platform": "fine_tune", "compare_clean": True, "three_steps": False})
        for name in ("shipped", "pea")
    )
    assert shipped == pea


@pytest.mark.parametrize("stages", [[], [PRE_TRAIN], [replace(FINE_TUNE, poisoned=True)]], ids=len)
def test_a_backdoor_acts_in_a_stage_of_the_provider(stages):
    with pytest.raises(ConfigError, match="expected stages of the provider, one of them poisoned"):
        register_backdoor("nowhere", bra, stages=stages)
    with pytest.raises(ConfigError, match=r"unknown stage 'pre_trian': .*did you mean 'pre_train'"):
        register_backdoor("nowhere", bra, stages=[replace(PRE_TRAIN, name="pre_trian", poisoned=True)])
    assert "nowhere" not in BACKDOORS


def test_a_detector_of_ones_own_looks_at_every_model_with_its_parameters(pretrain):
    def tail(evidence, seed, tail_rate):
        """Excess, at a rate of one's own."""
        return excess_tail(evidence, seed, tail_rate)

    rate = Option("rate of false alarms", float, above=0.0, high=1.0)
    register_detector("tail", tail, {"tail_rate": 0.05}, {"tail_rate": rate})
    config = AttackConfig(config_dict=pretrain())
    assert config["tail_rate"] == 0.05
    assert "tail_rate" not in config.replace(scenario="central", attack="none").to_dict()
    with pytest.raises(ConfigError, match="tail_rate must be a number above 0 and at most 1: found 2"):
        AttackConfig(config_dict=pretrain(tail_rate=2))
    with pytest.raises(ConfigError, match=r"unknown parameter 'tail_rate' .*read by detector tail"):
        AttackConfig(config_dict={"attack": "ra", "tail_rate": 0.1})
    seen = []

    def watch(evidence, seed, tail_rate):
        seen.append((seed, tail_rate))
        return excess_tail(evidence, seed)

    register_detector("watch", watch, {"tail_rate": 0.05})
    result = run_recbole_attack(config_dict=pretrain(attack="none", tail_rate=0.5, seed=7))
    (detection,) = json.loads(Path(result["result_file"]).read_text())["detection"].values()
    assert seen == [(7, 0.5)]
    assert detection["watch"] == detection["excess_tail"]
    assert detection["tail"]["flagged"] >= detection["excess_tail"]["flagged"]


REGISTER = {
    "attack": lambda *given: register_attack("own", louder, *given),
    "backdoor": lambda *given: register_backdoor("own", bra, *given),
    "aggregator": lambda *given: register_aggregator("own", mean, *given),
    "client_defense": lambda *given: register_client_defense("own", adversarial_training, *given),
    "detector": lambda *given: register_detector("own", excess_tail, *given),
    "model": lambda *given: register_model(Scaled, *given),
}
LOUD = Option("how loud it is", float, above=0.0, high=9.0)
NAMED = Option("whose", names=True)
CHOSEN = {
    "attack": {"attack": "own"},
    "backdoor": {"attack": "own"},
    "aggregator": {"aggregator": "own"},
    "client_defense": {"client_defense": "own"},
    "detector": {"scenario": "pretrain"},
    "model": {"model": "Scaled"},
}


@pytest.mark.parametrize("kind", REGISTER)
def test_the_options_of_every_kind_of_part_are_read_checked_and_shown(kind, tmp_path):
    REGISTER[kind]({"loudness": 2.0, "whose": "nobody"}, {"loudness": LOUD, "whose": NAMED})
    assert AttackConfig(config_dict=CHOSEN[kind])["loudness"] == 2.0
    with pytest.raises(ConfigError, match="loudness must be a number above 0 and at most 9: found 10"):
        AttackConfig(config_dict={**CHOSEN[kind], "loudness": 10})
    file = tmp_path / "one.yaml"
    file.write_text("whose: 012\n")
    assert AttackConfig(config_file_list=[str(file)], config_dict=CHOSEN[kind])["whose"] == "012"
    assert AttackConfig(config_dict={**CHOSEN[kind], "whose": "012"})["whose"] == "012"
    (shown,) = parts_called(CHOSEN[kind].get("model", "own"))
    expected = {"default": 2.0, "expected": "a number above 0 and at most 9", "help": "how loud it is"}
    assert (shown["kind"], shown["parameters"]["loudness"]) == (kind, expected)
    assert "--loudness                   how loud it is (a number above 0 and at most 9; default 2.0 (" in usage()
    assert f"  {shown['name']:<22}{shown['summary']}" in listing()


@pytest.mark.parametrize("kind", REGISTER)
@pytest.mark.parametrize(
    ("defaults", "options", "words"),
    [
        ({}, {"loudness": LOUD}, "option 'loudness' of .*expected its default value among the defaults, found none"),
        ({"loudness": -1.0}, {"loudness": LOUD}, "loudness must be a number above 0"),
        ({"epochs": 3}, {"epochs": LOUD}, "option 'epochs' of .*found one with another check"),
        ({"data_path": ""}, {"data_path": LOUD}, "option 'data_path' of .*found one with another check"),
        ({"shared": 1.0}, {"shared": LOUD}, "option 'shared' of .*found one with another check"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused_and_nothing_is_registered(kind, defaults, options, words):
    register_attack("other", louder, {"shared": 1}, {"shared": Option("something else", int)})
    before = dict(REGISTERED)
    with pytest.raises(ConfigError, match=words):
        REGISTER[kind](defaults, options)
    assert before == REGISTERED and "own" not in {**ATTACKS, **BACKDOORS, **AGGREGATORS, **CLIENT_DEFENSES, **DETECTORS}


def test_an_option_may_be_shared_and_changes_when_its_part_is_registered_again():
    for name in ("one", "other"):
        register_attack(name, louder, {"loudness": 1.0}, {"loudness": LOUD})
    with pytest.raises(ConfigError, match="another check"):
        register_attack("other", louder, {"loudness": 1.0}, {"loudness": replace(LOUD, high=2.0)})
    register_attack("one", louder)
    register_attack("other", louder, {"loudness": 1.0}, {"loudness": replace(LOUD, high=2.0)})
    with pytest.raises(ConfigError, match="loudness must be a number above 0 and at most 2"):
        AttackConfig(config_dict={"attack": "other", "loudness": 3})


@pytest.mark.parametrize(
    "call",
    [
        lambda: register_backdoor("ra", bra),
        lambda: register_attack("bra", louder),
        lambda: register_client_defense("mean", adversarial_training),
        lambda: register_aggregator("adversarial_training", mean),
        lambda: register_client_defense("none", adversarial_training),
        lambda: register_detector("kmeans", excess_tail),
    ],
)
def test_parts_that_share_a_folder_of_defaults_do_not_share_a_name(call):
    with pytest.raises(ConfigError, match="exists already"):
        call()


@pytest.mark.parametrize("name", ["", "a/b", "a\\b"])
def test_a_name_is_part_of_file_names(name):
    with pytest.raises(ConfigError, match="expected a name without slashes"):
        register_attack(name, louder)


def test_defaults_are_a_mapping():
    with pytest.raises(ConfigError, match=r"attack 'louder': expected a mapping .* found \[1\]"):
        register_attack("louder", louder, [1])
