"""Metrics of target users and of the others, against evaluations that see one side only."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator.collector import DataStruct

from recbole_attack import AttackConfig
from recbole_attack.evaluator import EXPOSURE_METRICS, AttackCollector
from recbole_attack.experiment import prepare_training

TOPK = [2, 5, 12]
OVERALL = ["Hit", "NDCG", "ER", "Target_NDCG", "Exposure_Share"]
METRICS = [*OVERALL, *(f"{name}_{side}" for name in OVERALL for side in ("In", "Out")), "Invisibility"]
N_USERS = 61


@pytest.fixture
def trained(config):
    """An experiment with four targets, and a trainer whose victim has weights far from a tie."""
    settings = config(
        topk=TOPK,
        metrics=METRICS,
        valid_metric="NDCG@5",
        metric_decimal_place=12,
        eval_batch_size=7,
        target_items="stratified:4",
    )
    experiment = prepare_training(settings)
    assert experiment.dataset.split.full.n_users == N_USERS
    trainer = experiment.trainer(settings)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.normal_(0, 1.0, generator=torch.Generator().manual_seed(parameter.numel()))
    return experiment, trainer


def evaluate(experiment, trainer, target_users=None, seen=None):
    """Results with a group of target users, over the rows of the users ``seen``."""
    full, data = experiment.dataset.split.full, experiment.test_data
    trainer.eval_collector = AttackCollector(trainer.config, experiment.threat.targets, full, target_users)
    if seen is not None:
        rows = data.dataset.inter_feat
        kept = np.flatnonzero(seen[rows["user_id"].numpy()])
        data = FullSortEvalDataLoader(trainer.config, data.dataset.copy(rows[kept]), None, shuffle=False)
    return trainer.evaluate(data, load_best_model=False)


def group(seed, share=0.4):
    return np.random.default_rng(seed).random(N_USERS) < share


def overall(result):
    return {f"{name}@{k}".lower(): result[f"{name}@{k}".lower()] for name in OVERALL for k in TOPK}


def side(result, which):
    """The metrics of one side under the names of those of everybody."""
    return {f"{name}@{k}".lower(): result[f"{name}_{which}@{k}".lower()] for name in OVERALL for k in TOPK}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_side_is_an_evaluation_of_its_users_alone(trained, seed):
    targeted = group(seed)
    result = evaluate(*trained, targeted)
    for which, users in (("In", targeted), ("Out", ~targeted)):
        alone = overall(evaluate(*trained, seen=users))
        assert side(result, which) == pytest.approx(alone, abs=1e-9)
        assert 0 < alone["er@5"] < 1 and alone["er@5"] != overall(result)["er@5"]
    assert overall(result) == pytest.approx(overall(evaluate(*trained)), abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_invisibility_is_the_mean_of_the_ratios(trained, seed):
    result = evaluate(*trained, group(seed))
    ratios = {
        (name, k): result[f"{name}_in@{k}"] / result[f"{name}_out@{k}"] for name in ("er", "target_ndcg") for k in TOPK
    }
    for k in TOPK:
        assert result[f"invisibility@{k}"] == pytest.approx((ratios["er", k] + ratios["target_ndcg", k]) / 2)
    assert result["invisibility"] == pytest.approx(sum(ratios.values()) / 6)
    assert result["invisibility"] == pytest.approx(sum(result[f"invisibility@{k}"] for k in TOPK) / 3)
    assert result["invisibility_defined"] == 6


def test_exchanging_the_groups_exchanges_the_sides(trained):
    targeted = group(5)
    result, swapped = evaluate(*trained, targeted), evaluate(*trained, ~targeted)
    assert side(result, "In") == side(swapped, "Out")
    assert side(result, "Out") == side(swapped, "In")


@pytest.mark.parametrize("everybody", [True, False])
def test_a_group_nobody_is_in_has_no_numbers(trained, everybody):
    result = evaluate(*trained, np.full(N_USERS, everybody))
    full, empty = ("In", "Out") if everybody else ("Out", "In")
    assert side(result, full) == pytest.approx(overall(result))
    assert all(math.isnan(value) for value in side(result, empty).values())
    assert math.isnan(result["invisibility"]) and math.isnan(result["invisibility@5"])
    assert result["invisibility_defined"] == 0


def test_everybody_is_a_target_user_unless_a_group_is_given(trained):
    default, everybody = evaluate(*trained), evaluate(*trained, np.ones(N_USERS, dtype=bool))
    assert default == pytest.approx(everybody, nan_ok=True)


def test_ratios_are_undefined_where_no_other_user_sees_a_target(config):
    """Two target users have the target at 2 and 4, the others at 9 and below the list."""
    collected = DataStruct()
    collected.set("rec.target_rank", torch.tensor([[2], [4], [9], [13]]))
    collected.set("rec.target_eligible", torch.ones(4, 1, dtype=torch.bool))
    collected.set("rec.target_user", torch.tensor([True, True, False, False]))
    settings = config(topk=TOPK, metrics=["Invisibility", "Hit"], valid_metric="Hit@12")
    result = EXPOSURE_METRICS["Invisibility"](settings).calculate_metric(collected)
    ndcg_ratio = (1 / math.log2(3) + 1 / math.log2(5)) / (1 / math.log2(10))
    expected = {"invisibility@2": math.nan, "invisibility@5": math.nan, "invisibility@12": (2 + ndcg_ratio) / 2}
    expected |= {"invisibility": math.nan, "invisibility_defined": 2}
    assert result == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_eligibility_comes_first(trained):
    """A target user who owns a target does not count for it."""
    experiment, trainer = trained
    targets, full = experiment.threat.targets, experiment.dataset.split.full
    owners = full.owners(targets).any(axis=1)
    result = evaluate(experiment, trainer, owners)
    ratios = []
    for target in targets:
        users = owners & ~full.owners(np.array([target]))[:, 0]
        assert users[1:].any() and not users[1:].all()
        trainer.eval_collector = AttackCollector(trainer.config, np.array([target]), full, users)
        ratios.append(trainer.evaluate(experiment.test_data, load_best_model=False)["er_in@5"])
    assert result["er_in@5"] == pytest.approx(sum(ratios) / len(ratios))


@pytest.mark.parametrize("metric", [name for name in METRICS if name.endswith(("_In", "_Out"))])
def test_every_metric_of_a_side_selects_models_and_says_what_it_counts(pretrain, metric):
    settings = AttackConfig(config_dict=pretrain(metrics=[metric], valid_metric=f"{metric}@5"))
    assert settings["valid_metric_bigger"] is True
    description = (EXPOSURE_METRICS[metric].__doc__ or "").splitlines()[0]
    assert ("outside" in description) == metric.endswith("_Out")


def test_the_collector_follows_the_users(config):
    experiment = prepare_training(config())
    targeted = group(3)
    collector = AttackCollector(config(), np.array([1]), experiment.dataset.split.full, targeted)
    users = torch.tensor([5, 3, 60, 3])
    scores = torch.rand(4, experiment.dataset.item_num)
    collector.eval_batch_collect(scores, {"user_id": users}, torch.arange(4), torch.ones(4, dtype=torch.int64))
    assert collector.get_data_struct().get("rec.target_user").tolist() == targeted[users].tolist()
    assert "rec.target_user" not in collector.data_struct
