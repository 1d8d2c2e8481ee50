"""Rows for RecBole's own models, against slow loops and RecBole's own datasets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.dataset import Dataset, SequentialDataset

from recbole_attack import AttackConfig
from recbole_attack.data.recbole_rows import InteractionRows, PrefixRows, prefixes
from recbole_attack.data.sequences import from_pairs
from recbole_attack.experiment import create_dataset

LENGTHS = [1, 2, 3, 4, 7, 12]
"""Interactions of each user of the dataset ``short``: every case of leave-one-out."""


@pytest.fixture
def short(tmp_path):
    """Users of few interactions, one after the other in time, so that RecBole's rows come in our order."""
    folder = tmp_path / "data" / "short"
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(3), ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, length in enumerate(LENGTHS):
        lines += [f"u{user}\ti{item}\t{100 * user + t}" for t, item in enumerate(rng.integers(0, 15, length))]
    (folder / "short.inter").write_text("\n".join(lines) + "\n")
    place = {"data_path": str(tmp_path / "data"), "dataset": "short", "scenario": "recbole"}
    return lambda model, **changes: AttackConfig(model, config_dict={**place, **changes})


def columns(interaction):
    return {key: values.tolist() for key, values in interaction.interaction.items()}


def prefix(items, end, size):
    before = items[:end][-size:]
    return before + [0] * (size - len(before)), len(before)


@given(st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=5), st.integers(1, 9))
def test_prefixes_are_what_stands_before_each_interaction(histories, size):
    """Users may have no interaction at all."""
    pairs = [(user, item) for user, items in enumerate(histories, 1) for item in items]
    users, items = (np.array([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    sequences = from_pairs(users, items, len(histories) + 1, 10)
    found = prefixes(sequences, np.arange(len(pairs)), size)
    expected = [(u, *prefix(own, end, size)) for u, own in enumerate(histories, 1) for end in range(len(own))]
    assert [(u, s, n) for u, s, n in zip(*(column.tolist() for column in found), strict=True)] == expected


@pytest.mark.parametrize("size", [2, 5, 20])
def test_sequential_rows_are_every_prefix(short, size):
    dataset = create_dataset(short("GRU4Rec", MAX_ITEM_LIST_LENGTH=size), PrefixRows)
    train, valid, test = dataset.build()
    expected: list[list[tuple]] = [[], [], []]
    for user in range(1, dataset.user_num):
        items = dataset.split.full[user].tolist()
        n = len(items)
        last = {1: 0, 2: 2, 3: 2}.get(n, n - 2)  # RecBole leaves each user one row to train on
        for end in range(1, n):
            part = 0 if end < last else 2 if end == n - 1 else 1
            expected[part].append((user, items[end], *prefix(items, end, size), end))
    for part, rows in zip((train, valid, test), expected, strict=True):
        found = columns(part.inter_feat)
        history = found.pop("history_length", [row[-1] for row in rows])
        table = list(
            zip(*(found[k] for k in ("user_id", "item_id", "item_id_list", "item_length")), history, strict=True)
        )
        assert table == rows
        assert rows
        assert all(
            values.dtype.is_signed and values.element_size() == 8 for values in part.inter_feat.interaction.values()
        )


def test_general_rows_are_the_training_interactions_and_the_held_out_ones(short):
    dataset = create_dataset(short("BPR"), InteractionRows)
    train, valid, test = dataset.build()
    pairs = [(user, int(item)) for user in range(1, dataset.user_num) for item in dataset.split.train[user]]
    found = columns(train.inter_feat)
    assert list(zip(found["user_id"], found["item_id"], strict=True)) == pairs
    for part, place, shortest in ((valid, -2, 4), (test, -1, 3)):
        sequences = [dataset.split.full[user].tolist() for user in range(1, dataset.user_num)]
        rows = [(u, s[place], len(s) + place) for u, s in enumerate(sequences, 1) if len(s) >= shortest]
        found = columns(part.inter_feat)
        assert list(zip(found["user_id"], found["item_id"], found["history_length"], strict=True)) == rows
    matrix = np.zeros((dataset.user_num, dataset.item_num))
    for user, item in pairs:
        matrix[user, item] += 1
    assert np.array_equal(train.inter_matrix(form="csr").toarray(), matrix)


@pytest.mark.parametrize("size", [3, 20])
def test_recboles_own_augmentation_makes_the_same_training_rows(short, size):
    settings = short("GRU4Rec", MAX_ITEM_LIST_LENGTH=size)
    ours, recboles = create_dataset(settings, PrefixRows).build()[0], SequentialDataset(settings).build()[0]
    expected = columns(recboles.inter_feat)
    assert {key: expected[key] for key in columns(ours.inter_feat)} == columns(ours.inter_feat)
    assert ours.field2seqlen["item_id_list"] == recboles.field2seqlen["item_id_list"] == size


def test_recboles_own_matrix_of_the_same_interactions_is_the_same(short):
    settings = short("BPR")
    ours, recboles = create_dataset(settings, InteractionRows), Dataset(settings)
    recboles._change_feat_format()
    whole = ours.build()[0].copy(ours.inter_feat).inter_matrix(form="csr")
    assert np.array_equal(whole.toarray(), recboles.inter_matrix(form="csr").toarray())
