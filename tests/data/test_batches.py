"""Training batches against a loop over users and positions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_attack.data import CentralEpoch, NonInteracted, TrainBatch, TrainData, UserSequences
from recbole_attack.utils.rng import stream

N_ITEMS = 12
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=9), min_size=1, max_size=8).map(
    lambda h: [[], [1], *h]
)
check = settings(derandomize=True, deadline=None)


def train_data(histories, max_length=4, seed=3):
    items = np.array([i for history in histories for i in history], dtype=np.int32)
    sequences = UserSequences(items, np.cumsum([0, *map(len, histories)]), N_ITEMS)
    return TrainData(None, sequences, NonInteracted(sequences), max_length, seed)


def looped_batch(histories, users, negatives, max_length):
    """Inputs, positives and negatives of every user, position by position; negatives stand beside the positives."""
    starts = np.cumsum([0, *map(len, histories)])
    rows = []
    for user in users:
        row = []
        for position in range(1, len(histories[user])):
            negative = int(negatives[starts[user] + position])
            row.append((histories[user][position - 1], histories[user][position], negative))
        rows.append(row[-max_length:])
    return rows


def as_rows(batch):
    """A batch as lists of (input, positive, negative); what is padded must be all zero."""
    rows = []
    for inputs, positives, negatives in zip(*(field.tolist() for field in batch[:3]), strict=True):
        row = list(zip(inputs, positives, negatives, strict=True))
        length = sum(positive != 0 for positive in positives)
        assert row[length:] == [(0, 0, 0)] * (len(row) - length)
        rows.append(row[:length])
    return rows


@check
@given(HISTORIES, st.integers(1, 6), st.data())
def test_batch_is_the_loop(histories, max_length, data):
    users = data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=6))
    negatives = 100 + np.arange(sum(map(len, histories)))  # tells every interaction from the others
    batch = train_data(histories, max_length).batch(np.array(users), negatives)
    expected = looped_batch(histories, users, negatives, max_length)
    assert as_rows(batch) == expected
    assert batch.lengths.tolist() == [len(row) for row in expected]
    assert batch.item_seq.shape[1] <= max_length
    assert all(field.dtype == torch.int64 for field in batch[:3])


@check
@given(HISTORIES, st.data())
def test_rows_of_a_batch_are_the_batch_of_those_users(histories, data):
    users = data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=6))
    chosen = data.draw(st.lists(st.integers(0, len(users) - 1), min_size=1, max_size=4))
    source = train_data(histories)
    negatives = source.negatives(0)
    part = source.batch(np.array(users), negatives).rows(torch.tensor(chosen))
    alone = source.batch(np.array(users)[chosen], negatives)
    assert as_rows(part) == as_rows(alone)
    assert part.item_seq.shape[1] <= max(1, int(alone.lengths.max()))


@check
@given(HISTORIES, st.integers(1, 6))
def test_examples_and_trainable_users(histories, max_length):
    source = train_data(histories, max_length)
    assert source.examples.tolist() == [min(max(len(h) - 1, 0), max_length) for h in histories]
    assert source.trainable_users.tolist() == [u for u, h in enumerate(histories) if len(h) > 1]


@check
@given(HISTORIES, st.integers(0, 5))
def test_negatives_lie_outside_the_training_history(histories, epoch):
    negatives = train_data(histories).negatives(epoch).tolist()
    owners = [user for user, history in enumerate(histories) for _ in history]
    assert len(negatives) == len(owners)
    for user, negative in zip(owners, negatives, strict=True):
        allowed = set(range(1, N_ITEMS)) - set(histories[user]) or set(range(1, N_ITEMS))
        assert negative in allowed


def test_negatives_follow_epoch_step_and_seed():
    histories = [[], *([i % 5 + 1, 7, 8] for i in range(20))]
    drawn = train_data(histories).negatives(2, 1)
    assert np.array_equal(train_data(histories).negatives(2, 1), drawn)
    others = [train_data(histories).negatives(3, 1), train_data(histories).negatives(2)]
    others.append(train_data(histories, seed=4).negatives(2, 1))
    assert not any(np.array_equal(other, drawn) for other in others)


def users_of(batch, source, negatives):
    """The users of an epoch's batch, told apart by their histories."""
    known = {as_row(source, user, negatives): int(user) for user in source.trainable_users}
    return [known[tuple(row)] for row in as_rows(TrainBatch(*(batch[field] for field in TrainBatch._fields[:3])))]


def as_row(source, user, negatives):
    return tuple(as_rows(source.batch(np.array([user]), negatives))[0])


def distinct_histories(rng, n_users=40):
    """Users with 0 to 9 interactions; the first two items of those that train name the user."""
    pairs = rng.permutation([(a, b) for a in range(1, N_ITEMS) for b in range(1, N_ITEMS)])[:n_users].tolist()
    lengths = rng.integers(0, 8, size=n_users)
    return [[], *((pair + pair * 4)[: n + 1] for pair, n in zip(pairs, lengths, strict=True))]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 10_000])
def test_an_epoch_covers_every_trainable_user_once(batch_size, shuffle):
    source = train_data(distinct_histories(np.random.default_rng(0)), max_length=6)
    epoch = CentralEpoch(source, 1, batch_size, shuffle)
    batches = list(epoch)
    negatives = source.negatives(1)
    seen = [user for batch in batches for user in users_of(batch, source, negatives)]
    assert sorted(seen) == source.trainable_users.tolist()
    assert (seen == sorted(seen)) is not shuffle
    assert len(epoch) == len(batches)
    positions = [int((batch["pos_items"] != 0).sum()) for batch in batches]
    total, longest = sum(positions), source.examples.max()
    assert max(positions) < batch_size + longest
    assert len(batches) <= -(-total // batch_size)
    assert all(n > batch_size - longest for n in positions[:-1])


def test_an_epoch_is_the_same_twice_and_other_epochs_differ():
    source = train_data(distinct_histories(np.random.default_rng(1)))

    def content(number):
        return [
            [batch[field].tolist() for field in TrainBatch._fields[:3]] for batch in CentralEpoch(source, number, 20)
        ]

    epoch = CentralEpoch(source, 1, 20)
    assert [b["item_seq"].tolist() for b in epoch] == [b["item_seq"].tolist() for b in epoch]
    first, other = content(1), content(2)
    assert content(1) == first
    for field in (0, 2):  # inputs, since the order differs, and negatives
        assert [batch[field] for batch in other] != [batch[field] for batch in first]


# Users and poison


@check
@given(HISTORIES, st.data())
def test_rows_and_copies_of_a_batch_keep_users_and_draws(histories, data):
    source = train_data(histories)
    users = np.array(data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=6)))
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(users) - 1), min_size=1, max_size=4)))
    batch = source.batch(users, source.negatives(0), source.draws("masks", 0))._replace(users=torch.from_numpy(users))
    part = batch.rows(chosen)
    assert part.users.tolist() == users[chosen.numpy()].tolist()
    assert torch.equal(part.draws, batch.draws[chosen, : part.item_seq.shape[1] + 1])
    moved = batch.to(torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(moved, batch, strict=True))
    assert set(batch.to_interaction().interaction) == set(TrainBatch._fields)
    assert set(source.batch(users, source.negatives(0)).to_interaction().interaction) == set(TrainBatch._fields[:3])


@check
@given(HISTORIES, st.integers(1, 6), st.data())
def test_values_of_interactions_are_aligned_with_the_items_of_a_batch(histories, max_length, data):
    users = data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=6))
    source = train_data(histories, max_length)
    number = np.arange(sum(map(len, histories))).astype(float)
    aligned = source.aligned(number, np.array(users))
    starts = np.cumsum([0, *map(len, histories)])
    for row, user in zip(aligned.tolist(), users, strict=True):
        last = list(range(starts[user], starts[user + 1]))[-(max_length + 1) :]
        assert row[: len(last)] == last


def epochs_batches(source, **changes):
    return [batch.interaction for batch in CentralEpoch(source, 2, 30, **changes)]


def test_users_of_a_batch_are_those_whose_rows_it_holds():
    source = train_data(distinct_histories(np.random.default_rng(0)), max_length=6)
    negatives = source.negatives(2)
    for batch in CentralEpoch(source, 2, 30, needs_users=True):
        assert batch["users"].tolist() == users_of(batch, source, negatives)


def test_poison_gets_every_batch_with_its_users_and_a_draw_for_each_item_to_predict():
    source = train_data(distinct_histories(np.random.default_rng(0)), max_length=6)
    fate, starts = source.draws("poison", 2), source.sequences.offsets
    seen = []

    def poison(batch, users, draws):
        seen.extend(users.tolist())
        for row, user in enumerate(users):
            length = int(batch.lengths[row])
            assert draws[row, :length].tolist() == fate[starts[user + 1] - length : starts[user + 1]].tolist()
        assert draws.shape == batch.pos_items.shape
        return batch._replace(pos_items=batch.pos_items * 2)

    clean, poisoned = epochs_batches(source), epochs_batches(source, poison=poison, needs_users=True)
    assert sorted(seen) == source.trainable_users.tolist()
    assert [user for batch in poisoned for user in batch["users"].tolist()] == seen
    for before, after in zip(clean, poisoned, strict=True):
        assert set(after) - set(before) == {"users"}
        assert torch.equal(after["item_seq"], before["item_seq"])
        assert torch.equal(after["neg_items"], before["neg_items"])
        assert torch.equal(after["pos_items"], 2 * before["pos_items"])


@check
@given(HISTORIES, st.integers(1, 5), st.integers(0, 3))
def test_shared_negatives_are_one_order_without_a_users_own_items(histories, max_length, epoch):
    data = train_data(histories, max_length)
    nobody = train_data([[], list(range(1, N_ITEMS))], N_ITEMS).shared_negatives(epoch)
    assert len(set(nobody.tolist()[1:])) == N_ITEMS - 2  # who owns everything goes through the whole order
    order = [int(nobody[1]), *nobody.tolist()[2:]]
    order += sorted(set(range(1, N_ITEMS)) - set(order))
    rows = as_rows(data.batch(np.arange(len(histories)), data.shared_negatives(epoch)))
    for history, row in zip(histories, rows, strict=True):
        free = [item for item in order if item not in history]
        if free:
            assert [negative for _, _, negative in row] == [free[n % len(free)] for n in range(len(row))]


USERS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@check
@given(HISTORIES, st.integers(1, 6), USERS, st.integers(0, 5))
def test_clients_draw_by_streams_of_their_own(histories, max_length, users, key):
    source = train_data(histories, max_length)
    users = np.minimum(users, len(histories) - 1)
    drawn = source.client_draws(users, "masks", key, 1)
    assert drawn.shape == source.aligned(np.zeros(len(source.sequences.items)), users).shape
    for row, user in enumerate(users.tolist()):
        n = min(len(histories[user]), max_length + 1)
        assert drawn[row, :n].tolist() == stream(source.seed, "masks", key, 1, user).random(n).tolist()
        assert not drawn[row, n:].any()
        assert source.client_draws(users[row : row + 1], "masks", key, 1)[0, :n].tolist() == drawn[row, :n].tolist()


@check
@given(HISTORIES, st.integers(1, 6), USERS, st.integers(0, 5))
def test_clients_negatives_are_those_their_draws_point_at(histories, max_length, users, key):
    source = train_data(histories, max_length)
    users = np.minimum(users, len(histories) - 1)
    shares = source.client_draws(users, "client negatives", key, 0)
    batch = source.aligned_batch(users, source.client_negatives(users, key, 0))
    for row, user in enumerate(users.tolist()):
        free = [item for item in range(1, N_ITEMS) if item not in histories[user]] or list(range(1, N_ITEMS))
        expected = [free[int(share * len(free))] for share in shares[row, 1 : 1 + int(batch.lengths[row])]]
        assert batch.neg_items[row, : len(expected)].tolist() == expected


def test_clients_negatives_are_uniform():
    source = train_data([[], [1, 2, 3, 4, 5, 6, 7, 8]], 9)
    drawn = np.concatenate([source.client_negatives(np.array([1]), period)[0] for period in range(500)])
    counts = np.bincount(drawn, minlength=N_ITEMS)
    assert counts[:9].sum() == 0
    assert chisquare(counts[9:]).pvalue > 0.001
