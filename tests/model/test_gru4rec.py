"""GRU4Rec against RecBole's own and a loop over positions."""

import pytest
import torch

from recbole_attack.data import TrainBatch


@pytest.fixture
def gru(pair):
    return pair("GRU4Rec")


def test_parameters_and_initial_weights_are_recboles(gru):
    torch.manual_seed(1)
    ours = type(gru.ours)(gru.experiment.config, gru.experiment.dataset).state_dict()
    torch.manual_seed(1)
    settings = {**gru.experiment.config.final_config_dict, "loss_type": "CE"}
    theirs = type(gru.host)(settings, gru.experiment.dataset).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_recboles_weights_score_the_same(gru):
    rows = gru.experiment.test_data.dataset.inter_feat
    expected = gru.host.full_sort_predict(rows)
    torch.testing.assert_close(gru.ours.full_sort_predict(rows), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gru.ours.predict(rows), gru.host.predict(rows), rtol=1e-4, atol=1e-5)
    short = rows[:5]
    torch.testing.assert_close(gru.ours.full_sort_predict(short), expected[:5], rtol=1e-4, atol=1e-5)


def test_losses_are_a_loop_over_positions(gru):
    """Each state computed by RecBole's model from nothing but what stands before the position."""
    batch, expected = gru.batch(), []
    for inputs, positives, negatives in zip(*batch[:3], strict=True):
        terms = []
        for end in range(1, int((positives != 0).sum()) + 1):
            state = gru.host.forward(inputs[None, :end], torch.tensor([end]))[0]
            for item, sign in ((positives[end - 1], 1), (negatives[end - 1], -1)):
                terms.append(-torch.log(torch.sigmoid(sign * (state @ gru.host.item_embedding.weight[item]))))
        expected.append(torch.stack(terms))
    losses = gru.ours.client_losses(batch)
    torch.testing.assert_close(losses, torch.stack([terms.mean() for terms in expected]), rtol=1e-4, atol=1e-6)
    loss = gru.ours.calculate_loss(batch.to_interaction())
    torch.testing.assert_close(loss, torch.cat(expected).mean(), rtol=1e-4, atol=1e-6)
    embedded = gru.ours.embed(gru.ours.inputs(batch))
    torch.testing.assert_close(gru.ours.client_losses(batch, embedded), losses)
    assert not torch.isclose(gru.ours.client_losses(batch, embedded * 2), losses).any()


def test_a_user_without_positions_costs_nothing(gru):
    losses = gru.ours.client_losses(TrainBatch(*(torch.tensor([[1, 2], [0, 0]]) for _ in range(3))))
    assert losses[1] == 0 < losses[0]
