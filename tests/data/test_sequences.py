"""Ragged sequences against lists of lists."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data import UserSequences
from recbole_attack.data.sequences import from_pairs

N_ITEMS = 8
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=6), min_size=1, max_size=6).map(lambda h: [[], *h])
check = settings(derandomize=True, deadline=None)


def ragged(histories, n_items=N_ITEMS):
    items = np.array([i for history in histories for i in history], dtype=np.int32)
    return UserSequences(items, np.cumsum([0, *map(len, histories)]), n_items)


def as_lists(sequences):
    return [sequences[user].tolist() for user in range(sequences.n_users)]


def padded(rows):
    """``[B, W]`` array of the rows, 0 on the right; one column at least."""
    width = max([1, *map(len, rows)])
    return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), width)


@check
@given(HISTORIES)
def test_from_pairs_and_lengths(histories):
    pairs = np.array([(u, i) for u, history in enumerate(histories) for i in history], dtype=np.int64).reshape(-1, 2)
    sequences = from_pairs(pairs[:, 0], pairs[:, 1], len(histories), N_ITEMS)
    assert as_lists(sequences) == histories
    assert sequences.lengths.tolist() == [len(h) for h in histories]
    assert (sequences.n_users, sequences.n_items) == (len(histories), N_ITEMS)
    assert sequences.items.dtype == np.int32
    assert sequences.offsets.dtype == np.int64


@check
@given(HISTORIES, st.data())
def test_head_drops_the_last_items(histories, data):
    drop = [data.draw(st.integers(0, len(h))) for h in histories]
    head = ragged(histories).head(np.array(drop))
    assert as_lists(head) == [h[: len(h) - d] for h, d in zip(histories, drop, strict=True)]
    assert head.n_items == N_ITEMS


@check
@given(HISTORIES, st.data())
def test_tail_keeps_the_last_items(histories, data):
    keep = [data.draw(st.integers(0, len(h))) for h in histories]
    tail = ragged(histories).tail(np.array(keep))
    assert as_lists(tail) == [h[len(h) - k :] for h, k in zip(histories, keep, strict=True)]
    assert tail.n_items == N_ITEMS


@check
@given(HISTORIES, st.integers(1, 7), st.data())
def test_last_pads_on_the_right(histories, size, data):
    users = data.draw(st.lists(st.integers(0, len(histories) - 1), max_size=5))
    items, lengths = ragged(histories).last(np.array(users, dtype=np.int64), size)
    rows = [histories[u][-size:] for u in users]
    assert np.array_equal(items, padded(rows))
    assert items.dtype == np.int64
    assert lengths.tolist() == [len(row) for row in rows]


@check
@given(HISTORIES, st.integers(1, 7), st.data())
def test_positions_point_into_items(histories, size, data):
    sequences = ragged(histories)
    users = np.array(data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=5)))
    index, real = sequences.positions(users, size)
    for user, row, mask in zip(users, index, real, strict=True):
        end = sequences.offsets[user + 1]
        kept = min(len(histories[user]), size)
        assert row[mask].tolist() == list(range(end - kept, end))
        assert mask.tolist() == [step < kept for step in range(len(mask))]
        assert (row[~mask] == 0).all()
    assert index.shape[1] == max(1, max(min(len(histories[u]), size) for u in users))


@check
@given(HISTORIES)
def test_popularity_counts_repeats(histories):
    counts = Counter(i for history in histories for i in history)
    assert ragged(histories).popularity().tolist() == [counts[i] for i in range(N_ITEMS)]


@check
@given(HISTORIES, st.lists(st.integers(1, N_ITEMS - 1), unique=True, max_size=4))
def test_owners_ever_interacted(histories, items):
    owned = ragged(histories).owners(np.array(items, dtype=np.int64))
    assert owned.shape == (len(histories), len(items))
    assert owned.tolist() == [[i in history for i in items] for history in histories]


@check
@given(HISTORIES)
def test_as_sets_sorts_and_drops_repeats(histories):
    sets = ragged(histories).as_sets()
    assert as_lists(sets) == [sorted(set(h)) for h in histories]
    assert sets.items.dtype == np.int32
    assert sets.n_items == N_ITEMS


def test_ids_beyond_32_bits_of_user_and_item_do_not_collide():
    n = 70_000
    sequences = UserSequences(np.arange(1, n, dtype=np.int32)[::-1].copy(), np.arange(-1, n).clip(0), n)
    sets = sequences.as_sets()
    assert np.array_equal(sets.items, sequences.items)
    assert np.array_equal(sets.offsets, sequences.offsets)
