"""What Weights & Biases is told, by a stand-in that writes it down."""

from __future__ import annotations

import builtins
import importlib.machinery
import json
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest

from recbole_attack import objective_function, run_recbole_attack


class Wandb(types.ModuleType):
    """The part of the module that RecBole and this package use."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="a stand-in")
        self.run, self.runs = None, []

    def init(self, project, config):
        assert self.run is None
        self.run = Run(self, project, config)
        self.runs.append(self.run)
        return self.run

    def log(self, metrics, commit):
        assert commit
        self.run.rows.append(metrics)

    def define_metric(self, name, step_metric):
        self.run.steps[name] = step_metric


class Run:
    def __init__(self, module, project, config):
        self.module, self.project, self.config = module, project, config
        self.rows, self.summary, self.steps = [], {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.module.run = None

    def series(self):
        """``{key: {step: value}}``, by the step defined for the key."""
        found = defaultdict(dict)
        for row in self.rows:
            for key in row:
                if "_step" in key:
                    continue
                assert key.rpartition("/")[0] + "/*" in self.steps, key
                step = row[self.steps[key.rpartition("/")[0] + "/*"]]
                assert step not in found[key], f"{key} is logged twice at {step}"
                found[key][step] = row[key]
        return dict(found)


@pytest.fixture
def wandb(monkeypatch):
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def record_of(result):
    return json.loads(Path(result["result_file"]).read_text())


def history(epochs, key):
    return {e["epoch"]: e[key] for e in epochs if key in e}


def test_every_arm_has_keys_of_its_own_for_training_validation_and_test(wandb, small):
    settings = small(log_wandb=True, wandb_project="mine", attack="ra", exposure_candidates=20, eval_step=2, epochs=5)
    record = record_of(run_recbole_attack(config_dict=settings))
    (run,) = wandb.runs
    assert wandb.run is None, "the run ended"
    assert run.project == "mine"
    assert run.config["attack"] == "ra", "the run's configuration is not its clean twin's"
    series = run.series()
    measured = list(record["clean"]["test_result"])
    expected = {
        f"{arm}/{part}/{key}": history(record["history"][arm], key)
        for arm in ("clean", "attacked")
        for part, keys in (("train", ["epoch", "train_loss", "learning_rate", "seconds"]), ("valid", measured))
        for key in keys
    }
    assert series == expected
    assert list(series["clean/train/train_loss"]) == [0, 1, 2, 3, 4]
    assert list(series["attacked/valid/er@10"]) == [1, 3]
    assert series["clean/train/train_loss"] != series["attacked/train/train_loss"]
    assert run.summary == {
        f"{arm}/{part}/{key}": value
        for arm in ("clean", "attacked")
        for part, result in (("test", "test_result"), ("test_full", "test_result_full"))
        for key, value in record[arm][result].items()
    }


def test_stages_have_keys_of_their_own_and_their_metrics_are_of_validation(wandb, pretrain):
    settings = pretrain(log_wandb=True, attack="bra", platform="fine_tune")
    record = record_of(run_recbole_attack(config_dict=settings))
    (run,) = wandb.runs
    parts = {key.rpartition("/")[0] for key in run.series()}
    stages = {
        arm: [f"{n}-{name}" for n, name in enumerate(names, 1)] for arm, names in record["budget"]["stages"].items()
    }
    assert len(stages["attacked"]) == 2
    assert parts == {f"{arm}/{s}/{part}" for arm in stages for s in stages[arm] for part in ("train", "valid")}
    last = f"attacked/{stages['attacked'][-1]}"
    assert list(run.series()[f"{last}/valid/er@10"].values()) == [record["history"]["attacked"][-1]["er@10"]]
    assert {key.rpartition("/")[0] for key in run.summary} == {f"{arm}/test" for arm in ("local", "clean", "attacked")}
    assert run.summary["local/test/hit@10"] == record["local"]["test_result"]["hit@10"]


def test_without_validation_data_epochs_are_tested(wandb, small):
    split = {"split": {"LS": "test_only"}}
    record = record_of(run_recbole_attack(config_dict=small(log_wandb=True, attack="none", eval_args=split)))
    series = wandb.runs[0].series()
    assert series["clean/test/hit@10"] == history(record["history"]["clean"], "hit@10") != {}
    assert not [key for key in series if "/valid/" in key]


def test_runs_and_trials_follow_each_other_but_stay_in_the_callers_run(wandb, small):
    settings = small(log_wandb=True, attack="none", epochs=1)
    result = run_recbole_attack(config_dict=settings, saved=False)
    trial = objective_function(settings, saved=False)
    first, second = wandb.runs
    assert first.summary["clean/test/hit@10"] == result["test_result"]["hit@10"]
    assert second.summary["trial/test/hit@10"] == trial["test_result"]["hit@10"]
    mine = wandb.init("a sweep", {})
    objective_function(settings, saved=False)
    assert (wandb.run, len(wandb.runs)) == (mine, 3)
    assert mine.summary["trial/test/hit@10"] == trial["test_result"]["hit@10"]


def test_wandb_is_not_touched_unless_asked_for(monkeypatch, small):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    load = builtins.__import__

    def guarded(name, *args, **kwargs):
        assert name.split(".")[0] != "wandb"
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    result = run_recbole_attack(config_dict=small(attack="ra", epochs=1), saved=False)
    assert set(result["delta"]) == set(result["test_result"])


def test_logging_changes_no_figure(wandb, small):
    settings = small(attack="ra")
    logged = run_recbole_attack(config_dict={**settings, "log_wandb": True}, saved=False)
    assert logged == run_recbole_attack(config_dict=settings, saved=False)
