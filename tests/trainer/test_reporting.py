"""What a training says while it trains: whose line it is, and how long the whole run has left."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from recbole_attack import run_recbole_attack
from recbole_attack.trainer import reporting
from recbole_attack.trainer.reporting import EpochReport, NamedLog, curves_folder, cut_off


@pytest.fixture
def lines(caplog):
    """What is logged of training, line by line."""
    caplog.set_level(logging.INFO)
    return lambda: [m for m in caplog.messages if re.search(r" epoch \d", m) and "SASRec on" not in m]


class Nowhere:
    """Takes everything and keeps what a bar is told."""

    def __init__(self):
        self.postfix = []

    def set_postfix(self, values, refresh):
        self.postfix.append(values)

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@pytest.mark.parametrize(("after", "left"), [(0, [6, 4, 0]), (10, [26, 24, 20])])
def test_the_seconds_left_are_those_of_all_epochs_to_come(monkeypatch, lines, after, left):
    clock = iter([100.0, 102.0, 104.0, 106.0])  # two seconds an epoch
    monkeypatch.setattr(reporting, "perf_counter", lambda: next(clock))
    bar, log = Nowhere(), NamedLog(logging.getLogger(), "attacked")
    report = EpochReport(log, bar, Nowhere(), Nowhere(), "valid", 10, after, next(clock))
    for epoch, to_come in enumerate([3, 2, 0]):  # the third stops early
        report({"epoch": epoch, "seconds": 1.5, "train_loss": 0.25, "learning_rate": 1.0, "hit@10": 0.5}, to_come)
    assert [values["left"] for values in bar.postfix] == [f"{seconds}s" for seconds in left]
    assert lines() == [
        f"attacked, epoch {epoch} [time: 1.50s, run: {seconds}s left, train_loss: 0.2500, hit@10: 0.5000]"
        for epoch, seconds in enumerate(left)
    ]


@pytest.mark.parametrize("compare_clean", [True, False])
def test_every_line_names_its_arm_and_counts_the_epochs_of_all_arms(monkeypatch, lines, small, compare_clean):
    told = spied(monkeypatch)
    run_recbole_attack(config_dict=small(epochs=3, attack="ra", compare_clean=compare_clean), saved=False)
    arms = ["clean", "attacked"] if compare_clean else ["attacked"]
    named = [re.match(r"(\w+), epoch (\d) \[", line).groups() for line in lines()]
    assert named == [(arm, str(epoch)) for arm in arms for epoch in range(3)]
    assert told == list(range(3 * len(arms)))[::-1]


def test_every_line_names_its_stage_and_counts_the_epochs_of_all_stages(monkeypatch, lines, pretrain):
    told = spied(monkeypatch)
    run_recbole_attack(
        config_dict=pretrain(platform="fine_tune", pre_train_epochs=2, local_train_epochs=3), saved=False
    )
    stages = ["local, 1-local_train"] * 3
    stages += [f"{arm}, {stage}" for arm in ("clean", "attacked") for stage in ["1-pre_train"] * 2 + ["2-fine_tune"]]
    assert [line.partition(", epoch")[0] for line in lines()] == stages
    assert told == list(range(9))[::-1]


def spied(monkeypatch) -> list[int]:
    """How many epochs of the run are to come, as each epoch's report is told."""
    told, call = [], EpochReport.__call__

    def spy(self, record, left):
        told.append(left + self.after)
        call(self, record, left)

    monkeypatch.setattr(EpochReport, "__call__", spy)
    return told


def test_warnings_name_their_arm_too(caplog, small):
    run_recbole_attack(config_dict=small(epochs=1, aggregator="median", attack="ra"), saved=False)
    frozen = [message for message in caplog.messages if "made an update of zero" in message]
    assert frozen
    assert all(re.match(r"(clean|attacked), epoch 0: aggregator 'median'", message) for message in frozen)


def test_a_resumed_arm_says_whose_training_goes_on(lines, small):
    result = run_recbole_attack(config_dict=small(epochs=1, attack="none"))
    folder = Path(result["result_file"]).parent
    curves = list(folder.rglob("events.out*"))
    run_recbole_attack(resume=str(folder))
    assert "clean, Checkpoint loaded. Resume training from epoch 1" in lines()
    assert list(folder.rglob("events.out*")) == curves, "nothing was trained, so nothing is drawn"


@pytest.mark.parametrize(("topk", "k"), [([5, 10], 10), ([5, 20], 5), ([8, 12], 8), ([30], 30), ([1, 9, 13], 9)])
def test_the_metrics_shown_are_those_nearest_to_ten(topk, k):
    assert cut_off(topk) == k


def test_curves_lie_in_the_runs_folder(tmp_path):
    arm, stage = tmp_path / "run" / "clean", tmp_path / "run" / "clean" / "1-pre_train"
    assert curves_folder(arm, ("clean",)) == tmp_path / "run" / "tensorboard" / "clean"
    assert curves_folder(stage, ("clean", "1-pre_train")) == tmp_path / "run" / "tensorboard" / "clean" / "1-pre_train"
    assert curves_folder(Path("run/clean"), ("clean",)) == Path.cwd() / "run" / "tensorboard" / "clean"
