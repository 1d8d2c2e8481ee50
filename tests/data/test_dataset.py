"""Atomic files to ordered sequences: exact time, RecBole's filters, errors, memory."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data.dataset import SequentialDataset

from recbole_attack import AttackConfig
from recbole_attack.experiment import create_dataset, prepare_training
from recbole_attack.utils.errors import DataError

COLUMNS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"])), min_size=3, max_size=15)
START = 1_700_000_000


def write_dataset(folder, rows, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    (folder / f"{folder.name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_rows(path):
    """(user, item, rating, time) as text, text, int, int, in file order."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [(user, item, int(rating), int(time)) for user, item, rating, time in rows]


def in_time_order(rows):
    """The oracle: each user's items by time, equal times in file order (Python's sort is stable)."""
    sequences = {}
    for user, item, _, _ in sorted(rows, key=lambda row: row[3]):
        sequences.setdefault(user, []).append(item)
    return sequences


def sequences_of(dataset):
    """Each user's full sequence in tokens."""
    dataset.build()
    full = dataset.split.full
    users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    return {str(users[u]): [str(items[i]) for i in full[u]] for u in range(1, full.n_users)}


@pytest.fixture
def tiny_rows(config):
    return read_rows(Path(config()["data_path"]) / "tiny.inter")


@pytest.fixture
def load(tmp_path, small):
    """The dataset made of some rows."""

    def load_rows(rows, columns=COLUMNS, **changes):
        write_dataset(tmp_path / "made", rows, columns)
        return create_dataset(AttackConfig(config_dict=small(data_path=str(tmp_path), dataset="made", **changes)))

    return load_rows


def test_exact_order_where_recboles_differs(config, tiny_rows):
    expected = in_time_order(tiny_rows)
    assert sequences_of(create_dataset(config())) == expected
    rounded = sequences_of(create_dataset(config(exact_time_order=False)))
    as_float32 = [(*row[:3], float(np.float32(row[3]))) for row in tiny_rows]
    assert rounded == in_time_order(as_float32)
    assert sum(rounded[user] != expected[user] for user in expected) > 10


def test_recbole_itself_holds_out_other_items(config, tiny_rows):
    """What the exact order is for: RecBole tests users on items that are not their last ones."""
    dataset = SequentialDataset(config())
    test = dataset.build()[2].inter_feat
    users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    last = {user: sequence[-1] for user, sequence in in_time_order(tiny_rows).items()}
    theirs = {users[u]: items[i] for u, i in zip(test["user_id"].tolist(), test["item_id"].tolist(), strict=True)}
    dataset = create_dataset(config())
    test = dataset.build()[2].inter_feat
    users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    ours = {users[u]: items[i] for u, i in zip(test["user_id"].tolist(), test["item_id"].tolist(), strict=True)}
    assert ours == {user: last[user] for user in theirs}
    assert ours != theirs


# The fixture is a function without state.
@settings(derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=ROWS, data=st.data())
def test_generated_rows_come_in_time_order_and_ties_in_file_order(tmp_path_factory, small, pairs, data):
    steps = data.draw(st.lists(st.integers(-3, 3), min_size=len(pairs), max_size=len(pairs)))
    base = data.draw(st.sampled_from([0, START, START * 1000]))
    rows = [(user, item, 1, base + step) for (user, item), step in zip(pairs, steps, strict=True)]
    folder = tmp_path_factory.getbasetemp() / "ordered"
    write_dataset(folder, rows)
    config = AttackConfig(config_dict=small(data_path=str(folder.parent), dataset="ordered"))
    assert sequences_of(create_dataset(config)) == in_time_order(rows)


def test_shuffled_rows_with_distinct_times_change_nothing(load, tiny_rows):
    rows = [(user, item, rating, START + 3 * n) for n, (user, item, rating, _) in enumerate(tiny_rows)]
    before = sequences_of(load(rows))
    assert before == in_time_order(rows)
    random.Random(1).shuffle(rows)
    assert sequences_of(load(rows)) == before


def test_fractions_of_a_second_count(load):
    rows = [("a", f"i{n}", 1, time) for n, time in enumerate([START + 0.75, START + 0.5, START + 0.25, START])]
    assert sequences_of(load(rows)) == {"a": ["i3", "i2", "i1", "i0"]}


def test_core_filters_act(config, tiny_rows):
    changes = {"user_inter_num_interval": "[8,inf)", "item_inter_num_interval": "[25,inf)"}
    rows, before = tiny_rows, None
    while rows != before:  # repeat until both hold at once
        before = rows
        users, items = ([row[column] for row in rows] for column in (0, 1))
        rows = [row for row in rows if users.count(row[0]) >= 8 and items.count(row[1]) >= 25]
    assert 0 < len(rows) < len(tiny_rows)
    assert sequences_of(create_dataset(config(**changes))) == in_time_order(rows)


def test_value_filter_acts_on_a_loaded_column(config, tiny_rows):
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    dataset = create_dataset(config(load_col=columns, val_interval={"rating": "[4,inf)"}))
    rows = [row for row in tiny_rows if row[2] >= 4]
    assert 0 < len(rows) < len(tiny_rows)
    assert sequences_of(dataset) == in_time_order(rows)


def test_ids_follow_recboles_mapping(config):
    ours, theirs = create_dataset(config()), SequentialDataset(config())
    for field in ("user_id", "item_id"):
        assert ours.field2id_token[field].tolist() == theirs.field2id_token[field].tolist()
    assert ours.tokens("item_id", [1, 2]) == [str(t) for t in theirs.field2id_token["item_id"][1:3]]
    assert ours.tokens("item_id", 3) == [str(theirs.field2id_token["item_id"][3])]


def test_evaluation_rows_are_sorted_by_history_and_complete(config):
    dataset = create_dataset(config(MAX_ITEM_LIST_LENGTH=5))
    train, valid, test = dataset.build()
    full = dataset.split.full
    for part, shift in ((valid, 2), (test, 1)):
        rows = part.inter_feat.interaction
        assert rows["history_length"].tolist() == sorted(rows["history_length"].tolist())
        for user, item, row, length, history in zip(
            *(rows[f].tolist() for f in ("user_id", "item_id", "item_id_list", "item_length", "history_length")),
            strict=True,
        ):
            items = full[user].tolist()
            assert history == len(items) - shift
            assert item == items[history]
            assert row == items[:history][-5:] + [0] * (5 - length)
    rows = train.inter_feat.interaction
    pairs = list(zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True))
    trained = dataset.split.train
    assert pairs == [(user, item) for user in range(trained.n_users) for item in trained[user].tolist()]


def test_twelve_bytes_per_interaction(config):
    """Counted once per buffer: user and item columns of all interactions, and the training copy of the items.

    Not counted: what grows with the number of users (offsets, evaluation rows).
    """
    dataset = create_dataset(config())
    dataset.build()
    columns = [column.numpy() for column in dataset.inter_feat.interaction.values()]
    arrays = [*columns, dataset.split.full.items, dataset.split.train.items]
    assert all(len(array) >= 700 for array in arrays)
    buffers = {array.__array_interface__["data"][0]: array.nbytes for array in arrays}
    assert sum(buffers.values()) <= 12 * len(dataset.split.full.items)


@pytest.mark.parametrize("name", ["tny", "Tiny", "tiny2"])
def test_a_missing_dataset_names_the_nearest(config, name):
    with pytest.raises(DataError, match=rf"'{name}' not found.*did you mean 'tiny'"):
        create_dataset(config(dataset=name))


@pytest.mark.parametrize(("column", "typo"), [("timestamp:float", "timestmp:float"), ("user_id:token", "userid:token")])
def test_a_missing_column_names_the_nearest(load, column, typo):
    columns = [typo if c == column else c for c in COLUMNS]
    field, found = column.split(":")[0], typo.split(":")[0]
    with pytest.raises(DataError, match=rf"no field '{field}': found .*did you mean '{found}'"):
        load([("a", "x", 1, START)], columns)


def test_an_interaction_without_a_time_is_a_data_error(load):
    with pytest.raises(DataError, match="1 have no 'timestamp'"):
        load([("a", "x", 1, START), ("a", "y", 1, ""), ("a", "z", 1, START + 9)])


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("user_id\titem_id\ttimestamp", b"a\tx\t1", " cannot be read: expected a header of <field>:<type>"),
        ("user_id:token\titem_id:token\ttimestamp:number", b"a\tx\t1", " cannot be read: expected a header of <field>"),
        ("user_id:token\titem_id:token\ttimestamp:float", b"a\tx\tnoon", ", line 2: expected a finite number"),
        ("user_id:token\titem_id:token\ttimestamp:float", b"a\t\xff\xfe\t1", ", line 2: expected utf-8 text"),
    ],
    ids=["no types", "no such type", "no number", "no text"],
)
def test_a_file_that_cannot_be_read_is_named(config, tmp_path, header, line, words):
    (tmp_path / "made").mkdir()
    file = tmp_path / "made" / "made.inter"
    file.write_bytes(header.encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"made\.inter{words}"):
        create_dataset(config(data_path=str(tmp_path), dataset="made"))


def test_an_unknown_target_names_the_nearest(config):
    with pytest.raises(DataError, match="'item7' is not in the dataset"):
        prepare_training(config(target_items=["item7"]))
    with pytest.raises(DataError, match="'i333' is not in the dataset; did you mean 'i33'"):
        prepare_training(config(target_items=["i5", "i333"]))


def test_filters_that_leave_nothing_are_a_data_error(config):
    with pytest.raises(DataError, match="tiny"):
        create_dataset(config(user_inter_num_interval="[1000,inf)"))


def test_a_file_without_rows_is_a_data_error(load):
    with pytest.raises(DataError, match="made"):
        load([])


def test_nothing_to_train_on_is_a_data_error(tmp_path, small):
    write_dataset(tmp_path / "made", [("a", "x", 1, START), ("b", "y", 1, START)])
    with pytest.raises(DataError, match="no user with 2 training interactions"):
        prepare_training(AttackConfig(config_dict=small(data_path=str(tmp_path), dataset="made")))
