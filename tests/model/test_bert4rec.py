"""BERT4Rec against RecBole's own, and its masks against a literal reading, one item at a time."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_attack.attack.attack import AttackContext, Profile
from recbole_attack.attack.objective import training_loss
from recbole_attack.data import TrainBatch

LENGTH, N_ITEMS = 12, 40  # MAX_ITEM_LIST_LENGTH and the items of the fixtures
MASK = N_ITEMS
check = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def bert(pair):
    return pair("BERT4Rec", mask_ratio=0.4)


def batch_of(histories, draws):
    """What the trainer makes of whole histories; one list of draws for each."""
    width = max(map(len, histories))
    items = torch.tensor([history + [0] * (width - len(history)) for history in histories])
    real = items[:, 1:] != 0
    inputs = torch.where(real, items[:, :-1], 0)
    drawn = torch.tensor([row + [0.0] * (width - len(row)) for row in draws], dtype=torch.float64)
    return TrainBatch(inputs, items[:, 1:], torch.where(real, 1, 0), drawn)


def random_batch(lengths, seed=0):
    rng = np.random.default_rng(seed)
    histories = [rng.integers(1, N_ITEMS, length).tolist() for length in lengths]
    return histories, batch_of(histories, [rng.random(length).tolist() for length in lengths])


# Scores


def test_parameters_and_initial_weights_are_recboles(pair):
    ours, host, experiment = pair("BERT4Rec")
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in host.state_dict().items()}
    torch.manual_seed(1)
    new = type(ours)(experiment.config, experiment.dataset).state_dict()
    torch.manual_seed(1)
    theirs = type(host)(experiment.config, experiment.dataset).state_dict()
    assert all(torch.equal(new[key], theirs[key]) for key in theirs)


def test_recboles_weights_score_the_same(bert):
    rows = bert.experiment.test_data.dataset.inter_feat
    lengths = set(rows["item_length"].tolist())
    assert LENGTH in lengths and min(lengths) < LENGTH
    expected = bert.host.full_sort_predict(rows)
    assert expected.shape == (len(rows), N_ITEMS)
    torch.testing.assert_close(bert.ours.full_sort_predict(rows), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bert.ours.predict(rows), bert.host.predict(rows), rtol=1e-4, atol=1e-5)
    short = rows[[i for i, n in enumerate(rows["item_length"].tolist()) if n < LENGTH]]
    expected = bert.host.full_sort_predict(short)
    torch.testing.assert_close(bert.ours.full_sort_predict(short), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", range(1, LENGTH + 1))
def test_every_length_scores_as_recbole_has_it(bert, length):
    items = torch.randint(1, N_ITEMS, (1, LENGTH), generator=torch.Generator().manual_seed(length))
    items[0, length:] = 0
    row = Interaction({"item_id_list": items, "item_length": torch.tensor([length])})
    scores = bert.ours.score_items(items[:, :length], torch.tensor([length]))
    torch.testing.assert_close(scores, bert.host.full_sort_predict(row), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, LENGTH - 1, LENGTH])
def test_aligned_to_the_right_the_mask_stands_last_and_nothing_is_dropped_needlessly(pair, length):
    """RecBole's encoder on sequences padded on the left, as DV-FSR's released code has them."""
    ours, host, _ = pair("BERT4Rec", position_alignment="right")
    items = torch.randint(1, N_ITEMS, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    padded = ([0] * LENGTH + items + [MASK])[-LENGTH:]
    state = host.forward(torch.tensor([padded]))[:, -1]
    expected = state @ host.item_embedding.weight[:N_ITEMS].T + host.output_bias
    for width in (length, LENGTH):
        row = torch.tensor([items + [0] * (width - length)])
        torch.testing.assert_close(ours.score_items(row, torch.tensor([length])), expected, rtol=1e-4, atol=1e-5)


def test_rows_of_different_lengths_score_as_each_does_alone(pair):
    for alignment in ("left", "right"):
        ours = pair("BERT4Rec", position_alignment=alignment).ours
        lengths = torch.tensor([1, 4, LENGTH - 1, LENGTH])
        rows = torch.randint(1, N_ITEMS, (4, LENGTH), generator=torch.Generator().manual_seed(1))
        rows = torch.where(torch.arange(LENGTH) < lengths[:, None], rows, 0)
        alone = [ours.score_items(row[None, :n], n[None])[0] for row, n in zip(rows, lengths, strict=True)]
        torch.testing.assert_close(ours.score_items(rows, lengths), torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_scores_of_some_items_are_those_of_all(bert):
    states = torch.randn(3, 8)
    chosen = torch.tensor([5, 1, 39])
    torch.testing.assert_close(bert.ours.item_scores(states, chosen), bert.ours.item_scores(states)[:, chosen])


def test_the_state_follows_from_the_embeddings_it_is_given(bert):
    """Moving an item's embedding where it is given moves the state as moving it in the table does."""
    items, lengths = torch.tensor([[3, 7, 3, 9, 0]]), torch.tensor([4])
    given = bert.ours.embed(items).detach()
    given[items == 7] += 1.0
    moved = bert.ours.state(items, lengths, given)
    with torch.no_grad():
        bert.ours.item_embedding.weight[7] += 1.0
    assert not torch.allclose(bert.ours.embed(items), given - 1.0)
    torch.testing.assert_close(moved, bert.ours.forward(items, lengths))
    emb = given.requires_grad_()
    (slope,) = torch.autograd.grad(bert.ours.state(items, lengths, emb)[0, 0], emb)
    assert [bool(row.any()) for row in slope[0]] == [False, True, True, True, False]  # the first item is dropped


def test_xavier_initialisation(pair):
    weight = torch.nn.init.xavier_normal_(torch.empty(N_ITEMS + 1, 8)).std()
    ours, _, experiment = pair("BERT4Rec", initializer="xavier_normal")
    new = type(ours)(experiment.config, experiment.dataset)
    assert new.item_embedding.weight.std().item() == pytest.approx(weight.item(), rel=0.2)


# Masks


def literal_masks(history, draws, ratio, n_items):
    """What is put in, and the (position, item) pairs of the loss."""
    put_in, terms = [], []
    for position, (item, draw) in enumerate(list(zip(history, draws, strict=True))[-LENGTH:]):
        share = draw / ratio
        if share >= 1:
            put_in.append(item)
            continue
        terms.append((position, item))
        if share < 0.8:
            put_in.append(MASK)
        elif share < 0.9:
            put_in.append(1 + int((share - 0.8) / 0.1 * (n_items - 1)))
        else:
            put_in.append(item)
    return put_in, terms


@check
@given(st.lists(st.integers(2, LENGTH + 1), min_size=1, max_size=5), st.integers(0, 10_000))
def test_masks_are_the_literal_reading(bert, lengths, seed):
    histories, batch = random_batch(lengths, seed)
    item_seq, positions, labels = bert.ours.loss_inputs(batch)
    assert torch.equal(bert.ours.inputs(batch), item_seq)
    counts = []
    for row, history in enumerate(histories):
        draws = batch.draws[row, : len(history)].tolist()
        put_in, terms = literal_masks(history, draws, 0.4, N_ITEMS)
        assert item_seq[row].tolist() == put_in + [0] * (item_seq.shape[1] - len(put_in))
        found = [(p, i) for p, i in zip(positions[row].tolist(), labels[row].tolist(), strict=True) if i]
        assert found == terms
        counts.append(len(terms))
    assert bert.ours.loss_terms(batch).tolist() == counts
    assert labels.shape[1] == max(*counts, 1)


def test_of_the_chosen_items_80_percent_are_masked_10_random_and_10_kept(pair):
    ours = pair("BERT4Rec", mask_ratio=0.25).ours
    grid = (np.arange(40_000) + 0.5) / 40_000
    rows = grid.reshape(-1, 10)
    item_seq, _, labels = ours.loss_inputs(batch_of([[7] * 10] * len(rows), rows.tolist()))
    assert int((labels != 0).sum()) == 10_000
    assert int((item_seq == MASK).sum()) == 8_000
    counts = torch.bincount(item_seq.flatten(), minlength=N_ITEMS + 1)
    assert int(counts[0]) == 0
    others = counts[[i for i in range(1, N_ITEMS) if i != 7]]
    assert others.min() >= 25 and others.max() <= 26, "1000 random items, 39 items"


def test_draws_belong_to_the_interactions(bert):
    data = bert.experiment.train_data
    users = data.trainable_users
    drawn = data.draws("masks", 3, 1)
    whole = data.batch(users, data.negatives(3), drawn)
    for row, user in enumerate(users):
        own = drawn[data.sequences.offsets[user] : data.sequences.offsets[user + 1]][-(LENGTH + 1) :]
        assert np.array_equal(whole.draws[row, : len(own)].numpy(), own)
        alone = data.batch(np.array([user]), data.negatives(3), drawn)
        assert torch.equal(alone.draws[0], whole.draws[row, : alone.draws.shape[1]])
        assert torch.equal(whole.rows(torch.tensor([row])).draws, alone.draws)
    for other in (data.draws("masks", 3), data.draws("masks", 2, 1), data.draws("other", 3, 1)):
        assert not np.isclose(other, drawn).any()


# Losses


def test_the_loss_is_recboles_on_the_same_masks(bert):
    histories, batch = random_batch([LENGTH, 9, 5, 12, 7])
    batch.draws[:, 0] = 0.9  # RecBole leaves a masked first item out of the loss
    item_seq, positions, labels = bert.ours.loss_inputs(batch)
    assert (positions[labels != 0] > 0).all() and (labels == 0).any()
    bert.host.MASK_ITEM_SEQ, bert.host.POS_ITEMS, bert.host.NEG_ITEMS, bert.host.MASK_INDEX = "seq", "pos", "neg", "at"
    at = torch.where(labels != 0, positions, 0)
    theirs = Interaction({"seq": item_seq, "pos": labels, "neg": labels, "at": at})
    loss = bert.ours.calculate_loss(batch.to_interaction())
    torch.testing.assert_close(loss, bert.host.calculate_loss(theirs), rtol=1e-5, atol=0)
    losses = bert.ours.client_losses(batch)
    assert not torch.isclose(losses.mean(), loss)
    for row in range(len(histories)):
        one = Interaction({"seq": item_seq[[row]], "pos": labels[[row]], "neg": labels[[row]], "at": at[[row]]})
        torch.testing.assert_close(losses[row], bert.host.calculate_loss(one), rtol=1e-5, atol=0)


def test_a_users_loss_does_not_depend_on_the_other_rows(bert):
    batch = bert.batch()
    losses = bert.ours.client_losses(batch)
    for user in range(len(losses)):
        alone = bert.ours.client_losses(batch.rows(torch.tensor([user])))
        torch.testing.assert_close(alone[0], losses[user], rtol=1e-4, atol=1e-6)


def test_a_user_without_a_masked_item_costs_nothing(bert):
    batch = batch_of([[1, 2, 3], [4, 5, 6]], [[0.9, 0.9, 0.9], [0.1, 0.9, 0.2]])
    losses = bert.ours.client_losses(batch)
    assert losses[0] == 0 < losses[1]
    torch.testing.assert_close(bert.ours.calculate_loss(batch.to_interaction()), losses[1])
    alone = bert.ours.client_losses(batch.rows(torch.tensor([0])))
    gradients = torch.autograd.grad(alone.sum(), list(bert.ours.parameters()))
    assert all((gradient == 0).all() for gradient in gradients)
    assert bert.ours.calculate_loss(batch.rows(torch.tensor([0])).to_interaction()) == 0


def test_embeddings_to_start_from_replace_those_of_the_inputs(bert):
    batch = bert.batch()
    embedded = bert.ours.embed(bert.ours.inputs(batch))
    plain = bert.ours.client_losses(batch)
    torch.testing.assert_close(bert.ours.client_losses(batch, embedded), plain)
    assert not torch.isclose(bert.ours.client_losses(batch, embedded * 2), plain)[plain > 0].any()


def test_a_fake_profile_is_masked_by_user_epoch_and_repetition(bert):
    data = bert.experiment.train_data
    profile = Profile(torch.randint(1, N_ITEMS, (2, LENGTH)), torch.tensor([LENGTH, LENGTH]))
    targets = torch.tensor([7])

    def masks(users=(3, 4), repeats=1, **changes):
        seen = []

        class Spy(type(bert.ours)):
            def client_losses(self, batch, item_emb=None):
                seen.append(batch.draws)
                return super().client_losses(batch, item_emb)

        bert.ours.__class__ = Spy
        context = AttackContext(targets, data.outside, **{"seed": 1, **changes})
        training_loss(bert.ours, profile, profile, np.array(users), repeats, context)
        bert.ours.__class__ = Spy.__mro__[1]
        assert seen[0].shape == (2, LENGTH) and ((seen[0] >= 0) & (seen[0] < 1)).all()
        return seen[0]

    first = masks()
    assert torch.equal(masks(), first) and not torch.isclose(first[0], first[1]).any()
    twice = masks(users=(3, 3), repeats=2)
    assert torch.equal(twice[0], first[0]) and not torch.isclose(twice[1], first[0]).any()
    for other in (masks(epoch=1), masks(step=1), masks(seed=2), masks(users=(5, 6))):
        assert not torch.isclose(other, first).any()
