"""Which items compete, against sets."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data import UserSequences
from recbole_attack.evaluator import RankingProtocol

N_ITEMS = 10
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), min_size=1, max_size=12), min_size=1, max_size=5).map(
    lambda histories: [[], *histories]
)
TARGETS = st.lists(st.integers(1, N_ITEMS - 1), unique=True, max_size=3).map(sorted)
check = settings(derandomize=True, deadline=None)


def protocol(histories, targets=(), mask_history=False, candidates=None, seed=1):
    items = np.array([i for history in histories for i in history], dtype=np.int32)
    sequences = UserSequences(items, np.cumsum([0, *map(len, histories)]), N_ITEMS)
    return RankingProtocol(sequences, np.array(targets, dtype=np.int64), mask_history, candidates, seed)


def restricted(chosen, histories, users, held_out=None):
    """Random scores of each user's row before and after; the item to predict stands at ``held_out`` or comes last."""
    held_out = held_out or [len(histories[user]) - 1 for user in users]
    scores = torch.rand(len(users), N_ITEMS, generator=torch.Generator().manual_seed(0))
    positives = torch.tensor([histories[user][position] for user, position in zip(users, held_out, strict=True)])
    return scores, chosen.restrict(scores.clone(), np.array(users), np.array(held_out), positives)


def competing(row):
    return set(torch.nonzero(torch.isfinite(row)).flatten().tolist())


def check_values(before, after):
    """What competes keeps its score; all else is minus infinity."""
    kept = torch.isfinite(after)
    assert torch.equal(after[kept], before[kept])
    assert (after[~kept] == -torch.inf).all()


@st.composite
def evaluated(draw):
    """Histories, users (repeats allowed) and where their held-out item stands."""
    histories = draw(HISTORIES)
    users = draw(st.lists(st.integers(1, len(histories) - 1), min_size=1, max_size=5))
    return histories, users, [draw(st.integers(0, len(histories[user]) - 1)) for user in users]


@check
@given(evaluated(), TARGETS, st.booleans())
def test_full_rankings(case, targets, mask_history):
    histories, users, held_out = case
    before, after = restricted(protocol(histories, targets, mask_history), histories, users, held_out)
    for row, user, position in zip(after, users, held_out, strict=True):
        seen = set(histories[user][:position]) if mask_history else set()
        assert competing(row) == (set(range(1, N_ITEMS)) - seen) | {histories[user][position]}
    check_values(before, after)


@check
@given(evaluated(), st.integers(1, 12), st.booleans())
def test_sampled_rankings_hold_n_items_never_interacted_with(case, n, mask_history):
    histories, users, held_out = case
    before, after = restricted(protocol(histories, (), mask_history, n), histories, users, held_out)
    for row, user, position in zip(after, users, held_out, strict=True):
        outside = set(range(1, N_ITEMS)) - set(histories[user])
        sampled = competing(row) - {histories[user][position]}
        assert sampled <= outside
        assert len(sampled) == min(n, len(outside))
        assert histories[user][position] in competing(row)
    check_values(before, after)


@check
@given(evaluated(), TARGETS, st.integers(1, 12), st.booleans())
def test_sampled_rankings_add_the_targets_to_the_same_candidates(case, targets, n, mask_history):
    histories, users, held_out = case
    _, without = restricted(protocol(histories, (), mask_history, n), histories, users, held_out)
    before, after = restricted(protocol(histories, targets, mask_history, n), histories, users, held_out)
    for row, plain, user, position in zip(after, without, users, held_out, strict=True):
        seen = set(histories[user][:position]) if mask_history else set()
        assert competing(row) == competing(plain) | (set(targets) - seen)
    check_values(before, after)


def test_a_repeated_item_to_predict_still_competes():
    histories = [[], [4, 2, 4]]
    for candidates in (None, 2):
        _, after = restricted(protocol(histories, (), True, candidates), histories, [1])
        assert 4 in competing(after[0])
        assert 2 not in competing(after[0])


def test_candidates_do_not_depend_on_batch_call_or_attack():
    histories = [[], [1, 2], [3], [4, 5, 6]]
    first = protocol(histories, (), False, 3)
    rows = [competing(row) for row in restricted(first, histories, [1, 2, 3])[1]]
    assert [competing(row) for row in restricted(first, histories, [1, 2, 3])[1]] == rows
    twin = protocol(histories, (), False, 3)
    assert [competing(row) for row in restricted(twin, histories, [3, 1])[1]] == [rows[2], rows[0]]
    seeds = [protocol(histories, (), False, 3, seed) for seed in range(2, 8)]
    assert any([competing(row) for row in restricted(p, histories, [1, 2, 3])[1]] != rows for p in seeds)


def test_users_draw_on_their_own():
    histories = [[], *([[1]] * 12)]
    _, after = restricted(protocol(histories, (), False, 3), histories, list(range(1, 13)))
    assert len({frozenset(competing(row)) for row in after}) > 6
