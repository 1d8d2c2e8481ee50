"""Item exposure against lists that are sorted one user at a time."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.evaluator import ItemExposure
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import TrainingError

CUTOFFS = (1, 5, 12)


def trained(config, **changes):
    """An experiment, and a trainer whose victim has weights far from a tie."""
    settings = config(**{"eval_batch_size": 7, "topk": [3], "valid_metric": "NDCG@3", **changes})
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.normal_(0, 1.0, generator=torch.Generator().manual_seed(parameter.numel()))
    return experiment, trainer


def counted(experiment, trainer, cutoffs, mask_history=True):
    """``[n_items, C]`` by sorting all items of each test user, and the number of users."""
    full = experiment.dataset.split.full
    users = [user for user in range(1, full.n_users) if full.lengths[user] > 2]
    shown = [Counter() for _ in cutoffs]
    for user in users:
        *history, truth = full[user].tolist()
        recent = torch.tensor(history[-trainer.config["MAX_ITEM_LIST_LENGTH"] :])
        with torch.no_grad():
            scores = trainer.model.eval().score_items(recent[None], torch.tensor([len(recent)]))[0].tolist()
        pool = set(range(1, full.n_items)) - (set(history) - {truth} if mask_history else set())
        ranking = sorted(pool, key=lambda item: -scores[item])
        for counter, n in zip(shown, cutoffs, strict=True):
            counter.update(ranking[:n])
    return np.array([[counter[item] for counter in shown] for item in range(full.n_items)]), len(users)


@pytest.mark.parametrize("mask_history", [True, False])
def test_it_counts_the_users_whose_lists_hold_an_item(config, mask_history):
    experiment, trainer = trained(config, mask_history=mask_history)
    counts, users = counted(experiment, trainer, CUTOFFS, mask_history)
    exposure = trainer.item_exposure(experiment.test_data, CUTOFFS)
    assert exposure.counts.tolist() == counts.tolist()
    assert exposure.users == users > 40
    assert exposure.counts.sum(axis=0).tolist() == [n * users for n in CUTOFFS]


@pytest.mark.parametrize("eval_batch_size", [1, 13, 4096])
def test_the_size_of_batches_does_not_matter(config, eval_batch_size):
    first, second = trained(config), trained(config, eval_batch_size=eval_batch_size)
    expected, exposure = (
        trainer.item_exposure(experiment.test_data, CUTOFFS) for experiment, trainer in (first, second)
    )
    assert exposure.counts.tolist() == expected.counts.tolist()


def test_candidates_that_would_give_the_targets_away_do_not_matter(config):
    experiment, trainer = trained(config, exposure_candidates=3, target_items="stratified:5")
    expected, _ = counted(experiment, trainer, CUTOFFS)
    assert trainer.item_exposure(experiment.test_data, CUTOFFS).counts.tolist() == expected.tolist()


def test_an_evaluation_is_the_same_before_and_after(config):
    experiment, trainer = trained(config, exposure_candidates=3)
    before = trainer.evaluate(experiment.test_data, load_best_model=False)
    first = trainer.item_exposure(experiment.test_data, CUTOFFS)
    assert trainer.evaluate(experiment.test_data, load_best_model=False) == before
    again = trainer.item_exposure(experiment.test_data, CUTOFFS)
    assert again.counts.tolist() == first.counts.tolist()
    assert first.users == again.users == len(experiment.test_data.dataset)


def test_lists_longer_than_the_catalogue_hold_what_competes(config):
    experiment, trainer = trained(config)
    exposure = trainer.item_exposure(experiment.test_data, (1000,))
    full = experiment.dataset.split.full
    competing = np.zeros(full.n_items, dtype=int)
    for user in range(1, full.n_users):
        if full.lengths[user] > 2:
            *history, truth = full[user].tolist()
            competing[list(set(range(1, full.n_items)) - set(history) | {truth})] += 1
    assert exposure.counts[:, 0].tolist() == competing.tolist()


def test_a_failed_evaluation_stops_the_counting(config):
    experiment, trainer = trained(config)
    parameters = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with torch.no_grad():
        trainer.model.item_embedding.weight.fill_(torch.nan)
    with pytest.raises(TrainingError):
        trainer.item_exposure(experiment.test_data, CUTOFFS)
    trainer.model.load_state_dict(parameters)
    with trainer.eval_collector.counting(CUTOFFS) as exposure:
        pass
    trainer.evaluate(experiment.test_data, load_best_model=False)
    assert exposure.users == 0


@st.composite
def batches(draw):
    """Scores of a few users, all different within a user, some items removed; and where batches end."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(2, 8))
    rows = [draw(st.permutations(range(n_items))) for _ in range(n_users)]
    removed = draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(1, n_items - 1)), max_size=8))
    scores = torch.tensor(rows, dtype=torch.float32)
    scores[:, 0] = -torch.inf
    for row, item in removed:
        scores[row, item] = -torch.inf
    return scores, draw(st.integers(1, n_users)), draw(st.lists(st.integers(1, 10), min_size=1, max_size=3))


@given(batches(), st.randoms())
def test_counts_follow_items_and_ignore_users_and_batches(case, random):
    scores, size, cutoffs = case
    n_users, n_items = scores.shape

    def count(values, step):
        exposure = ItemExposure(n_items, cutoffs)
        for part in values.split(step):
            exposure.add(part)
        assert exposure.users == n_users
        return exposure.counts

    expected = np.zeros((n_items, len(cutoffs)), dtype=int)
    for row in scores.tolist():
        ranking = sorted((i for i in range(n_items) if row[i] > -math.inf), key=lambda i: -row[i])
        for column, n in enumerate(cutoffs):
            expected[ranking[:n], column] += 1
    assert count(scores, n_users).tolist() == count(scores, size).tolist() == expected.tolist()
    users = random.sample(range(n_users), n_users)
    assert count(scores[users], size).tolist() == expected.tolist()
    items = [0, *random.sample(range(1, n_items), n_items - 1)]
    assert count(scores[:, items], size).tolist() == expected[items].tolist()
