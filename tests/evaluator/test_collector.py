"""Ranks of the targets in one batch, against a sorted list, and what stays between evaluations."""

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_attack.data import UserSequences
from recbole_attack.evaluator import AttackCollector

N_ITEMS = 9
HISTORIES = [[], [1, 2, 3], [4], [5, 4, 4, 8], [2, 6]]
SEQUENCES = UserSequences(
    np.array([i for history in HISTORIES for i in history], dtype=np.int32), np.array([0, 0, 3, 4, 8, 10]), N_ITEMS
)


def collect(collector, scores, users):
    rows = torch.arange(len(users))
    batch = Interaction({"user_id": torch.tensor(users)})
    collector.eval_batch_collect(scores, batch, rows, torch.ones(len(users), dtype=torch.int64))


def random_scores(n_users, seed=0):
    return torch.rand(n_users, N_ITEMS, generator=torch.Generator().manual_seed(seed))


def sorted_rank(row, target, depth):
    """Place of the target among the items with a finite score; ``depth + 1`` when it is not among the first."""
    listed = sorted((i for i in range(len(row)) if row[i] > -np.inf), key=lambda i: -row[i])[:depth]
    return listed.index(target) + 1 if target in listed else depth + 1


@pytest.mark.parametrize("topk", [[1], [2, 4], [5, 8], [9], [30]])
def test_ranks_are_places_in_a_sorted_list(config, topk):
    targets = np.array([2, 5, 8])
    collector = AttackCollector(config(topk=topk, valid_metric=f"NDCG@{topk[0]}"), targets, SEQUENCES)
    users = [1, 2, 3, 4, 1]
    scores = random_scores(len(users))
    scores[:, 0] = -torch.inf
    scores[1, [2, 3, 4]] = -torch.inf
    scores[2, 1:7] = -torch.inf
    collect(collector, scores.clone(), users)
    collected = collector.get_data_struct()
    expected = [[sorted_rank(row, target, max(topk)) for target in targets] for row in scores.tolist()]
    assert collected.get("rec.target_rank").tolist() == expected
    assert collected.get("rec.users").tolist() == users
    eligible = [[target not in HISTORIES[user] for target in targets] for user in users]
    assert collected.get("rec.target_eligible").tolist() == eligible


def test_batches_add_up_and_an_evaluation_starts_afresh(config):
    collector = AttackCollector(config(), np.array([3]), SEQUENCES)
    scores = random_scores(4)
    collect(collector, scores.clone(), [1, 2, 3, 4])
    whole = collector.get_data_struct()
    for _ in range(2):
        collect(collector, scores[:3].clone(), [1, 2, 3])
        collect(collector, scores[3:].clone(), [4])
        parts = collector.get_data_struct()
        for key in ("rec.users", "rec.target_rank", "rec.target_eligible", "rec.topk"):
            assert torch.equal(parts.get(key), whole.get(key))


def test_what_was_collected_can_be_forgotten(config):
    collector = AttackCollector(config(topk=[4], valid_metric="NDCG@4"), np.array([2]), SEQUENCES)
    collector.data_struct.set("data.num_items", N_ITEMS)
    collect(collector, random_scores(3), [1, 2, 3])
    collector.discard()
    collect(collector, random_scores(2, seed=1), [2, 4])
    collected = collector.get_data_struct()
    assert collected.get("rec.users").tolist() == [2, 4]
    assert collected.get("data.num_items") == N_ITEMS


def test_static_data_stays(config):
    collector = AttackCollector(config(), np.array([3]), SEQUENCES)
    counts = {1: 5}
    collector.data_struct.set("data.count_items", counts)
    collector.data_struct.set("data.num_items", N_ITEMS)
    for _ in range(2):
        collect(collector, random_scores(2), [1, 2])
        collected = collector.get_data_struct()
        assert collected.get("data.count_items") == counts
        assert collected.get("data.num_items") == N_ITEMS
    assert "rec.target_rank" not in collector.data_struct
