"""Victims by name."""

import pytest

from recbole_attack import AttackConfig
from recbole_attack.model import HOSTS, MODELS, BERT4Rec, SASRec, base_name, find_model
from recbole_attack.model.adapter import Adapted
from recbole_attack.utils.errors import ConfigError


def test_our_own_models_come_before_recboles():
    assert find_model("SASRec") is SASRec and find_model("BERT4Rec") is BERT4Rec
    assert all(model.__name__ == name for name, model in MODELS.items())
    assert list(MODELS)[:3] == ["SASRec", "BERT4Rec", "GRU4Rec"]


def test_the_others_are_recboles_unchanged():
    others = {name: model for name, model in MODELS.items() if issubclass(model, Adapted)}
    assert {"NARM", "STAMP", "SINE", "LightSANs"} <= set(others) <= set(HOSTS)
    assert all(issubclass(model, HOSTS[name]) for name, model in others.items())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Caser", "forward takes (user, item_seq), expected (item_seq, item_seq_len)"),
        ("SASRecF", "reads side inputs (selected_features)"),
        ("GRU4RecKG", "reads side inputs (get_preload_weight)"),
        ("Bert4Rec", "did you mean 'BERT4Rec'?"),
        ("narm", "did you mean 'NARM'?"),
        (3, "must be a name or a sequential recommender"),
        (dict, "must be a name or a sequential recommender"),
    ],
)
def test_what_cannot_be_attacked_is_refused_with_the_reason(name, words):
    with pytest.raises(ConfigError) as error:
        find_model(name)
    assert words in str(error.value)


def test_a_derived_class_has_the_name_of_its_model():
    class Derived(MODELS["NARM"]):
        pass

    assert find_model(Derived) is Derived
    assert base_name(Derived) == "NARM"


@pytest.mark.parametrize(("name", "loss"), [("BERT4Rec", "BCE"), ("BERT4Rec", "BPR"), ("NARM", "BCE")])
def test_the_loss_must_be_one_the_model_has(name, loss):
    with pytest.raises(ConfigError, match=f"unknown loss_type '{loss}'"):
        AttackConfig(name, config_dict={"loss_type": loss})
