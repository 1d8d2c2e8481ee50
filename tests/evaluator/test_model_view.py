"""What a platform sees of a model, against plain loops over users and items, for victims of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_attack import AttackConfig
from recbole_attack.evaluator import ModelWatch
from recbole_attack.evaluator.model_view import LIST, clusters, division, smallest_pushes, unit_rows
from recbole_attack.experiment import prepare_pretrain
from recbole_attack.stages import LOCAL_TRAIN, PROMPT_TUNE

OWN = {
    "BERT4Rec": {"loss_type": "CE"},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8, "inner_size": None},
    "NARM": {"hidden_size": 6, "embedding_size": 8, "inner_size": None},
}


@pytest.fixture
def seen(pretrain, tmp_path):
    """Experiment, trainer, and the view of an untrained model with weights that tell items and users apart."""

    def see(stage=LOCAL_TRAIN, model="SASRec", **changes):
        given = {**pretrain(model=model, attack="none"), **OWN.get(model, {}), **changes}
        given = {key: value for key, value in given.items() if value is not None}
        made = prepare_pretrain(AttackConfig(config_dict=given))
        trainer = made.trainer(made.config, stage, tmp_path / model)
        with torch.no_grad():
            for number, parameter in enumerate(trainer.model.parameters()):
                draw = torch.Generator().manual_seed(number)
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        trainer.eval_collector.data_collect(made.train_data)
        return made, trainer, trainer.model_view(made.test_data, [5, 10])[1]

    return see


def rankings(made, model):
    """User -> scores of all items, and the items that compete; the rows of the test one at a time."""
    full, rows = made.dataset.split.full, made.test_data.dataset.inter_feat
    model.eval()
    for user, truth in zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True):
        history = full[user].tolist()[:-1][-20:]
        asked = {
            "item_id_list": torch.tensor([history]),
            "item_length": torch.tensor([len(history)]),
            "user_id": torch.tensor([user]),
        }
        with torch.no_grad():
            scores = model.full_sort_predict(Interaction(asked))[0].numpy()
        barred = {0, *full[user].tolist()[:-1]} - {truth}
        yield user, scores, [item for item in range(len(scores)) if item not in barred]


@pytest.mark.parametrize(
    ("model", "stage"),
    [*((model, LOCAL_TRAIN) for model in ("SASRec", "BERT4Rec", "GRU4Rec", "NARM")), ("SASRec", PROMPT_TUNE)],
    ids=["SASRec", "BERT4Rec", "GRU4Rec", "NARM", "prompts"],
)
def test_lists_and_pushes_are_those_of_a_plain_loop(seen, model, stage):
    """BERT4Rec's items have a bias, which changes who is near and not what a push does; the others' have none."""
    made, trainer, view = seen(stage, model, MAX_ITEM_LIST_LENGTH=20)
    weight = trainer.model.item_embedding.weight.detach().double().numpy()
    needed: dict[int, list[float]] = {}
    for row, (_, scores, competing) in enumerate(rankings(made, trainer.model)):
        order = sorted(competing, key=lambda item: -scores[item])[:LIST]
        assert view.lists[row].tolist() == order
        for item in competing:
            push = (scores[order[-1]] - scores[item]) / math.sqrt(sum(weight[item] ** 2))
            needed.setdefault(item, []).append(push)
    assert len(view.lists) == row + 1 > 20
    for item in range(1, made.dataset.item_num):
        of = sorted(needed[item])
        enough = next(push for push in of if 10 * sum(other <= push for other in of) >= 9 * len(of))
        assert view.pushes[item] == pytest.approx(enough, rel=1e-4, abs=1e-5)
    assert math.isnan(view.pushes[0])


def test_a_push_that_long_lists_the_item_for_so_many_users(seen):
    """The definition itself, other items' scores held."""
    made, trainer, view = seen()
    weight = trainer.model.item_embedding.weight.detach()
    gain = (view.pushes * weight[: made.dataset.item_num].norm(dim=1).numpy())[7]
    for more, enough in ((1e-4, True), (-1e-4, False)):
        inside = [
            scores[7] + gain + more >= sorted(scores[competing], reverse=True)[LIST - 1]
            for _, scores, competing in rankings(made, trainer.model)
            if 7 in competing
        ]
        assert (10 * sum(inside) >= 9 * len(inside)) == enough


def test_rows_are_the_tables_up_to_a_factor(seen):
    made, trainer, view = seen()
    weight = trainer.model.item_embedding.weight.detach().double().numpy()[: made.dataset.item_num]
    factor = np.median(view.rows[1:] / weight[1:])
    assert view.rows[1:] == pytest.approx(factor * weight[1:], rel=2e-3, abs=1e-4)
    assert (view.rows[0] == 0).all()
    assert np.square(view.rows[1:].astype(float)).sum(axis=1).mean() == pytest.approx(1, rel=1e-2)


def test_scores_that_are_no_inner_products_have_no_pushes(seen, caplog):
    made, trainer, view = seen()
    plain = trainer.model.full_sort_predict
    assert view.pushes is not None
    for bent in (lambda batch: plain(batch).tanh(), lambda batch: plain(batch) + plain(batch).roll(1, 1)):
        trainer.model.full_sort_predict = bent
        caplog.clear()
        bad = trainer.model_view(made.test_data, [5])[1]
        assert bad.pushes is None and "margin is left out" in caplog.text
        assert set(bad.arrays({}, np.arange(len(bad.lists)))) == {"rows", "lists", "groups"}


@pytest.mark.parametrize("states", [torch.zeros(4, 3), torch.full((4, 2), torch.nan)], ids=["another size", "nan"])
def test_states_that_the_scores_were_not_made_of_have_no_pushes(states):
    watch = ModelWatch(torch.ones(15, 2), np.arange(4), 1)
    watch.add(torch.randn(4, 15), states, torch.arange(4))
    watch._states = [torch.eye(4)]  # of which clusters are made
    assert watch.view().pushes is None


def test_of_many_users_some_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr("recbole_attack.evaluator.model_view.MOST_USERS", 7)
    rng = np.random.default_rng(0)
    states, rows = torch.from_numpy(rng.normal(size=(40, 3))), torch.from_numpy(rng.normal(size=(30, 3)))

    def looked(seed, batches):
        watch = ModelWatch(rows, np.arange(40), seed)
        for users in batches:
            watch.add(states[users] @ rows.T, states[users], torch.tensor(users))
        return watch.view()

    whole = looked(3, [list(range(40))])
    parts = looked(3, [[user] for user in range(40)])
    assert whole.pushes.tolist() == pytest.approx(parts.pushes.tolist(), nan_ok=True)
    assert whole.lists.tolist() == parts.lists.tolist() and whole.clusters.tolist() == parts.clusters.tolist()
    assert looked(4, [list(range(40))]).pushes.tolist() != whole.pushes.tolist()


@given(
    st.integers(1, 12).flatmap(
        lambda users: st.lists(
            st.lists(st.none() | st.integers(-9, 9), min_size=users, max_size=users), min_size=1, max_size=5
        )
    ),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_smallest_pushes_by_counting(columns, share):
    pushes = np.array([[math.nan if of is None else of for of in column] for column in columns], dtype=float).T
    found = smallest_pushes(pushes, share)
    for column, value in zip(columns, found, strict=True):
        known = sorted(of for of in column if of is not None)
        within = [of for of in known if sum(other <= of for other in known) >= share * len(known) - 1e-9]
        assert value == within[0] if known else math.isnan(value)


@given(st.integers(0, 99), st.sampled_from([1e-30, 1.0, 1e30]))
def test_rows_of_any_length_fit(seed, factor):
    rows = np.random.default_rng(seed).standard_cauchy((200, 4)) * factor
    rows[5] = np.nan
    found = unit_rows(rows)
    assert found.dtype == np.float16 and np.isfinite(np.delete(found, 5, axis=0)).all() and np.isnan(found[5]).all()
    assert (unit_rows(np.zeros((3, 2))) == 0).all() and not unit_rows(np.full((3, 2), np.nan))[0].any()


def test_clusters_are_of_directions_and_no_more_than_there_are():
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 90)
    states = np.eye(3)[kind] * rng.uniform(0.1, 9, (90, 1)) + rng.normal(size=(90, 3)) / 100
    found = clusters(states, 1, count=3)
    assert sorted({*found.tolist()}) == [1, 2, 3]
    assert len({*zip(kind.tolist(), found.tolist(), strict=True)}) == 3
    assert clusters(np.ones((4, 2)), 1).tolist() == [1] * 4


def test_divisions_by_what_is_known():
    words = np.array(["a", None, "b", "a"], dtype=object)
    assert division(words).tolist() == [1, 0, 2, 1]
    assert division(np.array([2.0, math.nan, 1.0, 2.0])).tolist() == [2, 0, 1, 2]
    ages = np.arange(40.0)
    ages[3] = math.nan
    found = division(ages)
    assert found[3] == 0 and sorted({*found.tolist()}) == [0, 1, 2, 3, 4]
    assert (np.diff(np.delete(found, 3)) >= 0).all() and np.bincount(found)[1:].min() >= 9
    assert division(np.array([None, None], dtype=object)).tolist() == [0, 0]
