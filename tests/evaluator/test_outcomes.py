"""What is kept of each user, against whole sorted lists and the figures of ``result.json``."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_attack import run_recbole_attack
from recbole_attack.data import UserSequences
from recbole_attack.evaluator import OUTCOMES, AttackCollector, Outcomes, read_outcomes, write_outcomes
from recbole_attack.evaluator.exposure import exposure_ratio
from recbole_attack.evaluator.outcomes import ranks_of
from recbole_attack.utils.errors import DataError

N_ITEMS = 9
HISTORIES = [[], [1, 2, 3], [4], [5, 4, 4, 8], [2, 6]]
SEQUENCES = UserSequences(
    np.array([i for history in HISTORIES for i in history], dtype=np.int32), np.array([0, 0, 3, 4, 8, 10]), N_ITEMS
)
MADE = Outcomes(
    np.array([4, 70_000, 2]),
    np.array([1, 11, 300]),
    np.array([[10, 1], [11, 300], [2, 3]]),
    np.array([[True, False], [True, True], [False, True]]),
)


def recorded(config, scores, users, truth, targets, topk, batch=2):
    collector = AttackCollector(config(topk=topk, valid_metric=f"NDCG@{topk[0]}"), np.array(targets), SEQUENCES)
    with collector.recording() as recorder:
        for start in range(0, len(users), batch):
            part = slice(start, start + batch)
            rows = torch.arange(len(users[part]))
            interaction = Interaction({"user_id": torch.tensor(users[part])})
            collector.eval_batch_collect(scores[part].clone(), interaction, rows, torch.tensor(truth[part]))
    collector.eval_batch_collect(scores[:1].clone(), interaction[:1], torch.arange(1), torch.tensor(truth[:1]))
    return recorder.outcomes()


def whole_rank(row, item):
    """Place in the list of all items that compete; one more than there are items outside it."""
    ranking = sorted((i for i in range(1, N_ITEMS) if row[i] > -np.inf), key=lambda i: -row[i])
    return ranking.index(item) + 1 if item in ranking else N_ITEMS


@pytest.mark.parametrize("topk", [[1], [2, 4], [9], [30]])
def test_ranks_are_places_in_the_whole_list_however_long_the_collected_lists_are(config, topk):
    users, truth, targets = [1, 2, 3, 4, 1], [4, 5, 6, 7, 1], [2, 5, 8]
    scores = torch.rand(len(users), N_ITEMS, generator=torch.Generator().manual_seed(3))
    scores[:, 0] = -torch.inf
    scores[1, [2, 3, 4]] = -torch.inf
    scores[3, 1:7] = -torch.inf
    found = recorded(config, scores, users, truth, targets, topk)
    rows = scores.tolist()
    assert found.user.tolist() == users
    assert found.rank_truth.tolist() == [whole_rank(row, item) for row, item in zip(rows, truth, strict=True)]
    assert found.rank_target.tolist() == [[whole_rank(row, target) for target in targets] for row in rows]
    assert found.eligible.tolist() == [[target not in HISTORIES[user] for target in targets] for user in users]


@given(st.lists(st.lists(st.integers(0, 2), min_size=8, max_size=8), min_size=1, max_size=4), st.integers(1, 9))
def test_among_equal_scores_lists_decide_and_behind_them_the_best_of_the_ranks(rows, k):
    """Scores of three values: ties everywhere. The ranks of what a list holds are the list's."""
    scores = torch.tensor([[-torch.inf, *row] for row in rows])
    listed = torch.topk(scores, k).indices
    found = ranks_of(scores, listed, torch.arange(1, N_ITEMS).expand(len(rows), -1))
    for row, ranks, items in zip(rows, found.tolist(), listed.tolist(), strict=True):
        for item, rank in enumerate(ranks, start=1):
            better = sum(other > row[item - 1] for other in row)
            assert rank == (items.index(item) + 1 if item in items else max(better, k) + 1)


def test_without_an_evaluation_there_are_no_outcomes(config):
    collector = AttackCollector(config(), np.array([3]), SEQUENCES)
    with collector.recording() as recorder:
        pass
    assert recorder.outcomes() is None


def test_metrics_of_users_follow_from_the_ranks():
    assert MADE.hits(10).tolist() == [1, 0, 0]
    assert MADE.hits(11).tolist() == [1, 1, 0]
    assert MADE.gains(11).tolist() == [1, 1 / np.log2(12), 0]
    np.testing.assert_array_equal(MADE.exposures(10), [[1, np.nan], [0, 0], [np.nan, 1]])


# The files


def arms(result):
    folder = Path(result["result_file"]).parent
    record = json.loads((folder / "result.json").read_text())
    return record, {arm: read_outcomes(folder / arm / OUTCOMES) for arm in ("clean", "attacked") if record[arm]}


@pytest.mark.parametrize(
    "changes",
    [
        {"target_items": "stratified:3"},
        {"exposure_candidates": 12, "target_items": "stratified:2", "malicious_clients": "compromise"},
        {"mask_history": False, "topk": [3], "valid_metric": "NDCG@3", "compare_clean": False},
    ],
)
def test_the_figures_of_the_record_come_back_from_the_file(small, changes):
    result = run_recbole_attack(config_dict=small(epochs=1, malicious_ratio=0.1, **changes))
    record, found = arms(result)
    k = 3 if "topk" in changes else 10
    for arm, outcomes in found.items():
        expected = record[arm]["test_result"]
        assert round(outcomes.hits(k).mean(), 6) == expected[f"hit@{k}"]
        assert round(outcomes.gains(k).mean(), 6) == expected[f"ndcg@{k}"]
        assert round(exposure_ratio(outcomes.rank_target, outcomes.eligible, k), 6) == expected[f"er@{k}"]
        assert round(np.nanmean(np.nanmean(outcomes.exposures(k), axis=0)), 6) == expected[f"er@{k}"]
        assert len(set(outcomes.user)) == len(outcomes.user) <= record["dataset"]["test_users"]
        assert outcomes.rank_target.shape == (len(outcomes.user), len(record["budget"]["target_items"]))
        assert f"{arm}/{OUTCOMES}" in record["artefacts"]
    if not changes.get("mask_history", True):
        assert found["attacked"].rank_truth.max() > 30, "ranks go on behind the lists"


def test_pretrained_models_have_outcomes_of_the_platforms_users(pretrain):
    result = run_recbole_attack(config_dict=pretrain(attack="bra"))
    record, found = arms(result)
    for arm, outcomes in found.items():
        assert round(outcomes.hits(10).mean(), 6) == record[arm]["test_result"]["hit@10"]
        assert len(outcomes.user) == record["dataset"]["test_users"] < record["dataset"]["users"]


def test_without_test_users_there_is_no_file(small):
    eval_args = {"split": {"LS": "valid_only"}, "order": "TO", "group_by": "user", "mode": "full"}
    result = run_recbole_attack(config_dict=small(eval_args=eval_args, epochs=1))
    assert not list(Path(result["result_file"]).parent.rglob(OUTCOMES))


def test_what_is_written_is_small_reads_back_and_is_the_same_every_time(tmp_path):
    for name in ("first", "second"):
        write_outcomes(tmp_path / f"{name}.npz", MADE)
    found = read_outcomes(tmp_path / "first.npz")
    for name in ("user", "rank_truth", "rank_target", "eligible"):
        np.testing.assert_array_equal(getattr(found, name), getattr(MADE, name))
    assert found.rank_target.dtype == np.int64 and found.eligible.dtype == bool
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    with np.load(tmp_path / "first.npz") as archive:
        assert {name: archive[name].dtype.itemsize for name in archive} == {
            **{"user": 4, "rank_truth": 2},
            **{"rank_target": 2, "eligible": 1},
        }
    assert {path.name for path in tmp_path.iterdir()} == {"first.npz", "second.npz"}


def archive_of(**changes):
    values = {name: getattr(MADE, name) for name in ("user", "rank_truth", "rank_target", "eligible")}
    content = io.BytesIO()
    np.savez_compressed(content, **{name: v for name, v in {**values, **changes}.items() if v is not None})
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no outcomes"),
        (b"no archive", "holds no outcomes"),
        (archive_of()[:200], "holds no outcomes"),
        (archive_of(user=None), "user"),
        (archive_of(user=np.array([1, 2])), r"found user of shape \[2\]"),
        (archive_of(rank_truth=np.array([1.0, 2.0, 3.0])), "type float64"),
        (archive_of(rank_target=np.array([1, 2, 3])), "holds no outcomes"),
        (archive_of(eligible=np.array([[1, 0], [1, 1], [0, 1]])), "found eligible"),
        (archive_of(user=np.array([{}, {}, {}], dtype=object)), "holds no outcomes"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / OUTCOMES
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_outcomes(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_a_missing_or_flipped_file_is_refused(tmp_path):
    path = tmp_path / OUTCOMES
    with pytest.raises(DataError, match="is missing"):
        read_outcomes(path)
    write_outcomes(path, MADE)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        start = archive.infolist()[1].header_offset + 60
    content[start : start + 20] = bytes(20)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="holds no outcomes"):
        read_outcomes(path)
