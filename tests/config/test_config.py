"""AttackConfig: where parameters come from, what is refused, and that nothing leaks between configurations."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from recbole.utils import argument_list

from recbole_attack import AttackConfig
from recbole_attack.config.attack_config import DERIVED_KEYS
from recbole_attack.config.defaults import properties
from recbole_attack.config.idle import without_effect
from recbole_attack.config.options import UNSUPPORTED
from recbole_attack.config.values import parse_value
from recbole_attack.model import SASRec
from recbole_attack.utils.errors import ConfigError, DataError


@pytest.fixture
def yaml_file(tmp_path):
    """Write a configuration file; returns its path as a string."""

    def write(text: str, name: str = "given.yaml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# Defaults and priorities


def test_without_arguments_dvfsr_attacks_sasrec_on_ml_100k():
    config = AttackConfig()
    assert (config["model"], config["dataset"], config["attack"]) == ("SASRec", "ml-100k", "dvfsr")
    assert config["scenario"] == "federated"


def test_priorities_are_arguments_dict_later_file_earlier_file_defaults(yaml_file):
    first = yaml_file("model: Nonesuch\ndataset: one\nseed: 1\nepochs: 11\nhidden_size: 8\n", "1.yaml")
    second = yaml_file("dataset: two\nseed: 2\nepochs: 12\n", "2.yaml")
    config = AttackConfig("SASRec", "four", [first, second], {"dataset": "three", "seed": 3})
    assert [config[k] for k in ("model", "dataset", "seed", "epochs", "hidden_size")] == ["SASRec", "four", 3, 12, 8]
    default = yaml.safe_load((properties() / "overall.yaml").read_text())["topk"]
    assert config["topk"] == default


def test_own_defaults_win_over_recboles():
    config = AttackConfig()
    recbole = yaml.safe_load((Path(sys.modules["recbole"].__file__).parent / "properties/overall.yaml").read_text())
    assert recbole["metric_decimal_place"] == 4
    assert config["metric_decimal_place"] == 6


def test_the_command_line_is_not_read(monkeypatch, config):
    monkeypatch.setattr(sys, "argv", ["program", "--epochs=99", "--nonsense=1", "word"])
    assert config()["epochs"] == 2


@pytest.mark.parametrize("given_attack", ["ra", "none", "c_fsr"])
def test_only_the_chosen_attacks_parameters_are_loaded(config, given_attack):
    assert ("min_cosine" in config(attack=given_attack).to_dict()) is False
    with pytest.raises(ConfigError, match="unknown parameter 'min_cosine'"):
        config(attack=given_attack, min_cosine=0.1)


@pytest.mark.parametrize("given_aggregator", ["mean", "krum", "trimmed_mean"])
def test_only_the_chosen_aggregators_parameters_are_loaded(config, given_aggregator):
    assert "weiszfeld_start" not in config(aggregator=given_aggregator).to_dict()
    assert config(aggregator="mixed_rfa")["mean_share"] == 0.3
    with pytest.raises(ConfigError, match=f"unknown parameter 'mean_share'.*aggregator {given_aggregator}"):
        config(aggregator=given_aggregator, mean_share=0.1)


@pytest.mark.parametrize(
    ("aggregator", "changes"),
    [
        ("geometric_median", {"weiszfeld_start": "median"}),
        ("geometric_median", {"weiszfeld_iterations": 0}),
        ("geometric_median", {"weiszfeld_tolerance": -1e-3}),
        ("geometric_median", {"weiszfeld_smoothing": 0.0}),
        ("mixed_rfa", {"mean_share": 1.5}),
        ("mixed_rfa", {"mean_weights": "examples"}),
        ("trimmed_mean", {"trim_ratio": 0.6}),
        ("krum", {"byzantine_ratio": 0.7}),
        ("krum", {"byzantine_ratio": "half"}),
        ("multi_krum", {"krum_selected": 2.5}),
        ("norm_clipping", {"clip_norm": 0}),
    ],
)
def test_an_aggregators_parameters_are_checked(config, aggregator, changes):
    (name,) = changes
    with pytest.raises(ConfigError, match=name):
        config(aggregator=aggregator, **changes)


def test_another_attack_or_aggregator_drops_what_only_the_first_reads(config):
    first = config(aggregator="mixed_rfa", mean_share=0.5, attack="dvfsr", min_cosine=0.2)
    assert first.replace(epochs=3)["mean_share"] == 0.5
    second = first.replace(aggregator="krum", attack="ra").to_dict()
    assert not {"mean_share", "weiszfeld_start", "min_cosine"} & set(second)
    assert second["byzantine_ratio"] is None


def test_the_central_scenario_has_no_attack_unless_one_is_named(config):
    assert config(scenario="central")["attack"] == "none"


def test_a_model_class_is_taken_as_well_as_its_name(config, small):
    assert AttackConfig(model=SASRec, config_dict=small()).to_dict() == config().to_dict()


def test_a_class_derived_from_a_model_gets_that_models_defaults(small):
    class Derived(SASRec):
        pass

    config = AttackConfig(model=Derived, config_dict=small())
    assert config.model_class is Derived
    assert (config["model"], config["n_layers"], config["loss_type"]) == ("Derived", 2, "BCE")


# Copies of a configuration


def changed_everywhere(small):
    return small(
        attack="s_fsr",
        min_cosine=0.25,
        topk=[3, 10],
        target_items=["i1", "i2"],
        eval_args={"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"},
        exposure_candidates=5,
        lr_decay_step=3,
        user_inter_num_interval="[2,inf)",
    )


def test_to_dict_makes_the_same_configuration_again(small):
    config = AttackConfig(config_dict=changed_everywhere(small))
    values = config.to_dict()
    assert AttackConfig(config_dict=values).to_dict() == values
    assert {k: values[k] for k in ("attack", "min_cosine", "topk")} == {
        "attack": "s_fsr",
        "min_cosine": 0.25,
        "topk": [3, 10],
    }
    assert not DERIVED_KEYS & set(values)
    assert values["data_path"] == small()["data_path"]
    assert config["data_path"] == os.path.join(small()["data_path"], "tiny")


def test_to_dict_survives_a_yaml_file(config, yaml_file):
    values = config().to_dict()
    assert AttackConfig(config_file_list=[yaml_file(yaml.safe_dump(values))]).to_dict() == values


@pytest.mark.parametrize("key", ["user_inter_num_interval", "item_inter_num_interval"])
def test_a_closed_interval_from_a_file_survives_a_copy(small, yaml_file, key):
    file = yaml_file(f'{key}: "[2,50]"\n')
    config = AttackConfig(config_file_list=[file], config_dict=small())
    assert config.replace(attack="none")[key] == "[2,50]"


def test_replace_changes_what_it_is_given_and_drops_the_old_attacks_parameters(config):
    before = config(min_cosine=0.25, attack_weight=2.0)
    clean = before.replace(attack="none", checkpoint_dir="elsewhere")
    assert (clean["attack"], clean["checkpoint_dir"]) == ("none", "elsewhere")
    assert not {"min_cosine", "attack_weight"} & set(clean.to_dict())
    same = before.replace(attack="dvfsr", epochs=7)
    assert {k for k, v in same.to_dict().items() if before.to_dict()[k] != v} == {"epochs"}
    assert before["attack"] == "dvfsr"
    assert before["epochs"] == 2


def test_configurations_change_neither_their_arguments_nor_recbole_nor_each_other(small):
    lists = {k: list(v) for k, v in vars(argument_list).items() if isinstance(v, list)}
    argument = changed_everywhere(small)
    kept = copy.deepcopy(argument)
    first = AttackConfig(config_dict=argument)
    values = copy.deepcopy(first.to_dict())
    AttackConfig("SASRec", "ml-100k", None, {"attack": "ra", "topk": [10], "learning_rate": 0.5})
    assert argument == kept
    assert {k: list(v) for k, v in vars(argument_list).items() if isinstance(v, list)} == lists
    assert first.to_dict() == values
    assert AttackConfig(config_dict=argument).to_dict() == values
    assert AttackConfig()["topk"] != [10]


def test_without_the_gpu_everything_is_on_the_cpu(monkeypatch, config):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert config(use_gpu=False)["device"].type == "cpu"
    assert config(use_gpu=True)["device"].type == "cuda"


def test_numpys_removed_aliases_are_back_and_its_own_names_stay(monkeypatch, config):
    own = np.bool_
    monkeypatch.delattr(np, "float", raising=False)
    monkeypatch.delattr(np, "object", raising=False)
    config()
    assert np.float is float  # noqa: NPY001
    assert np.object is object  # noqa: NPY001
    assert np.bool_ is own


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("1e-3", 0.001),
        ("0.5", 0.5),
        ("[1,2]", [1, 2]),
        ("{'LS': 'valid_only'}", {"LS": "valid_only"}),
        ("'quoted'", "quoted"),
        ("None", None),
        ("null", None),
        ("~", None),
        ("none", "none"),
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("", ""),
        ("1-2", "1-2"),
        ("1/0", "1/0"),
        ("2**99999999", "2**99999999"),
        ("re.foo", "re.foo"),
        ("os", "os"),
        ("[0,inf)", "[0,inf)"),
        ("least_popular:1", "least_popular:1"),
        ("\x00", "\x00"),
        ("{[]: 1}", "{[]: 1}"),
        ("__import__('os').system('touch executed')", "__import__('os').system('touch executed')"),
        ("[c for c in ().__class__.__mro__]", ["c for c in ().__class__.__mro__"]),
    ],
)
def test_values_are_literals_or_text(text, value, tmp_path):
    parsed = parse_value(text)
    assert (parsed, type(parsed)) == (value, type(value))
    assert not list(tmp_path.iterdir())


@given(st.text() | st.text("0123456789[]{}()'\",:.+-*/eE_jx# \\\n", max_size=40))
@pytest.mark.filterwarnings("ignore")
def test_no_text_makes_parse_value_raise(text):
    parse_value(text)


def test_parse_value_bears_deep_nesting():
    text = "(" * 5000 + ")" * 5000
    assert parse_value(text) == text


def test_texts_in_the_dictionary_are_parsed_and_never_run(small, tmp_path):
    config = AttackConfig(config_dict=small(epochs="5", topk="[5, 10]", mask_history="false"))
    assert (config["epochs"], config["topk"], config["mask_history"]) == (5, [5, 10], False)
    with pytest.raises(ConfigError):
        AttackConfig(config_dict=small(epochs="__import__('os').mkdir('executed')"))
    assert not list(tmp_path.iterdir())


# Files


def test_yaml_numbers_are_read_as_recbole_reads_them_and_pyyaml_stays_as_it_was(yaml_file, small):
    file = yaml_file("learning_rate: 1e-3\nattack_weight: 2E+1\nlayer_norm_eps: .5\n")
    config = AttackConfig(config_file_list=[file], config_dict=small())
    assert (config["learning_rate"], config["attack_weight"], config["layer_norm_eps"]) == (0.001, 20.0, 0.5)
    assert yaml.safe_load("1e-3") == "1e-3"


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.mkdir ['executed']\n",
        "seed: !!python/name:os.system\n",
        "seed: !!python/object/new:dict [{}]\n",
        "seed: [1, 2\n",
        "a: b: c\n",
        "- seed\n- 1\n",
        "seed\n",
        "",
    ],
)
def test_files_that_are_no_plain_yaml_mapping_are_refused_unexecuted(text, yaml_file, tmp_path):
    file = yaml_file(text)
    with pytest.raises(DataError) as error:
        AttackConfig(config_file_list=[file])
    assert file in one_line(error)
    assert [p.name for p in tmp_path.iterdir()] == ["given.yaml"]


def test_a_file_that_is_no_utf_8_is_refused(tmp_path):
    file = tmp_path / "given.yaml"
    file.write_bytes(b"dataset: caf\xe9\n")
    with pytest.raises(DataError) as error:
        AttackConfig(config_file_list=[str(file)])
    assert str(file) in one_line(error)


def test_a_missing_file_is_refused_with_the_nearest_one(yaml_file, tmp_path):
    yaml_file("seed: 1\n", "steam.yaml")
    with pytest.raises(DataError, match=r"stem\.yaml not found; did you mean 'steam\.yaml'\?"):
        AttackConfig(config_file_list=[str(tmp_path / "stem.yaml")])


def test_a_file_is_checked_as_strictly_as_the_dictionary(yaml_file):
    with pytest.raises(ConfigError, match="epochs must be"):
        AttackConfig(config_file_list=[yaml_file("epochs: many\n")])
    with pytest.raises(ConfigError, match="unknown parameter 'epoch'"):
        AttackConfig(config_file_list=[yaml_file("epoch: 3\n")])


# What is refused


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"malicous_ratio": 0.1}, "malicious_ratio"),
        ({"learning_rat": 0.1}, "learning_rate"),
        ({"max_item_list_length": 5}, "MAX_ITEM_LIST_LENGTH"),
        ({"hiden_size": 5}, "hidden_size"),
        ({"model": "SASRecs"}, "SASRec"),
        ({"attack": "dvfrs"}, "dvfsr"),
        ({"attack": "DVFSR"}, "dvfsr"),
        ({"aggregator": "meen"}, "mean"),
        ({"scenario": "federatd"}, "federated"),
        ({"malicious_clients": "clones"}, "clone"),
        ({"backend": "vectorized"}, "vectorised"),
        ({"metrics": ["Hitt"], "valid_metric": "Hit@10"}, "hit"),
        ({"target_items": "least_poplar:1"}, "least_popular"),
        ({"eval_args": {"split": {"LS": "valid_and_tests"}, "order": "TO", "mode": "full"}}, "valid_and_test"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(config, changes, near):
    with pytest.raises(ConfigError) as error:
        config(**changes)
    assert f"did you mean '{near}'?" in one_line(error)


def test_an_unknown_parameter_without_a_near_one_is_refused_all_the_same(config):
    with pytest.raises(ConfigError) as error:
        config(zzzzzz=1)
    assert "unknown parameter 'zzzzzz'" in one_line(error)
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("compare_clean", "maybe"),
        ("compare_clean", 1),
        ("reproducibility", 0),
        ("epochs", "many"),
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", 0),
        ("epochs", None),
        ("seed", -1),
        ("seed", 2**32),
        ("stopping_step", "ten"),
        ("stopping_step", None),
        ("hidden_size", 8.0),
        ("hidden_size", None),
        ("learning_rate", "fast"),
        ("learning_rate", 0),
        ("learning_rate", False),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("malicious_ratio", 1.5),
        ("malicious_ratio", [0.1]),
        ("hidden_dropout_prob", "half"),
        ("learner", 3),
        ("checkpoint_dir", 3),
        ("checkpoint_dir", None),
        ("data_path", None),
        ("USER_ID_FIELD", ["user_id"]),
        ("valid_metric", 10),
        ("attack", ["dvfsr"]),
        ("attack", None),
        ("model", 5),
        ("metrics", 5),
        ("metrics", None),
        ("topk", None),
        ("topk", [10, "twenty"]),
        ("topk", [10, 2.5]),
        ("topk", [10, True]),
        ("topk", [10, 0]),
        ("target_items", ""),
        ("target_items", []),
        ("exposure_candidates", "some"),
        ("exposure_candidates", 0),
        ("exposure_candidates", True),
        ("eval_args", "full"),
        ("eval_args", None),
        ("load_col", ["user_id", "item_id", "timestamp"]),
    ],
)
def test_wrong_values_are_refused_by_name(config, key, value):
    with pytest.raises(ConfigError) as error:
        config(**{key: value})
    assert key in one_line(error)


@pytest.mark.parametrize("key", sorted(UNSUPPORTED))
def test_parameters_without_effect_are_refused_with_the_reason(config, key):
    value = {"dataset_save_path": "x.pth", "transform": "mask_itemseq", "train_neg_sample_args": {"sample_num": 2}}
    with pytest.raises(ConfigError) as error:
        config(**{key: value.get(key, ["train"] if key == "benchmark_filename" else True)})
    assert key in one_line(error)


def evaluation(**changes):
    return {
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"} | changes
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "central", "attack": "ra"}, "expected scenario 'federated'"),
        ({"malicious_ratio": 0}, "malicious_ratio must be above 0"),
        (evaluation(mode="uni100"), "exposure_candidates"),
        (evaluation(mode={"valid": "uni100", "test": "full"}), "exposure_candidates"),
        (evaluation(mode="labeled"), "'full'"),
        (evaluation(split={"RS": [0.8, 0.1, 0.1]}), "LS"),
        (evaluation(split={"LS": "valid_and_test", "RS": [0.8, 0.1, 0.1]}), "LS"),
        (evaluation(order="RO"), "TO"),
        ({"valid_metric": "MRR@10"}, "not measured"),
        ({"valid_metric": "NDCG@7"}, "not measured"),
        ({"metrics": ["ItemCoverage"], "valid_metric": "ItemCoverage"}, "did you mean 'ItemCoverage@5'"),
        ({"metrics": ["GAUC"], "valid_metric": "GAUC@10"}, "did you mean 'GAUC'"),
        ({"valid_metric": "NDCG"}, "NDCG"),
        ({"metrics": ["Hit"], "topk": 10}, "'NDCG@10' is not measured"),
        ({"metrics": []}, "not measured|metrics"),
        ({"topk": []}, "not measured|topk"),
        ({"topk": "ten"}, "not measured|topk"),
        ({"target_items": "popular:0"}, "popular:0"),
        ({"metrics": ["NDCG", "AUC"]}, "AUC|[Vv]alue"),
        ({"repeatable": False}, "repeatable"),
        ({"local_rank": 0}, "distributed"),
        ({"load_col": {"inter": ["user_id", "item_id"]}}, "timestamp"),
        ({"load_col": {"item": ["item_id"]}}, "timestamp"),
        ({"n_heads": 3}, "n_heads|hidden_size"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
        ({"hidden_act": "gelo"}, "hidden_act"),
    ],
    ids=str,
)
def test_impossible_combinations_are_refused(config, changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        config(**changes)
    one_line(error)


def test_without_malicious_clients_a_run_without_attack_is_possible(config):
    assert config(attack="none", malicious_ratio=0)["malicious_ratio"] == 0


@pytest.mark.parametrize("given_args", [{"split": {"LS": "valid_only"}}, {"mode": "full"}, {"order": "TO"}, {}])
def test_parts_of_eval_args_that_are_not_given_keep_their_defaults(config, given_args):
    expected = evaluation(mode={"valid": "full", "test": "full"})["eval_args"]
    if "split" in given_args:
        expected["split"] = given_args["split"]
    assert config(eval_args=given_args)["eval_args"] == expected


@pytest.mark.parametrize("topk", [10, [10], (10, 5), "10,5"])
def test_cut_offs_are_one_number_or_several(config, topk):
    expected = [10] if topk in (10, [10]) else [10, 5]
    assert list(config(topk=topk)["topk"]) == expected


# Columns


def test_the_time_field_is_loaded_though_recbole_leaves_it_out(config):
    assert config()["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert config(TIME_FIELD="when")["load_col"] == {"inter": ["user_id", "item_id", "when"]}


@pytest.mark.parametrize(
    "columns",
    [
        None,
        {"inter": "*"},
        {"inter": ["timestamp", "user_id", "item_id", "rating"], "item": ["item_id", "class"]},
    ],
)
def test_sufficient_columns_are_kept_as_given(config, columns):
    assert config(load_col=columns)["load_col"] == columns


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"byzantine_ratio": 0.3},
            "; read by aggregator bulyan, aggregator caf, aggregator dnc, aggregator krum, aggregator multi_krum",
        ),
        ({"attack": "ra", "min_cosine": 0.2}, "; read by attack dvfsr, attack s_fsr"),
        ({"adversarial_steps": 2}, "; read by client_defense adversarial_training"),
        ({"target_group": "gender=M"}, "; read by scenario pretrain"),
        ({"byzantine_rato": 0.3}, "unknown parameter 'byzantine_rato'"),
    ],
    ids=str,
)
def test_a_parameter_of_another_recipe_says_whose_it_is(given, words):
    with pytest.raises(ConfigError) as error:
        AttackConfig(config_dict=given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"attack": "bra", "epochs": 2, "malicious_ratio": 0.5, "pre_train_epochs": 3}, ["epochs", "malicious_ratio"]),
        ({"scenario": "central", "aggregator": "krum", "epochs": 3}, ["aggregator"]),
        ({"scenario": "central", "aggregator": "mean"}, []),
        ({"scenario": "central", "malicious_ratio": 0.5, "malicious_seed": 3}, ["malicious_ratio", "malicious_seed"]),
        ({"scenario": "central", "malicious_ratio": 0.5, "malicious_clients": "compromise"}, []),
        ({"attack": "bra", "malicious_clients": "compromise"}, ["malicious_clients"]),
        (
            {
                "scenario": "recbole",
                "model": "BPR",
                "attack": "ra",
                "malicious_ratio": 0.5,
                "norm_budget": 0.5,
                "train_rows": "prefixes",
            },
            ["norm_budget", "train_rows"],
        ),
        ({"aggregator": "krum", "epochs": 3, "train_batch_size": 7}, ["train_batch_size"]),
    ],
    ids=str,
)
def test_what_a_scenario_does_not_read_is_found(given, expected):
    config = AttackConfig(config_dict=given)
    assert list(without_effect(config)) == expected
    assert list(without_effect(AttackConfig(config_dict=config.to_dict()))) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"epochs": 40, "attack": "dvfsr", "scenario": "federated", "topk": [5, 10, 20, 30]}, {}),
        ({"epochs": 3, "attack": "ra", "verbose": "True"}, {"attack": "ra", "epochs": 3, "verbose": True}),
        ({"scenario": "pretrain", "attack": "bra", "topk": [5, 10]}, {"scenario": "pretrain"}),
        ({"model": "GRU4Rec", "reg_weight": 0.1}, {"model": "GRU4Rec", "reg_weight": 0.1}),
    ],
    ids=str,
)
def test_what_differs_from_the_defaults_is_found(given, expected):
    config = AttackConfig(config_dict=given)
    assert config.changed() == expected
    assert AttackConfig(config_dict=config.changed()).to_dict() == config.to_dict(), "it is all there is to say"
    assert config.changed().items() <= AttackConfig(config_dict=config.to_dict()).changed().items()
