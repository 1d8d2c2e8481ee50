"""The victim against RecBole's own SASRec, a loop over positions, and the invariants of a causal encoder."""

import subprocess
import sys
from collections import ChainMap

import pytest
import torch

from recbole_attack.data import TrainBatch
from recbole_attack.experiment import prepare_training
from recbole_attack.model.host import SASRec as RecBoleSASRec

LENGTH = 12  # MAX_ITEM_LIST_LENGTH of the fixtures


@pytest.fixture
def experiment(config):
    return prepare_training(config())


def scatter(model):
    """Weights large enough that what should matter does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.0, generator=torch.Generator().manual_seed(parameter.numel()))
    return model.eval()


@pytest.fixture
def model(experiment, config):
    return scatter(config().model_class(experiment.config, experiment.dataset))


@pytest.fixture
def host(experiment):
    """RecBole's class, whose own constructor takes CE but not BCE."""
    return RecBoleSASRec(ChainMap({"loss_type": "CE"}, experiment.config.final_config_dict), experiment.dataset).eval()


@pytest.fixture
def batch(experiment):
    """Users of every length, the longest cut to ``LENGTH``."""
    data = experiment.train_data
    users = data.trainable_users[::4]
    return data.batch(users, data.negatives(0))


def prefix_state(model, row, length):
    """``[H]`` state after the first ``length`` items of a row, computed from those alone."""
    return model.forward(row[None, :length], torch.tensor([length]))[0]


def test_parameters_are_recboles(model, host):
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in host.state_dict().items()}


def test_recboles_weights_score_the_same(model, host, experiment):
    rows = experiment.test_data.dataset.inter_feat
    model.load_state_dict(scatter(host).state_dict())
    expected = host.full_sort_predict(rows)
    assert expected.shape == (len(rows), experiment.dataset.item_num)
    torch.testing.assert_close(model.full_sort_predict(rows), expected, rtol=1e-4, atol=1e-5)
    short = rows[:5]
    assert int(short["item_length"].max()) < LENGTH
    torch.testing.assert_close(model.full_sort_predict(short), expected[:5], rtol=1e-4, atol=1e-5)


def test_initial_weights_are_recboles(config, experiment):
    torch.manual_seed(1)
    ours = config().model_class(experiment.config, experiment.dataset).state_dict()
    torch.manual_seed(1)
    settings = ChainMap({"loss_type": "CE"}, experiment.config.final_config_dict)
    theirs = RecBoleSASRec(settings, experiment.dataset).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_xavier_initialisation(config):
    settings = config(initializer="xavier_normal", hidden_size=64, inner_size=128)
    experiment = prepare_training(settings)
    weights = settings.model_class(settings, experiment.dataset).state_dict()
    for key in ("item_embedding.weight", "trm_encoder.layer.0.feed_forward.dense_1.weight"):
        rows, columns = weights[key].shape
        assert weights[key].std().item() == pytest.approx((2 / (rows + columns)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("change", [1, 3, 7])
def test_later_items_do_not_change_earlier_states(model, change):
    sequence = torch.arange(1, 9)[None]
    other = sequence.clone()
    other[0, change:] = torch.arange(20, 20 + 8 - change)
    states, changed = (model.encode(x, model.embed(x)) for x in (sequence, other))
    torch.testing.assert_close(changed[:, :change], states[:, :change])
    assert not torch.isclose(changed[:, change:], states[:, change:]).all(dim=-1).any()


def test_padding_on_the_right_changes_nothing(model, batch):
    wide = torch.zeros(len(batch.item_seq), LENGTH, dtype=torch.int64)
    wide[:, : batch.item_seq.shape[1]] = batch.item_seq
    states = model.encode(wide, model.embed(wide))
    for row, length, state in zip(batch.item_seq, batch.lengths.tolist(), states, strict=True):
        tight = row[None, :length]
        torch.testing.assert_close(state[:length], model.encode(tight, model.embed(tight))[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        model.score_items(wide, batch.lengths),
        torch.stack([prefix_state(model, r, n) for r, n in zip(wide, batch.lengths.tolist(), strict=True)])
        @ model.item_embedding.weight.T,
        rtol=1e-4,
        atol=1e-5,
    )


def looped_losses(model, batch):
    """All terms of eq. 2, user by user, each state computed from nothing but what stands before it."""
    users = []
    for inputs, positives, negatives in zip(*batch[:3], strict=True):
        terms = []
        for position in range(int((positives != 0).sum())):
            state = prefix_state(model, inputs, position + 1).double()
            for item, sign in ((positives[position], 1), (negatives[position], -1)):
                score = state @ model.item_embedding.weight[item].double()
                terms.append(-torch.log(torch.sigmoid(sign * score)))
        users.append(terms)
    return users


def test_losses_are_a_loop_over_positions(model, batch):
    assert batch.lengths.min() < 4 < batch.lengths.max() == LENGTH
    expected = looped_losses(model, batch)
    losses = model.client_losses(batch)
    torch.testing.assert_close(
        losses.double(), torch.stack([torch.stack(t).mean() for t in expected]), rtol=1e-4, atol=0
    )
    every = torch.stack([term for terms in expected for term in terms])
    loss = model.calculate_loss(batch.to_interaction())
    torch.testing.assert_close(loss.double(), every.mean(), rtol=1e-4, atol=0)
    assert not torch.isclose(losses.mean(), loss, rtol=1e-3)


def test_a_users_loss_does_not_depend_on_the_other_rows(model, batch):
    losses = model.client_losses(batch)
    for user in range(len(losses)):
        alone = model.client_losses(batch.rows(torch.tensor([user])))
        torch.testing.assert_close(alone[0], losses[user], rtol=1e-4, atol=1e-6)


def test_a_user_without_positions_costs_nothing(model):
    empty = TrainBatch(*(torch.tensor([[1, 2], [0, 0]]) for _ in range(3)))
    losses = model.client_losses(empty)
    assert losses[1] == 0 < losses[0]
    losses.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    torch.testing.assert_close(model.calculate_loss(empty.to_interaction()), losses[0])


def test_importing_models_leaves_anomaly_detection_off(tmp_path):
    """RecBole's SINE switches it on for the whole process when it is imported."""
    code = (
        "import sys, torch, recbole_attack.model, recbole_attack.experiment\n"
        "print(torch.is_anomaly_enabled(), 'recbole.model.sequential_recommender.sine' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "True"]
