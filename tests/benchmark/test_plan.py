"""Plans: which arms a grid has, which of them are one, and that nothing that matters is left out of a key."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from recbole_attack import AttackConfig, register_aggregator
from recbole_attack.benchmark import plan as plans
from recbole_attack.benchmark.grid import Row
from recbole_attack.benchmark.plan import arm_key, make_plan
from recbole_attack.benchmark.words import idle_lines
from recbole_attack.config.registered import REGISTERED, REGISTERED_CODE, REGISTERED_OPTIONS
from recbole_attack.defense import AGGREGATORS, Aggregator
from recbole_attack.utils.errors import ConfigError, DataError

DATASETS = Path(__file__).resolve().parents[2] / "dataset"


def test_clean_twins_of_all_attacks_of_one_rule_are_one_arm(planned):
    plan = planned(
        grid={"attack": ["ra", "eb", "none"], "malicious_ratio": [0.05, 0.1], "aggregator": ["mean", "median"]}
    )
    assert len(plan.cells) == 12
    clean = {cell.arms["clean"] for cell in plan.cells}
    attacked = [cell.arms["attacked"] for cell in plan.cells if "attacked" in cell.arms]
    assert len(clean) == 2 and len(set(attacked)) == len(attacked) == 8
    assert plan.arms.keys() == clean | set(attacked)
    of_rule = {(cell.config["aggregator"], cell.arms["clean"]) for cell in plan.cells}
    assert len(of_rule) == 2
    assert [arm.name for arm in plan.arms.values()][:2] == ["clean", "attacked"]


def test_what_turned_users_are_evaluated_is_part_of_a_clean_arm(planned):
    plan = planned(
        fixed={"malicious_clients": "compromise"}, grid={"attack": ["ra", "eb"], "malicious_ratio": [0.05, 0.1]}
    )
    assert len({(cell.config["malicious_ratio"], cell.arms["clean"]) for cell in plan.cells}) == 2


def test_a_row_is_run_once_with_each_of_its_seeds(planned):
    plan = planned(grid={"attack": ["ra"], "seed": [4, 5]})
    assert [(cell.row, cell.seed, cell.config["seed"]) for cell in plan.cells] == [("attack=ra", s, s) for s in (4, 5)]
    assert len(plan.arms) == 4 and {arm.parameters["seed"] for arm in plan.arms.values()} == {4, 5}
    assert [cell.seed for cell in planned(rows={"a": {"attack": "none"}}).cells] == [2020]


def by_closure(factor, folder, monkeypatch):
    return lambda config: Aggregator(combine=lambda values, weights: factor * values.mean(0))


def by_global(factor, folder, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", factor)
    return lambda config: Aggregator(combine=lambda values, weights: FACTOR * values.mean(0))


def by_file(factor, folder, monkeypatch):
    file = folder / "script.py"
    rule = f"Aggregator(combine=lambda values, weights: {factor} * values.mean(0))"
    file.write_text(f"def own(config):\n    return made()\n\n\ndef made():\n    return {rule}\n", encoding="utf-8")
    space = {"__file__": str(file), "__name__": "__main__", "Aggregator": Aggregator}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), space)
    return space["own"]


FACTOR = 1.0


@pytest.mark.parametrize("made", [by_closure, by_global, by_file])
def test_a_part_of_this_process_is_known_by_its_code(planned, monkeypatch, tmp_path, made):
    """No plug-in is named: what an earlier rule of the same name came to is not this one's."""

    def arms(factor):
        register_aggregator("own", made(factor, tmp_path, monkeypatch))
        plan = planned(rows={"own": {"attack": "ra", "aggregator": "own"}, "mean": {"attack": "ra"}})
        return {cell.row: cell.arms for cell in plan.cells}

    first, again, other = arms(1.0), arms(1.0), arms(2.0)
    assert first == again and first["mean"] == other["mean"]
    assert {*first["own"].values()}.isdisjoint(other["own"].values())
    for table in (AGGREGATORS, REGISTERED, REGISTERED_OPTIONS, REGISTERED_CODE):
        table.pop("own", table.pop("defense/own", None))


def test_a_part_whose_code_cannot_be_read_is_never_another_ones(planned):
    def keys():
        register_aggregator(
            "own", partial(lambda _, config: Aggregator(combine=lambda values, weights: values[0]), 1.0)
        )
        return {key for _ in range(2) for key in planned(rows={"a": {"attack": "none", "aggregator": "own"}}).arms}

    first, again = keys(), keys()
    assert len(first) == len(again) == 1 and first != again
    for table in (AGGREGATORS, REGISTERED, REGISTERED_OPTIONS, REGISTERED_CODE):
        table.pop("own", table.pop("defense/own", None))


def test_a_key_is_of_parameters_data_and_the_evaluators_version(planned, monkeypatch):
    arm = next(iter(planned(rows={"a": {"attack": "ra"}}).arms.values()))
    assert arm.key == arm_key(arm.name, dict(reversed(arm.parameters.items())), arm.data)
    others = [
        arm_key("attacked", arm.parameters, arm.data),
        arm_key(arm.name, {**arm.parameters, "seed": 1}, arm.data),
        arm_key(arm.name, arm.parameters, {**arm.data, "tiny.inter": "0"}),
    ]
    monkeypatch.setattr(plans, "EVALUATOR_VERSION", 2)
    others.append(arm_key(arm.name, arm.parameters, arm.data))
    assert len({arm.key, *others}) == 5


def test_a_changed_byte_of_the_data_is_another_arm_and_another_place_is_not(tmp_path, small):
    def keys(folder):
        return set(make_plan([Row("a", small(data_path=str(folder)), None)]).arms)

    shutil.copytree(DATASETS / "tiny", tmp_path / "data" / "tiny")
    assert keys(tmp_path / "data") == keys(DATASETS)
    with (tmp_path / "data" / "tiny" / "tiny.item").open("a") as file:
        file.write("\n")
    assert keys(tmp_path / "data").isdisjoint(keys(DATASETS))


def test_no_parameter_of_a_grid_names_a_place_of_this_machine(planned):
    plan = planned(rows={"a": {"attack": "ra"}})
    assert str(DATASETS) not in str(
        [(cell.config, plan.arms[key].parameters) for cell in plan.cells for key in plan.arms]
    )
    assert {arm.place["data_path"] for arm in plan.arms.values()} == {str(DATASETS)}
    assert AttackConfig(config_dict=plan.cells[0].config).to_dict() == plan.cells[0].config


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"atack": "ra"}, "row 'b': unknown parameter 'atack'.*did you mean 'attack'"),
        ({"attack": "rra"}, "row 'b': unknown attack 'rra'"),
        ({"epochs": 0}, "row 'b': epochs must be an integer at least 1: found 0"),
        ({"log_wandb": True}, "row 'b': log_wandb"),
    ],
)
def test_every_row_is_checked_and_the_message_names_it(small, row, message):
    with pytest.raises(ConfigError, match=message):
        make_plan([Row("a", small(), None), Row("b", small(**row), None)])


def test_what_does_nothing_in_any_row_that_gives_it_is_found(planned):
    plan = planned(
        fixed={"local_learning_rate": 0.5},
        grid={"attack": ["ra", "none"], "aggregator": ["mean", "median"], "malicious_ratio": [0.1, 0.2]},
        rows={"examples": {"attack": "ra", "aggregator": "median", "client_weighting": "examples"}},
    )
    assert plan.idle == {
        "client_weighting": "aggregator 'median' counts all clients alike",
        "local_learning_rate": "the only local step is the upload",
    }
    assert idle_lines(plan.idle)[1] == (
        "client_weighting has no effect in any row that changes it: aggregator 'median' counts all clients alike"
    )
    weighted = {"attack": "ra", "client_weighting": "examples"}
    assert "client_weighting" not in planned(rows={"a": weighted, "b": {**weighted, "aggregator": "median"}}).idle


def test_seeds_and_datasets_are_checked_too(small):
    with pytest.raises(ConfigError, match="row 'a': seed must be an integer at least 0"):
        make_plan([Row("a", small(), (1, -1))])
    with pytest.raises(DataError, match=r"row 'a': dataset 'tinny' not found: .*did you mean 'tiny'"):
        make_plan([Row("a", small(dataset="tinny"), None)])


def test_a_parameter_with_its_neutral_value_leaves_an_arm_what_it_was_before_there_was_one(monkeypatch):
    monkeypatch.setitem(plans.NEUTRAL, "newcomer", 3)
    before = {"seed": 1, "attack": "ra"}
    assert arm_key("clean", {**before, "newcomer": 3}, {}) == arm_key("clean", before, {})
    assert arm_key("clean", {**before, "newcomer": 4}, {}) != arm_key("clean", before, {})


def test_a_plan_is_the_same_on_a_machine_with_a_gpu_and_its_arms_fit_the_machine_that_trains_them(planned, monkeypatch):
    def arms(there_is_one, **fixed):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_one)
        return planned(fixed=fixed, rows={"a": {"attack": "ra"}, "b": {"scenario": "central"}}).arms

    here, there = arms(False), arms(True)
    assert here == there
    parameters = next(iter(here.values())).parameters
    tokens = []
    for there_is_one in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=there_is_one: found)
        tokens.append(AttackConfig(config_dict=parameters)["chunk_tokens"])
    assert tokens == [2048, 65536]
    stored = {**parameters, "chunk_tokens": 2048}
    key = next(iter(here))
    assert arm_key("clean", stored, here[key].data) == key, "stores hold the number"
    assert arms(False, chunk_tokens=77) == arms(True, chunk_tokens=77)
    assert not arms(False, chunk_tokens=77).keys() & here.keys()


@pytest.mark.parametrize(
    ("key", "whole", "attack"),
    [
        ("gradient_scale", 10, "ra"),
        ("attack_weight", 1, "ra"),
        ("hidden_dropout_prob", 0, "none"),
        ("norm_budget", 1, "ra"),
    ],
)
def test_a_float_is_one_value_however_it_is_written(planned, key, whole, attack):
    rows = {"whole": {key: whole}, "float": {key: float(whole)}, "text": {key: f"{whole}.0"}}
    plan = planned(fixed={"attack": attack, "compare_clean": False}, rows=rows)
    assert len({tuple(cell.arms.values()) for cell in plan.cells}) == 1
    (arm,) = plan.arms.values()
    assert type(arm.parameters[key]) is float
