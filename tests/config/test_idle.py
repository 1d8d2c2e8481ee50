"""What does nothing is said to: by a run with and without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack import AttackConfig, register_aggregator, run_recbole_attack
from recbole_attack.config.idle import idle, without_effect
from recbole_attack.config.registered import REGISTERED, REGISTERED_CODE
from recbole_attack.data import SELECTORS, draws_targets, resolve_targets
from recbole_attack.defense import AGGREGATORS, PRE_AGGREGATORS, Aggregator, configured_aggregator
from recbole_attack.experiment import arm_parameters, prepare_training
from recbole_attack.stages import STAGES

RULES = [name for name in AGGREGATORS if name not in ("fl_trust", "union")]


@pytest.mark.parametrize("aggregator", RULES)
@given(seed=st.integers(0, 10**6))
def test_a_rule_that_counts_all_alike_gives_the_same_with_other_weights(aggregator: str, seed: int) -> None:
    config = AttackConfig(config_dict={"aggregator": aggregator}).final_config_dict
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(9, 12, generator=generator, dtype=torch.float64)
    weights = 0.2 + torch.rand(9, generator=generator, dtype=torch.float64)
    rule = configured_aggregator(config)
    same = torch.allclose(rule.apply(updates, weights).update, rule.apply(updates, torch.ones(9).double()).update)
    assert same or rule.weighted
    assert ("client_weighting" in idle(config)) == (not rule.weighted)


def test_every_weighted_rule_shows_it_somewhere() -> None:
    """A rule that is said to count clients by their weights does so in some round."""
    for name in RULES:
        rule = configured_aggregator(AttackConfig(config_dict={"aggregator": name}).final_config_dict)
        seen = []
        for seed in range(8):
            generator = torch.Generator().manual_seed(seed)
            updates = torch.randn(9, 12, generator=generator, dtype=torch.float64)
            weights = 0.2 + torch.rand(9, generator=generator, dtype=torch.float64)
            seen.append(torch.allclose(rule.apply(updates, weights).update, rule.apply(updates, weights**0).update))
        assert all(seen) != rule.weighted, name


@pytest.mark.parametrize(
    ("given_", "parameter"),
    [
        ({"attack": "none", "gradient_scale": 5.0, "malicious_ratio": 0.1}, "gradient_scale"),
        ({"attack": "eb", "aggregator": "median", "client_weighting": "examples"}, "client_weighting"),
        ({"attack": "eb", "aggregator": "support_shrunk", "support_prior": 50.0}, "support_prior"),
        ({"attack": "eb", "shuffle": False}, "shuffle"),
        ({"attack": "none", "malicious_ratio": 0.3}, "malicious_ratio"),
        ({"attack": "none", "malicious_seed": 5}, "malicious_seed"),
        ({"attack": "none", "norm_budget": 0.5, "aggregator": "median"}, "norm_budget"),
        ({"attack": "margin", "local_learning_rate": 3.0}, "local_learning_rate"),
        ({"attack": "fed_rec_attack", "local_learning_rate": 3.0}, "local_learning_rate"),
        ({"attack": "dvfsr", "norm_budget": 0.5, "local_learning_rate": 3.0}, "local_learning_rate"),
        ({"attack": "eb", "epochs": 2, "lr_decay_step": None, "lr_decay_gamma": 0.001}, "lr_decay_gamma"),
        ({"attack": "eb", "target_items": "stratified:3:2", "target_seed": 9}, "target_seed"),
        ({"attack": "eb", "target_items": ["i3"], "target_seed": 9}, "target_seed"),
        (
            {"attack": "eb", "aggregator": "median", "pre_aggregator": "nnm", "client_weighting": "examples"},
            "client_weighting",
        ),
    ],
    ids=str,
)
def test_what_is_idle_changes_no_figure(
    small: Callable[..., dict[str, Any]], given_: dict[str, Any], parameter: str
) -> None:
    def rounds(**values: Any) -> Any:
        config = AttackConfig(config_dict=small(**{"epochs": 1, **values}))
        experiment = prepare_training(config)
        trainer = experiment.trainer(config)
        trainer.fit(experiment.train_data, verbose=False, saved=False)
        return [row["update_norm"] for row in trainer.rounds], trainer.evaluate(experiment.test_data, False)

    assert parameter in idle(AttackConfig(config_dict=small(**given_)).final_config_dict)
    assert rounds(**given_) == rounds(**{key: value for key, value in given_.items() if key != parameter})


@pytest.mark.parametrize("scenario", ["central", "pretrain"])
def test_weights_of_clients_are_written_where_there_are_clients(
    small: Callable[..., dict[str, Any]], scenario: str
) -> None:
    values = small(scenario=scenario, attack="none", save_client_weights=True)
    assert "save_client_weights" in idle(AttackConfig(config_dict=values).final_config_dict)


IN_PRETRAINING = [
    {"platform": "local", "repair": "kmeans"},
    {"platform": "fine_tune"},
    {"platform": "fine_tune", "repair": "margin"},
    {"attack": "pea", "platform": "direct"},
    {"attack": "pea", "platform": "direct", "three_steps": True},
    {"attack": "pea", "platform": "prompt_tune"},
    {"attack": "none", "platform": "prompt_tune"},
]


@pytest.mark.parametrize("values", IN_PRETRAINING, ids=str)
def test_stages_that_are_said_to_be_idle_are_those_no_arm_is_told_of_and_the_like_of_prompts(
    pretrain: Callable[..., dict[str, Any]], values: dict[str, Any]
) -> None:
    config = AttackConfig(config_dict=pretrain(**values))
    of_stages = {f"{stage}_{what}" for stage in STAGES for what in ("epochs", "learning_rate")}
    read = {key for parameters in arm_parameters(config).values() for key in parameters}
    found = idle(config.final_config_dict)
    assert found.keys() & of_stages == of_stages - read
    prompted = values.get("attack") == "pea" or values["platform"] == "prompt_tune"
    assert found.keys() & {"prompt_fields", "prompt_length", "deep_prompts"} == (
        set() if prompted else {"prompt_length", "deep_prompts"}
    )


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ({"target_group": "all"}, {"replacement_negatives": "push"}),
        ({}, {"prompt_length": 3, "deep_prompts": True, "fake_tune_epochs": 3, "fine_tune_learning_rate": 0.5}),
    ],
    ids=str,
)
def test_what_is_idle_in_pretraining_changes_no_figure(
    pretrain: Callable[..., dict[str, Any]], values: dict[str, Any], more: dict[str, Any]
) -> None:
    def figures(**changes: Any) -> str:
        result = run_recbole_attack(config_dict=pretrain(attack="bra", **{**values, **changes}), saved=False)
        return json.dumps([result[arm]["test_result"] for arm in ("local", "clean", "attacked")])

    assert (
        more.keys()
        <= idle(AttackConfig(config_dict=pretrain(attack="bra", **{**values, **more})).final_config_dict).keys()
    )
    assert figures(**more) == figures()


def test_targets_that_are_pushed_down_for_somebody_are_not_idle(pretrain: Callable[..., dict[str, Any]]) -> None:
    for values in (
        {"replacement_negatives": "push"},
        {"target_group": "all", "replacement_negatives": "contrast"},
        {"target_group": "all", "replacement_negatives": "sampled"},
    ):
        config = AttackConfig(config_dict=pretrain(attack="bra", **values))
        assert "replacement_negatives" not in idle(config.final_config_dict)


@pytest.mark.parametrize(
    "rule",
    [
        {"aggregator": "mean"},
        {"aggregator": "sum"},
        {"aggregator": "sum", "per_item": True},
        {"aggregator": "mean", "per_item": True},
        {"aggregator": "mean", "pre_aggregator": "arc"},
        {"aggregator": "median"},
    ],
    ids=str,
)
def test_weights_of_clients_are_written_unless_it_is_said_that_they_are_not(
    small: Callable[..., dict[str, Any]], rule: dict[str, Any]
) -> None:
    config = AttackConfig(config_dict=small(attack="none", epochs=1, save_client_weights=True, **rule))
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, verbose=False, saved=False)
    said = idle(config.final_config_dict).get("save_client_weights")
    assert said == (None if trainer.client_weights else f"aggregator '{rule['aggregator']}' has fixed weights")


@pytest.mark.parametrize("mixing", [name for name in PRE_AGGREGATORS if name != "none"])
@pytest.mark.parametrize("aggregator", ["median", "trimmed_mean", "krum", "bulyan", "mean"])
def test_mixing_that_counts_all_alike_is_said_to(aggregator: str, mixing: str) -> None:
    """By what other weights give: of unweighted rules, those behind bucketing alone show them."""
    config = AttackConfig(config_dict={"aggregator": aggregator, "pre_aggregator": mixing}).final_config_dict
    rule, seen = configured_aggregator(config), []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        updates = torch.randn(9, 12, generator=generator, dtype=torch.float64)
        weights = 0.2 + torch.rand(9, generator=generator, dtype=torch.float64)
        seen.append(torch.allclose(rule.apply(updates, weights).update, rule.apply(updates, weights**0).update))
    assert ("client_weighting" in idle(config)) == all(seen) == (aggregator != "mean" and mixing != "bucketing")


@pytest.mark.parametrize(
    "values",
    [
        {"attack": "eb", "client_weighting": "examples"},
        {"attack": "eb", "aggregator": "support_shrunk", "per_item": True},
        {"attack": "eb", "aggregator": "median", "pre_aggregator": "bucketing", "client_weighting": "examples"},
        {"attack": "eb", "malicious_ratio": 0.3, "malicious_seed": 5, "norm_budget": 0.5, "gradient_scale": 5.0},
        {"attack": "none", "malicious_ratio": 0.3, "malicious_clients": "compromise", "malicious_seed": 5},
        {"attack": "none", "local_epochs": 2, "local_learning_rate": 0.3},
        {"attack": "none", "norm_budget": 0.5},
        {"scenario": "central", "lr_decay_step": 1, "lr_decay_gamma": 0.1},
        {"attack": "eb", "target_items": "random:3:2", "target_seed": 9},
        {"scenario": "central", "attack": "none", "target_items": "random_stratified:3", "target_seed": 9},
    ],
    ids=str,
)
def test_what_does_something_is_not_idle(small: Callable[..., dict[str, Any]], values: dict[str, Any]) -> None:
    assert not without_effect(AttackConfig(config_dict=small(**values))).keys() & values.keys()


def test_a_rule_from_outside_may_read_what_attackers_have(
    small: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the arm without an attack is another with each value of it."""
    for parts, name in ((AGGREGATORS, "own"), (REGISTERED, "defense/own"), (REGISTERED_CODE, "defense/own")):
        monkeypatch.setitem(parts, name, None)
        del parts[name]
    register_aggregator(
        "own", lambda config: Aggregator(combine=lambda values, weights: config["malicious_ratio"] * values.mean(0))
    )
    given = small(attack="none", aggregator="own", malicious_ratio=0.3, gradient_scale=3.0)
    assert not without_effect(AttackConfig(config_dict=given))
    arms = [
        arm_parameters(AttackConfig(config_dict={**given, "malicious_ratio": ratio}))["clean"] for ratio in (0.3, 0.01)
    ]
    assert [arm["malicious_ratio"] for arm in arms] == [0.3, 0.01]
    ours = [{**given, "aggregator": "mean", "malicious_ratio": ratio} for ratio in (0.3, 0.01)]
    first, second = (arm_parameters(AttackConfig(config_dict=values))["clean"] for values in ours)
    assert first == second


@pytest.mark.parametrize("selector", SELECTORS)
@given(value=st.integers(1, 9), number=st.integers(1, 9), seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_what_draws_no_targets_has_the_same_with_every_seed(
    selector: str, value: int, number: int, seeds: tuple[int, int]
) -> None:
    for target in (f"{selector}:{value}", f"{selector}:{value}:{min(number, value)}"):
        tokens, popularity = np.array(["[PAD]", *map(str, range(30))]), np.arange(31) % 7
        first, second = (
            resolve_targets(target, tokens, popularity, np.random.default_rng(seed)).tolist() for seed in seeds
        )
        assert first == second or draws_targets(target)
        assert draws_targets(target) == selector.startswith("random")
