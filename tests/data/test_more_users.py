"""Users beyond those of the files: everybody else stays as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.data.more_users import new_tokens, with_more_users
from recbole_attack.data.recbole_rows import InteractionRows
from recbole_attack.data.sequences import UserSequences, from_pairs

DATASETS = Path(__file__).resolve().parents[2] / "dataset"

histories = st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=5)


def sequences(lists: list[list[int]]) -> UserSequences:
    users = np.repeat(np.arange(1, len(lists) + 1), [len(items) for items in lists])
    return from_pairs(users, np.array([i for items in lists for i in items], dtype=int), len(lists) + 1, 10)


@given(first=histories, second=histories)
def test_users_follow_one_another(first, second):
    joined = sequences(first).followed_by(sequences(second))
    assert [joined[user].tolist() for user in range(joined.n_users)] == [[], *first, *second]
    assert joined.n_items == 10 and joined.items.dtype == np.int32


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("lists", [[[4, 2], [7, 1, 3]], []], ids=str)
def test_what_was_there_stays_and_new_users_have_what_they_are_given(described, lists):
    columns = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "age", "gender"]}}
    given = {"data_path": str(DATASETS), "dataset": "tiny", "scenario": "recbole", **(columns if described else {})}
    dataset = InteractionRows(AttackConfig("Pop", config_dict=given))
    dataset.build()
    before = {key: values.clone() for key, values in dataset.inter_feat.interaction.items()}
    names, users = [f"new{number}" for number in range(len(lists))], dataset.user_num
    grown = with_more_users(dataset, names, sequences(lists))
    assert dataset.user_num == users and grown.user_num == users + len(lists) and grown.item_num == dataset.item_num
    assert {key: values.tolist() for key, values in dataset.inter_feat.interaction.items()} == {
        key: values.tolist() for key, values in before.items()
    }
    pairs = list(zip(*(grown.inter_feat[key].tolist() for key in ("user_id", "item_id")), strict=True))
    old = list(zip(*(before[key].tolist() for key in ("user_id", "item_id")), strict=True))
    assert pairs == [*old, *((users + row, item) for row, items in enumerate(lists) for item in items)]
    assert grown.id2token("user_id", np.arange(users, grown.user_num)).tolist() == names
    assert (grown.id2token("user_id", np.arange(users)) == dataset.id2token("user_id", np.arange(users))).all()
    assert [grown.token2id("user_id", name) for name in names] == list(range(users, grown.user_num))
    assert "new0" not in dataset.field2token_id["user_id"]
    features = grown.get_user_feature()
    assert features["user_id"].tolist() == list(range(grown.user_num))
    if described:
        for field in ("age", "gender"):
            assert torch.equal(features[field][:users], dataset.user_feat[field])
            assert (features[field][users:] == dataset.user_feat[field][0]).all()


@given(known=st.lists(st.sampled_from(["a", "fake", "fake_", "fake_1", "fake__2", "Fake_1"])), count=st.integers(0, 3))
def test_new_tokens_are_none_of_those_that_are_known(known, count):
    tokens = new_tokens("fake_", count, known)
    assert len({*tokens}) == count and not {*tokens} & {*known} and all(token.startswith("fake_") for token in tokens)
