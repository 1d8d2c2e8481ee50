"""Similar targets against a double loop over items and targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data import item_categories, similar_targets
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import DataError

check = settings(derandomize=True, deadline=None)
CATALOGUES = (
    st.integers(1, 3)
    .flatmap(
        lambda width: st.lists(st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=2, max_size=9)
    )
    .map(lambda rows: np.array([[0] * len(rows[0]), *rows]))
)


def looped(categories, targets):
    """For each item, the targets that share a category other than 0 with it."""
    sets = [set(row.tolist()) - {0} for row in categories.reshape(len(categories), -1)]
    return [[t for t in sorted(targets) if sets[item] & sets[t]] for item in range(len(categories))]


@check
@given(CATALOGUES, st.data())
def test_similar_targets_are_those_of_the_loop(categories, data):
    if data.draw(st.booleans()):
        categories = categories[:, 0]
    items = st.integers(1, len(categories) - 1)
    targets = data.draw(st.lists(items, min_size=1, max_size=5, unique=True))
    similar = similar_targets(categories, np.array(targets))
    expected = looped(categories, targets)
    assert [similar[item].tolist() for item in range(len(categories))] == expected
    assert similar.counts.tolist() == [len(row) for row in expected]


@check
@given(CATALOGUES, st.data())
def test_even_draws_pick_every_similar_target_equally_often(categories, data):
    targets = data.draw(st.lists(st.integers(1, len(categories) - 1), min_size=1, max_size=5, unique=True))
    expected = looped(categories, targets)
    draws = np.tile((np.arange(60) + 0.5) / 60, (len(categories), 1)).T  # 60 is a multiple of 1 to 5
    items = np.tile(np.arange(len(categories)), (60, 1))
    picked = similar_targets(categories, np.array(targets)).pick(items, draws)
    assert picked.shape == items.shape
    for item, found in enumerate(picked.T.tolist()):
        similar = expected[item] or [0]
        assert found == sorted(similar * (60 // len(similar)))


def test_no_item_has_a_category():
    similar = similar_targets(np.zeros(4, dtype=int), np.array([2]))
    assert similar.pick(np.arange(4), np.full(4, 0.5)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(5,), (5, 2)], ids=str)
def test_the_padding_item_is_similar_to_nothing_whatever_its_category(shape):
    similar = similar_targets(np.ones(shape, dtype=int), np.array([2, 4]))
    assert [similar[item].tolist() for item in range(5)] == [[], *[[2, 4]] * 4]
    assert similar.counts.tolist() == [0, 2, 2, 2, 2]


def test_items_of_the_same_categories_share_their_targets():
    """A catalogue of 100 000 items without categories and 300 targets must not hold 30 million pairs."""
    similar = similar_targets(np.ones(100_000, dtype=np.int64), np.arange(1, 301))
    assert len(similar.targets) == 300
    assert similar[99_999].tolist() == list(range(1, 301))


COLUMNS = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}


def test_categories_of_a_dataset_are_those_of_its_item_file(config):
    dataset = create_dataset(config(load_col=COLUMNS))
    dataset.build()
    categories = item_categories(dataset, "class")
    names = dataset.field2id_token["class"]
    found = {
        token: {str(names[c]) for c in row if c}
        for token, row in zip(dataset.field2id_token["item_id"][1:], categories[1:], strict=True)
    }
    lines = (dataset.dataset_path + "/tiny.item", dataset.item_num)
    with open(lines[0]) as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    assert found == {token: set(classes.split()) for token, classes in rows}
    assert len(found) == dataset.item_num - 1


def test_a_field_of_one_category(tmp_path, config):
    folder = tmp_path / "made"
    folder.mkdir()
    rows = [f"{user}\t{item}\t{item}" for user in "ab" for item in range(4)]
    (folder / "made.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    items = ["0\tx\t1", "1\ty\t2", "2\t\t3", "3\tx\t4"]
    (folder / "made.item").write_text("\n".join(["item_id:token\tcategory:token\tprice:float", *items]) + "\n")
    columns = {**COLUMNS, "item": ["item_id", "category", "price"]}
    dataset = create_dataset(config(data_path=str(tmp_path), dataset="made", load_col=columns))
    dataset.build()
    ids = [dataset.token2id("item_id", str(item)) for item in range(4)]
    similar = similar_targets(item_categories(dataset, "category"), np.array([ids[0]]))
    assert [similar[i].tolist() for i in ids] == [[ids[0]], [], [], [ids[0]]]
    with pytest.raises(DataError, match=r"no category field 'price': found category"):
        item_categories(dataset, "price")
    with pytest.raises(DataError, match=r"'categry'.*did you mean 'category'"):
        item_categories(dataset, "categry")


def test_without_item_fields_is_a_data_error(config):
    dataset = create_dataset(config())
    dataset.build()
    with pytest.raises(DataError, match="found no token field"):
        item_categories(dataset, "class")
