"""Leave-one-out against RecBole's own sequential dataset."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data.dataset import SequentialDataset

from recbole_attack import AttackConfig
from recbole_attack.data import LEAVE_ONE_OUT_MODES, RaggedSequentialDataset, UserSequences
from recbole_attack.data.split import leave_one_out

MODES = sorted(LEAVE_ONE_OUT_MODES)
MAX_LENGTH = 4
# One user is long enough to take part in everything: RecBole fails on empty parts.
LENGTHS = st.lists(st.integers(1, 7), min_size=0, max_size=6).map(lambda lengths: [6, *lengths])


def write_dataset(folder, rows):
    """Write (user, item, time) rows as the atomic file of a dataset named after the folder."""
    folder.mkdir(exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (folder / f"{folder.name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def parts_of(dataset):
    """Training, validation and test rows as ``{(user, its history): item to predict}``, in tokens."""

    def tokens(field, ids):
        return tuple(dataset.field2id_token[field][ids])

    parts = []
    for part in dataset.build():
        rows, columns = {}, part.inter_feat.interaction
        for user, item, history, length in zip(
            columns["user_id"], columns["item_id"], columns["item_id_list"], columns["item_length"], strict=True
        ):
            key = (tokens("user_id", [int(user)]), tokens("item_id", history[: int(length)].tolist()))
            rows.setdefault(key, []).append(tokens("item_id", [int(item)]))
        parts.append(rows)
    return parts


def our_parts(dataset, max_length):
    """The same from the ragged dataset; its training rows are what each position is trained to predict."""
    _, valid, test = dataset.build()

    def tokens(field, ids):
        return tuple(dataset.field2id_token[field][ids])

    rows = {}
    for user in range(1, dataset.split.train.n_users):
        items = dataset.split.train[user]
        for end in range(1, len(items)):
            key = (tokens("user_id", [user]), tokens("item_id", items[max(0, end - max_length) : end]))
            rows.setdefault(key, []).append(tokens("item_id", [items[end]]))
    parts = [rows]
    for part in (valid, test):
        rows, columns = {}, part.inter_feat.interaction
        for user, item, history, length, total in zip(
            *(columns[f] for f in ("user_id", "item_id", "item_id_list", "item_length", "history_length")), strict=True
        ):
            assert int(length) == min(int(total), max_length)
            assert not history[int(length) :].any()
            key = (tokens("user_id", [int(user)]), tokens("item_id", history[: int(length)].tolist()))
            rows.setdefault(key, []).append(tokens("item_id", [int(item)]))
        parts.append(rows)
    return parts


def compare(config):
    """Both datasets' parts for one configuration; an entry is the multiset of a user's rows."""
    theirs = parts_of(SequentialDataset(config))
    ours = our_parts(RaggedSequentialDataset(config), config["MAX_ITEM_LIST_LENGTH"])
    assert [{k: sorted(v) for k, v in part.items()} for part in ours] == [
        {k: sorted(v) for k, v in part.items()} for part in theirs
    ]
    return theirs


def eval_args(mode):
    return {"split": {"LS": mode}, "order": "TO", "group_by": "user", "mode": "full"}


@pytest.mark.parametrize("max_length", [5, 50])
@pytest.mark.parametrize("mode", MODES)
def test_tiny_is_split_as_recbole_splits_it(config, mode, max_length):
    changes = {"eval_args": eval_args(mode), "exact_time_order": False, "MAX_ITEM_LIST_LENGTH": max_length}
    _, valid, test = compare(config(**changes))
    assert len(valid) == {"valid_and_test": 57, "valid_only": 58, "test_only": 0}[mode]
    assert len(test) == {"valid_and_test": 58, "valid_only": 0, "test_only": 58}[mode]


# The fixture is a function without state.
@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, mode=st.sampled_from(MODES), exact=st.booleans(), data=st.data())
def test_generated_users_are_split_as_recbole_splits_them(tmp_path_factory, small, lengths, mode, exact, data):
    users = [f"u{user}" for user, length in enumerate(lengths) for _ in range(length)]
    times = data.draw(st.lists(st.integers(0, 9), min_size=len(users), max_size=len(users)))
    items = data.draw(st.lists(st.integers(0, 5), min_size=len(users), max_size=len(users)))
    rows = data.draw(st.permutations(list(zip(users, (f"i{i}" for i in items), times, strict=True))))
    folder = tmp_path_factory.getbasetemp() / "generated"
    write_dataset(folder, rows)
    changes = {"eval_args": eval_args(mode), "exact_time_order": exact, "MAX_ITEM_LIST_LENGTH": MAX_LENGTH}
    compare(AttackConfig(config_dict=small(data_path=str(folder.parent), dataset="generated", **changes)))


# (items, mode) -> (left to train on, history of the validated item, history of the tested item)
SHARES = {
    (1, "valid_and_test"): (1, None, None),
    (2, "valid_and_test"): (2, None, None),
    (3, "valid_and_test"): (2, None, 2),
    (4, "valid_and_test"): (2, 2, 3),
    (9, "valid_and_test"): (7, 7, 8),
    (2, "valid_only"): (2, None, None),
    (3, "valid_only"): (2, 2, None),
    (9, "valid_only"): (8, 8, None),
    (2, "test_only"): (2, None, None),
    (3, "test_only"): (2, None, 2),
    (9, "test_only"): (8, None, 8),
}


@pytest.mark.parametrize(("length", "mode"), SHARES)
def test_shares_of_short_and_long_users(length, mode):
    lengths = [0, 5, length, 1]
    sequences = UserSequences(np.arange(1, sum(lengths) + 1, dtype=np.int32), np.cumsum([0, *lengths]), 100)
    split = leave_one_out(sequences, mode)
    histories = [
        dict(zip(rows.users.tolist(), rows.history.tolist(), strict=True)) for rows in (split.valid, split.test)
    ]
    assert (len(split.train[2]), histories[0].get(2), histories[1].get(2)) == SHARES[length, mode]
    assert split.train[2].tolist() == sequences[2][: len(split.train[2])].tolist()
    assert split.full is sequences


@given(lengths=st.lists(st.integers(0, 7), min_size=1, max_size=6), mode=st.sampled_from(MODES))
def test_what_stands_before_the_held_out_items(lengths, mode):
    sequences = UserSequences(np.arange(1, sum(lengths) + 1, dtype=np.int32), np.cumsum([0, *lengths]), 100)
    split = leave_one_out(sequences, mode)
    for rows in (split.valid, split.test):
        history = dict(zip(rows.users.tolist(), rows.history.tolist(), strict=True))
        before = split.before(rows)
        for user in range(len(lengths)):
            assert before[user].tolist() == sequences[user].tolist()[: history.get(user)]
