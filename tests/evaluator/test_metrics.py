"""Whole evaluations against a plain ranking of the model's scores, and against RecBole's own trainer."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.evaluator.base_metric import AbstractMetric
from recbole.evaluator.register import metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.evaluator import EXPOSURE_METRICS, register_metric, register_metrics, result_keys
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import ConfigError

TOPK = [1, 5, 12]
EVERYTHING = {"topk": TOPK, "valid_metric": "NDCG@5", "metric_decimal_place": 12, "eval_batch_size": 7}


def experiment_of(config, **changes):
    """An experiment, and a trainer whose victim has weights far from a tie."""
    settings = config(**{**EVERYTHING, **changes})
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.normal_(0, 1.0, generator=torch.Generator().manual_seed(parameter.numel()))
    return experiment, trainer


def evaluate(experiment, trainer):
    return trainer.evaluate(experiment.test_data, load_best_model=False)


def scores_of(trainer, history):
    """Scores of all items after one history, alone in its batch."""
    recent = torch.tensor(history[-trainer.config["MAX_ITEM_LIST_LENGTH"] :])
    with torch.no_grad():
        return trainer.model.eval().score_items(recent[None], torch.tensor([len(recent)]))[0].double().tolist()


def sampled_for(trainer, user, truth):
    """Items that compete for a user under the trainer's protocol; its own tests check that they are the right ones."""
    n_items = trainer.protocol.sequences.n_items
    scores = trainer.protocol.restrict(torch.zeros(1, n_items), np.array([user]), np.array([0]), torch.tensor([truth]))
    return set(torch.nonzero(torch.isfinite(scores[0])).flatten().tolist())


def ranked_lists(experiment, trainer):
    """``{user: (item to predict, best items first)}`` for the honest test users, one at a time."""
    full, settings = experiment.dataset.split.full, trainer.config
    lists = {}
    for user in range(1, full.n_users):
        items = full[user].tolist()
        if len(items) < 3 or user in experiment.threat.dishonest_users:
            continue
        history, truth = items[:-1], items[-1]
        pool = set(range(1, full.n_items))
        if settings["exposure_candidates"] != "full":
            pool = sampled_for(trainer, user, truth)
        if settings["mask_history"]:
            pool -= set(history)
        scores = scores_of(trainer, history)
        lists[user] = truth, sorted(pool | {truth}, key=lambda item: -scores[item])
    return lists


def largest_exposure(lists, targets, full, k):
    """The largest exposure ratio there can be: every user is shown K of the targets it counts for, the rarest first."""
    eligible = {target: [user for user in lists if target not in full[user]] for target in targets}
    worth = {user: [1 / len(users) for users in eligible.values() if user in users] for user in lists}
    return sum(sum(sorted(weights)[-k:]) for weights in worth.values()) / sum(map(bool, eligible.values()))


def expected_results(experiment, trainer):
    """Hit, NDCG and the exposure metrics by counting."""
    lists, full = ranked_lists(experiment, trainer), experiment.dataset.split.full
    targets = experiment.threat.targets.tolist()
    results = {}
    for k in TOPK:
        ranks = [ranking.index(truth) + 1 for truth, ranking in lists.values()]
        results[f"hit@{k}"] = sum(rank <= k for rank in ranks) / len(ranks)
        results[f"ndcg@{k}"] = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k) / len(ranks)
        ratios, gains = [], []
        for target in targets:
            eligible = [user for user in lists if target not in full[user]]
            places = [lists[user][1][:k].index(target) + 1 for user in eligible if target in lists[user][1][:k]]
            if eligible:
                ratios.append(len(places) / len(eligible))
                gains.append(sum(1 / math.log2(place + 1) for place in places) / len(eligible))
        results[f"er@{k}"] = sum(ratios) / len(ratios)
        results[f"target_ndcg@{k}"] = sum(gains) / len(gains)
        results[f"exposure_share@{k}"] = results[f"er@{k}"] / largest_exposure(lists, targets, full, k)
    return results


@pytest.mark.parametrize("target_items", ["least_popular:1", "stratified:7", ["i5", "i12"]])
@pytest.mark.parametrize("exposure_candidates", ["full", 9])
@pytest.mark.parametrize("mask_history", [True, False])
def test_an_evaluation_is_a_ranking_of_the_scores(config, mask_history, exposure_candidates, target_items):
    changes = {"mask_history": mask_history, "exposure_candidates": exposure_candidates, "target_items": target_items}
    experiment, trainer = experiment_of(config, **changes)
    expected = expected_results(experiment, trainer)
    result = evaluate(experiment, trainer)
    assert result == pytest.approx(expected, abs=1e-9)
    assert 0 < expected["hit@5"] < 1
    assert evaluate(experiment, trainer) == result


def test_malicious_users_are_not_evaluated(config):
    changes = {"malicious_clients": "compromise", "malicious_ratio": 0.3, "target_items": "stratified:3"}
    experiment, trainer = experiment_of(config, **changes)
    evaluated = set(experiment.test_data.dataset.inter_feat["user_id"].tolist())
    dishonest = set(experiment.threat.malicious_users.tolist())
    assert len(dishonest) == 18
    assert not evaluated & dishonest
    assert evaluated | dishonest >= {user for user in range(1, 61) if experiment.dataset.split.full.lengths[user] > 2}
    assert evaluate(experiment, trainer) == pytest.approx(expected_results(experiment, trainer), abs=1e-9)


def test_a_full_ranking_on_request_leaves_the_configured_protocol(config):
    experiment, trainer = experiment_of(config, exposure_candidates=3)
    sampled = evaluate(experiment, trainer)
    full = trainer.evaluate(experiment.test_data, load_best_model=False, full_ranking=True)
    assert full == evaluate(*experiment_of(config))
    assert full != sampled
    assert evaluate(experiment, trainer) == sampled


def test_utility_is_recboles_number(config):
    """With RecBole's order and nothing masked, RecBole's trainer on RecBole's data gives the same figures."""
    changes = {
        "metrics": ["Hit", "NDCG", "MRR", "Precision"],
        "mask_history": False,
        "exact_time_order": False,
        "MAX_ITEM_LIST_LENGTH": 6,
    }
    experiment, trainer = experiment_of(config, **changes)
    settings = trainer.config
    test = SequentialDataset(settings).build()[2]
    theirs = Trainer(settings, trainer.model)
    expected = theirs.evaluate(FullSortEvalDataLoader(settings, test, None, shuffle=False), load_best_model=False)
    assert len(expected) == 12
    assert evaluate(experiment, trainer) == pytest.approx(dict(expected), abs=1e-9)


@pytest.mark.parametrize("mask_history", [True, False])
def test_lists_longer_than_the_catalogue(config, mask_history):
    changes = {"topk": [5, 100], "mask_history": mask_history, "target_items": "stratified:4"}
    experiment, trainer = experiment_of(config, **changes)
    result = evaluate(experiment, trainer)
    assert result["hit@100"] == result["er@100"] == result["exposure_share@100"] == 1.0
    assert result["hit@5"] == evaluate(*experiment_of(config, **{**changes, "topk": [5]}))["hit@5"]


def recbole_metrics(config, topk, mask_history=False, **changes):
    """Results of RecBole's metrics that need item counts, after an epoch of training."""
    metrics = ["Hit", "NDCG", "ItemCoverage", "AveragePopularity", "GiniIndex", "TailPercentage", "ShannonEntropy"]
    settings = config(
        scenario="central",
        attack="none",
        metrics=metrics,
        topk=topk,
        valid_metric=f"NDCG@{topk[0]}",
        epochs=1,
        metric_decimal_place=12,
        mask_history=mask_history,
        **changes,
    )
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, experiment.valid_data, verbose=False, saved=False)
    return experiment, trainer, evaluate(experiment, trainer)


def test_recboles_metrics_that_need_item_counts(config):
    experiment, trainer, result = recbole_metrics(config, [3, 8])
    split = experiment.dataset.split
    counts = Counter(item for user in range(split.train.n_users) for item in split.train[user].tolist())
    lists = [ranking for _, ranking in ranked_lists(experiment, trainer).values()]
    for k in (3, 8):
        shown = Counter(item for ranking in lists for item in ranking[:k])
        assert result[f"itemcoverage@{k}"] == pytest.approx(len(shown) / split.full.n_items)
        popularity = sum(counts[item] * n for item, n in shown.items()) / (k * len(lists))
        assert result[f"averagepopularity@{k}"] == pytest.approx(popularity)
        shares = [n / (k * len(lists)) for n in shown.values()]
        entropy = -sum(p * math.log(p) for p in shares) / len(shares)
        assert result[f"shannonentropy@{k}"] == pytest.approx(entropy)
        ascending = [*sorted(shown.values())]
        n, total = split.full.n_items, k * len(lists)
        ascending = [0] * (n - len(ascending)) + ascending
        gini = sum((2 * (i + 1) - n - 1) * count for i, count in enumerate(ascending)) / (n * total)
        assert result[f"giniindex@{k}"] == pytest.approx(gini)
        assert 0 <= result[f"tailpercentage@{k}"] <= 1
    assert evaluate(experiment, trainer) == result


@pytest.mark.parametrize(
    "changes",
    [{"topk": [5, 100]}, {"topk": [30], "exposure_candidates": 1}],
)
def test_coverage_counts_only_items_that_compete(config, changes):
    """Lists may end early; nothing stands for the places left over."""
    experiment, trainer, result = recbole_metrics(config, **changes)
    depth, n_items = max(changes["topk"]), experiment.dataset.split.full.n_items
    listed = {item for _, ranking in ranked_lists(experiment, trainer).values() for item in ranking[:depth]}
    assert result[f"itemcoverage@{depth}"] == pytest.approx(len(listed) / n_items)


@pytest.fixture
def registries():
    """RecBole's registries, put back after the test."""
    tables = (metrics_dict, metric_information, metric_types)
    saved, smaller = [dict(table) for table in tables], list(smaller_metrics)
    yield (*tables, smaller_metrics)
    for table, values in zip(tables, saved, strict=True):
        table.clear()
        table.update(values)
    smaller_metrics[:] = smaller


class MeanTargetRank(AbstractMetric):
    """A user's own metric."""

    metric_type = EvaluatorType.RANKING
    metric_need = ("rec.target_rank", "rec.users")
    smaller = True

    def calculate_metric(self, dataobject):
        ranks = dataobject.get("rec.target_rank")
        assert len(dataobject.get("rec.users")) == len(ranks)
        return {"mean_target_rank": float(ranks.double().mean())}


def copies(tables):
    return [table.copy() for table in tables]


def test_registering_again_changes_nothing(registries):
    register_metric("Mean_Target_Rank", MeanTargetRank)
    once = copies(registries)
    register_metric("mean_target_rank", MeanTargetRank)
    register_metrics()
    assert copies(registries) == once
    assert smaller_metrics.count("mean_target_rank") == 1
    assert {name.lower() for name in EXPOSURE_METRICS} <= set(metrics_dict)
    assert not {name.lower() for name in EXPOSURE_METRICS} & set(smaller_metrics)


@pytest.mark.parametrize("missing", ["metric_type", "metric_need"])
def test_an_incomplete_metric_is_refused(registries, missing):
    before = copies(registries)
    present = {"metric_type": EvaluatorType.RANKING, "metric_need": ["rec.users"]}
    del present[missing]
    with pytest.raises(ConfigError, match=missing):
        register_metric("Half", type("Half", (AbstractMetric,), present))
    assert copies(registries) == before


@pytest.mark.parametrize("taken", ["Hit", "er"])
def test_a_taken_name_is_refused(registries, taken):
    before = copies(registries)
    with pytest.raises(ConfigError, match="already registered"):
        register_metric(taken, MeanTargetRank)
    assert copies(registries) == before


def test_a_users_metric_sees_the_targets_ranks(registries, config, small):
    with pytest.raises(ConfigError, match="mean_target_rank"):
        config(metrics=["NDCG", "Mean_Target_Rank"])
    register_metric("Mean_Target_Rank", MeanTargetRank)
    experiment, trainer = experiment_of(config, metrics=["NDCG", "Mean_Target_Rank"], target_items="stratified:2")
    ranks = []
    for _, ranking in ranked_lists(experiment, trainer).values():
        listed = ranking[: max(TOPK)]
        ranks += [listed.index(t) + 1 if t in listed else max(TOPK) + 1 for t in experiment.threat.targets]
    assert evaluate(experiment, trainer)["mean_target_rank"] == pytest.approx(sum(ranks) / len(ranks))
    settings = AttackConfig(config_dict=small(metrics=["Mean_Target_Rank"], valid_metric="Mean_Target_Rank@5"))
    assert settings["valid_metric_bigger"] is False


def test_metrics_report_under_the_keys_that_are_expected_of_them(small):
    """Every ranking metric there is, measured."""
    register_metrics()
    grouped = [name for name in metrics_dict if name.endswith(("_in", "_out")) or name == "invisibility"]
    names = [name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING and name not in grouped]
    assert {"gauc", "itemcoverage", "hit", "er"} <= set(names)
    for name in names:
        values = small(metrics=[name], topk=[5, 10], valid_metric=min(result_keys(name, [5, 10])), epochs=1)
        found = run_recbole_attack(config_dict={**values, "attack": "none"}, saved=False)["test_result"]
        assert found.keys() == result_keys(name, [5, 10])


def test_a_metric_of_ones_own_that_reports_under_another_key_is_named(small, monkeypatch):
    class Odd(AbstractMetric):
        metric_type, metric_need = EvaluatorType.RANKING, ("rec.topk",)

        def calculate_metric(self, dataobject):
            return {"odder": 1.0}

    for table in (metrics_dict, metric_information, metric_types):
        monkeypatch.delitem(table, "odd", raising=False)
    register_metric("Odd", Odd)
    try:
        values = small(metrics=["Odd"], valid_metric="Odd", attack="none", epochs=1)
        with pytest.raises(ConfigError, match="'odd' is not measured: expected one of odder; did you mean"):
            run_recbole_attack(config_dict=values, saved=False)
    finally:
        for table in (metrics_dict, metric_information, metric_types):
            table.pop("odd", None)
