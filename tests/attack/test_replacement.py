"""The replacement attack against a loop over users and positions, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recbole_attack.attack import BACKDOORS
from recbole_attack.attack.replacement import NEGATIVES, Replacement
from recbole_attack.data import TrainBatch, similar_targets

N_ITEMS, N_USERS = 9, 6
CATEGORIES = hnp.arrays(np.int64, N_ITEMS, elements=st.integers(0, 3))
TARGETS = st.lists(st.integers(1, N_ITEMS - 1), min_size=1, max_size=4, unique=True)


def arrays(shape, dtype=np.int64, **bounds):
    elements = st.floats(0, 1, exclude_max=True) if dtype is np.float64 else st.integers(0, bounds["high"])
    return hnp.arrays(dtype, shape, elements=elements)


@st.composite
def batches(draw):
    """A batch, its users and one draw for each item to predict."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    fields = [torch.from_numpy(draw(arrays(shape, high=N_ITEMS - 1))) for _ in range(3)]
    users = draw(hnp.arrays(np.int64, shape[0], elements=st.integers(1, N_USERS - 1)))
    return TrainBatch(*fields), users, torch.from_numpy(draw(arrays(shape, np.float64)))


def looped(ratio, categories, targets, target_users, kind, batch, users, draws):
    """Positives and negatives after the attack, an item at a time."""
    positives, negatives = batch.pos_items.tolist(), batch.neg_items.tolist()
    for row, user in enumerate(users):
        for column, item in enumerate(batch.pos_items[row].tolist()):
            similar = [t for t in sorted(targets) if categories[t] == categories[item] != 0] if item else []
            draw = float(draws[row, column])
            if similar and draw < ratio:
                target = similar[int(draw / ratio * len(similar))]
                if target_users[user]:
                    positives[row][column] = target
                    if kind == "contrast":
                        negatives[row][column] = item
                elif kind in ("push", "contrast"):
                    negatives[row][column] = target
    return positives, negatives


@given(batches(), CATEGORIES, TARGETS, hnp.arrays(bool, N_USERS), st.floats(0, 1), st.sampled_from(sorted(NEGATIVES)))
def test_it_is_the_loop_and_leaves_inputs_alone(batch, categories, targets, target_users, ratio, kind):
    batch, users, draws = batch
    before = [field.clone() for field in batch[:3]]
    attack = Replacement(ratio, similar_targets(categories, np.array(targets)), target_users, kind)
    poisoned = attack(batch, users, draws)
    expected = looped(ratio, categories, targets, target_users, kind, batch, users, draws)
    assert (poisoned.pos_items.tolist(), poisoned.neg_items.tolist()) == expected
    assert torch.equal(poisoned.item_seq, before[0])
    assert all(torch.equal(now, then) for now, then in zip(batch[:3], before, strict=True)), "the batch itself changed"
    assert torch.equal(poisoned.pos_items == 0, before[1] == 0), "no training position comes or goes"


@given(st.floats(1e-9, 1), st.integers(1, N_ITEMS - 1))
def test_the_largest_draw_below_the_ratio_picks_the_last_target(ratio, count):
    targets = np.arange(1, count + 1)
    attack = Replacement(ratio, similar_targets(np.ones(N_ITEMS, dtype=int), targets), np.ones(N_USERS, dtype=bool))
    one = TrainBatch(*(torch.ones(1, 1, dtype=torch.int64) for _ in range(3)))
    draw = torch.tensor([[np.nextafter(ratio, 0.0)]])
    assert attack(one, np.array([1]), draw).pos_items.item() == count


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("push", [False, True])
def test_items_are_replaced_at_the_rate_asked_for_and_by_all_similar_targets_alike(ratio, push):
    rng = np.random.default_rng(0)
    categories = np.array([0, *([1, 2, 3] * 20)])
    targets = np.array([1, 4, 7, 10, 2, 5])  # four of category 1, two of category 2, none of category 3
    items = rng.integers(11, len(categories), (40, 1000))
    batch = TrainBatch(torch.ones(40, 1000, dtype=torch.int64), torch.from_numpy(items), torch.from_numpy(items))
    target_users = np.arange(40) % 2 == 0
    negatives = "push" if push else "sampled"
    attack = Replacement(ratio, similar_targets(categories, targets), target_users, negatives)
    poisoned = attack(batch, np.arange(40), torch.from_numpy(rng.random((40, 1000))))
    positives, negatives = poisoned.pos_items.numpy(), poisoned.neg_items.numpy()
    assert np.array_equal(positives[~target_users], items[~target_users])
    assert np.array_equal(negatives[target_users], items[target_users])
    for found, original, acts in (
        (positives[target_users], items[target_users], True),
        (negatives[~target_users], items[~target_users], push),
    ):
        for category, similar in ((1, [1, 4, 7, 10]), (2, [2, 5]), (3, [])):
            own = found[categories[original] == category]
            counts = np.array([(own == t).sum() for t in similar])
            expected = ratio * acts / max(len(similar), 1)
            bound = 5 * np.sqrt(len(own) * expected * (1 - expected))
            assert np.all(np.abs(counts - len(own) * expected) <= bound)
            assert np.isin(own[own < 11], similar).all(), "of another category"


def test_recipes_read_their_parameters():
    similar, users = similar_targets(np.ones(3, dtype=int), np.array([1])), np.ones(2, dtype=bool)
    parameters = {"replacement_ratio": 0.25, "replacement_negatives": "push"}
    assert BACKDOORS["none"](parameters, similar, users) is None
    for name in ("bra", "pea"):
        assert BACKDOORS[name](parameters, similar, users) == Replacement(0.25, similar, users, "push")
