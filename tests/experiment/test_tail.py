"""Figures of the tail against a literal reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_attack.evaluator import Outcomes
from recbole_attack.experiment import prepare_training
from recbole_attack.experiment.tail import tail_figures, tail_items
from recbole_attack.experiment.training import run_arm


def test_the_tail_is_all_but_the_most_popular_fifth():
    popularity = np.array([0, 5, 5, 9, 1, 1, 0, 5, 7, 2, 5])
    ordered = sorted(range(1, 11), key=lambda item: (popularity[item], item))
    assert np.flatnonzero(tail_items(popularity)).tolist() == sorted(ordered[:8])


def test_figures_against_loops():
    rng = np.random.default_rng(0)
    popularity = np.array([0, *rng.integers(0, 9, 20)])
    truth, ranks = rng.integers(1, 21, 50), rng.integers(1, 21, 50)
    outcomes = Outcomes(np.arange(50), ranks, np.ones((50, 1), dtype=int), np.ones((50, 1), dtype=bool))
    before, after = (torch.from_numpy(rng.normal(size=(21, 4))) for _ in range(2))
    found = tail_figures(outcomes, truth, popularity, before, after, [5])
    rare = set(np.flatnonzero(tail_items(popularity)).tolist())
    hits = [float(rank <= 5) for item, rank in zip(truth, ranks, strict=True) if item in rare]
    gains = [
        1 / np.log2(rank + 1) if rank <= 5 else 0.0 for item, rank in zip(truth, ranks, strict=True) if item in rare
    ]
    moved = {item: sum((after[item] - before[item]).tolist()[k] ** 2 for k in range(4)) ** 0.5 for item in range(1, 21)}
    assert found == pytest.approx(
        {
            **{"users": len(hits), "hit@5": np.mean(hits), "ndcg@5": np.mean(gains)},
            "rows_moved": np.mean([moved[item] for item in moved if item in rare]),
            "head_rows_moved": np.mean([moved[item] for item in moved if item not in rare]),
        }
    )


def test_without_a_rare_item_to_predict_there_is_no_accuracy():
    outcomes = Outcomes(np.arange(2), np.ones(2, int), np.ones((2, 1), int), np.ones((2, 1), bool))
    table = torch.zeros(6, 2)
    found = tail_figures(outcomes, np.array([5, 5]), np.array([0, 1, 1, 1, 1, 9]), table, table, [10])
    assert (found["users"], found["hit@10"], found["rows_moved"]) == (0.0, None, 0.0)


def test_an_arm_says_how_far_rows_moved_from_the_weights_it_began_with(config, tmp_path):
    """With a rate of almost nothing they stay; hits of the tail and of the head make those of all users."""
    still, usual = (
        config(attack="none", eval_step=1, learning_rate=rate, checkpoint_dir=str(tmp_path / str(rate)))
        for rate in (1e-9, 0.01)
    )
    found = [run_arm(prepare_training(run), run, verbose=False) for run in (still, usual)]
    assert found[0].tail["rows_moved"] < 1e-6 < 0.001 < found[1].tail["rows_moved"]
    assert 0 < found[1].tail["users"] < 60
    run = config(attack="none", checkpoint_dir=str(tmp_path / "unsaved"))
    assert run_arm(prepare_training(run), run, saved=False, verbose=False).tail is None
