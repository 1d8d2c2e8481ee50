"""Attacks, rules and models of one's own: known by name everywhere, with defaults that are checked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.loss import BPRLoss
from torch import nn

from recbole_attack import (
    AttackConfig,
    load_data_and_model,
    register_aggregator,
    register_attack,
    register_model,
    run_recbole_attack,
)
from recbole_attack.attack import ATTACKS
from recbole_attack.attack.recipes import ra
from recbole_attack.commands.catalogue import listing
from recbole_attack.config.defaults import REGISTERED
from recbole_attack.defense import AGGREGATORS
from recbole_attack.defense.aggregators import mean
from recbole_attack.model import MODELS, SASRec
from recbole_attack.utils.errors import ConfigError


@pytest.fixture(autouse=True)
def tidy():
    """What a test registers is gone after it."""
    tables = [ATTACKS, AGGREGATORS, MODELS, REGISTERED]
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
