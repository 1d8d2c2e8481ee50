"""A platform that trains embeddings of flagged items anew: what changes, what does not, and what the record says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.benchmark import Store, run_grid
from recbole_attack.benchmark.grid import Row
from recbole_attack.benchmark.plan import deciding, make_plan
from recbole_attack.config.idle import idle
from recbole_attack.defense import DETECTORS
from recbole_attack.defense.evidence import detection
from recbole_attack.experiment import arm_parameters, create_dataset
from recbole_attack.quick_start import train_arm
from recbole_attack.report.run_table import metric_rows, result_table
from recbole_attack.stages import PRE_TRAIN, REPAIR, plans
from recbole_attack.trainer import StageTrainer
from recbole_attack.utils.errors import ConfigError, DataError

PLANTED = {
    **{"attack": "bra", "target_group": "all", "repair": "margin", "replacement_ratio": 0.5, "pre_train_epochs": 8},
    **{"pre_train_learning_rate": 0.02, "local_train_epochs": 8, "local_train_learning_rate": 0.02},
    **{"repair_epochs": 20, "repair_learning_rate": 0.02},
}
"""A provider that promotes three items to everybody, and a platform that finds and repairs them."""


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    """Equal, with NaN equal to NaN."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@pytest.fixture
def flagging(monkeypatch):
    """``flagging(items)``: let the detector ``kmeans`` flag these items whatever it sees."""

    def flag(items):
        def detector(evidence, seed):
            flags = np.isin(np.arange(1, len(evidence.popularity)), items)
            return detection(flags.astype(float), flags)

        monkeypatch.setitem(DETECTORS, "kmeans", detector)

    return flag


# What changes


@pytest.mark.parametrize("learner", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("attack", ["bra", "pea"])
def test_flagged_rows_change_and_nothing_else_does_bit_by_bit(experiment, tmp_path, attack, learner):
    made = experiment(attack=attack, learner=learner, weight_decay=0.1, repair="kmeans", clip_grad_norm={"max_norm": 5})
    stages = plans(made.config.final_config_dict)["attacked"]
    assert stages[-1].name == REPAIR.name and stages[-1].prompted == (attack == "pea")
    flagged = np.isin(np.arange(made.dataset.item_num), [3, 7, 21])
    shipped = made.trainer(made.config, stages[0], tmp_path / "1")
    trainer = made.trainer(made.config, stages[-1], tmp_path / "2", shipped, flagged)
    before, drawn = weights(shipped.model), weights(trainer.model)
    trainer.fit(made.data["platform"], verbose=False, saved=False)
    after, table = weights(trainer.model), "item_embedding.weight"
    assert before.keys() == drawn.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before if name != table)
    for first, second in ((before, drawn), (drawn, after), (before, after)):
        moved = (first[table] != second[table]).any(dim=1)
        assert moved.nonzero().flatten().tolist() == [3, 7, 21]


def test_new_rows_are_not_those_the_provider_started_from(experiment, tmp_path):
    made = experiment(repair="kmeans")
    flagged = np.arange(made.dataset.item_num) > 0
    first = made.trainer(made.config, PRE_TRAIN, tmp_path / "1")
    anew, again = (made.trainer(made.config, REPAIR, tmp_path / name, first, flagged) for name in ("2", "3"))
    started, drawn = (trainer.model.item_embedding.weight.detach() for trainer in (first, anew))
    assert not (started[1:] == drawn[1:]).any() and torch.equal(drawn, again.model.item_embedding.weight)
    assert float(drawn[1:].std()) == pytest.approx(float(started[1:].std()), rel=0.2)


@pytest.fixture(scope="module")
def once():
    """What was run once for all tests here, to be looked at only."""
    return {}


@pytest.fixture
def repaired(once, pretrain, tmp_path_factory):
    """The planted run, repaired: its result."""
    if not once:
        folder = str(tmp_path_factory.mktemp("repaired"))
        once["run"] = run_recbole_attack(config_dict={**pretrain(**PLANTED), "checkpoint_dir": folder})
    return once["run"]


def record_of(result):
    return json.loads(Path(result["result_file"]).read_text())


# Runs


def test_a_planted_attack_falls_and_what_was_shipped_is_what_is_served_without_repair(pretrain, repaired):
    record, without = repaired.record, run_recbole_attack(config_dict=pretrain(**{**PLANTED, "repair": "none"}))
    for arm in ("clean", "attacked"):
        shipped = record[arm]["shipped"]
        assert same(shipped["test_result"], without[arm]["test_result"])
        assert shipped["detector"] == "margin"
        assert shipped["flagged"] == record["detection"][arm]["margin"]["flagged"]
    assert same(record["detection"], without.record["detection"]) and same(repaired["local"], without["local"])
    found = record["attacked"]["shipped"]
    assert found["flagged_targets"] == 3
    exposure = [result["er@10"] for result in (found["test_result"], repaired["attacked"]["test_result"])]
    assert exposure[0] == 1.0 and exposure[1] < 0.5
    assert repaired["attacked"]["test_result"]["hit@10"] > found["test_result"]["hit@10"]
    assert "shipped" not in json.dumps(without.record)


def test_what_is_saved_differs_in_flagged_rows_alone(repaired):
    arm = Path(repaired["result_file"]).parent / "attacked"
    files = [arm / stage / "SASRec.pth" for stage in ("1-pre_train", "2-repair")]
    before, after = (torch.load(file, weights_only=True)["state_dict"] for file in files)
    differing = {name for name in before if not torch.equal(before[name], after[name])}
    assert differing == {"item_embedding.weight"}
    rows = (before["item_embedding.weight"] != after["item_embedding.weight"]).any(dim=1)
    assert int(rows.sum()) == record_of(repaired)["attacked"]["shipped"]["flagged"]


def test_the_table_of_suspects_flags_what_was_repaired(pretrain, flagging):
    """Items that the default detector of the table does not flag."""
    flagging([4, 9])
    result = run_recbole_attack(config_dict=pretrain(attack="bra", repair="kmeans"))
    arm = Path(result["result_file"]).parent / "attacked"
    files = [arm / stage / "SASRec.pth" for stage in ("1-pre_train", "2-repair")]
    before, after = (torch.load(file, weights_only=True)["state_dict"]["item_embedding.weight"] for file in files)
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    with (arm / "flagged.csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    tokens = create_dataset(AttackConfig(config_dict=pretrain())).field2id_token["item_id"]
    assert changed == [4, 9] and header[2] == "kmeans_score"
    assert {row[0] for row in rows if row[1] == "1"} == {row[0] for row in rows[:2]} == {*tokens[changed]}


def test_nothing_flagged_nothing_changed(pretrain, flagging):
    flagging([])
    given = {"attack": "bra", "platform": "fine_tune"}
    plain, watched = (
        run_recbole_attack(config_dict=pretrain(**given, repair=r), saved=False) for r in ("none", "kmeans")
    )
    for arm in ("clean", "attacked"):
        shipped = watched[arm].pop("shipped")
        assert shipped["flagged"] == 0 and same(shipped["test_result"], plain[arm]["test_result"])
        assert same(watched[arm], plain[arm])


def test_prompts_that_were_shipped_stay_in_use(pretrain, flagging):
    flagging([5, 6])
    result = run_recbole_attack(config_dict=pretrain(attack="pea", platform="direct", repair="kmeans"))
    arm = Path(result["result_file"]).parent / "attacked"
    before, after = (
        torch.load(arm / stage / "PromptSASRec.pth", weights_only=True)["state_dict"]
        for stage in ("1-pre_train", "2-repair")
    )
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"item_embedding.weight"}
    assert any(name.startswith("generator.") for name in after)


@pytest.mark.parametrize("stage", ["0-local_train", "2-repair"])
def test_an_interrupted_repair_ends_with_the_figures_of_an_uninterrupted_one(pretrain, repaired, monkeypatch, stage):
    train, epochs = StageTrainer._train_epoch, {"0-local_train": 4, "2-repair": 9}

    def interrupted(self, train_data, epoch, **kwargs):
        folder = Path(self.checkpoint_dir)
        if (folder.parent.name, folder.name, epoch) == ("attacked", stage, epochs[stage]):
            raise KeyboardInterrupt
        return train(self, train_data, epoch, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StageTrainer, "_train_epoch", interrupted)
        run_recbole_attack(config_dict={**pretrain(**PLANTED), "checkpoint_dir": "runs"})
    (folder,) = Path("runs").iterdir()
    resumed = run_recbole_attack(resume=str(folder))
    assert all(same(resumed[key], repaired[key]) for key in ("local", "clean", "attacked", "delta"))


# Records


def test_the_table_shows_both_side_by_side(repaired):
    head, *rows = metric_rows(repaired.record)
    models = ["clean, as shipped", "clean, repaired", "attacked, as shipped", "attacked, repaired"]
    assert head == ["metric", "local", *models, "delta"]
    exposure = dict(zip(head, next(row for row in rows if row[0].startswith("er@10")), strict=True))
    assert exposure["attacked, as shipped"].startswith("100.00 ")
    text = result_table(repaired.record)
    assert "items flagged by margin trained anew" in text
    assert "attacked 3 items, 3 of them promoted" in text


def test_a_grid_keeps_both_side_by_side_with_arms_that_are_not_repaired(pretrain, tmp_path):
    rows = {"used": {}, "repaired": {"repair": "excess_tail"}}
    plan = make_plan([Row(name, pretrain(attack="bra", **changes), ()) for name, changes in rows.items()])
    keys = {cell.row: cell.arms for cell in plan.cells}
    assert keys["used"]["local"] == keys["repaired"]["local"] and keys["used"]["clean"] != keys["repaired"]["clean"]
    assert not run_grid(plan, tmp_path / "store", train_arm, jobs=1, tell=lambda line: None)
    records = {row: record for row, (record,) in Store(tmp_path / "store").records().items()}
    for arm in ("clean", "attacked"):
        shipped = records["repaired"][arm]["shipped"]
        assert same(shipped["test_result"], records["used"][arm]["test_result"])
        assert shipped["flagged"] == records["used"]["detection"][arm]["excess_tail"]["flagged"]
    assert "shipped" not in json.dumps(records["used"])


def test_arms_that_are_not_repaired_are_stored_as_they_were_before_there_was_a_repair(pretrain):
    for parameters in arm_parameters(AttackConfig(config_dict=pretrain(attack="bra"))).values():
        assert not {key for key in deciding(parameters) if key.startswith("repair")}


def test_what_the_detector_reads_decides_the_repaired_arms_and_no_others(pretrain):
    def arms(**changes):
        return arm_parameters(AttackConfig(config_dict=pretrain(attack="bra", repair="margin", **changes)))

    plain, others = arms(), arms(spectral_head=0.5, group_least=3, fine_tune_epochs=7)
    assert others == plain
    for changes in ({"margin_index": 2.0}, {"repair_epochs": 7}, {"local_train_learning_rate": 0.5}):
        changed = arms(**changes)
        assert all(changed[arm] != plain[arm] for arm in ("clean", "attacked"))
        assert (changed["local"] == plain["local"]) == ("local_train_learning_rate" not in changes)


# What cannot be


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"repair": "margins"}, ConfigError, "did you mean 'margin'"),
        (
            {"repair": "margin", "eval_args": {"split": {"LS": "valid_only"}}},
            DataError,
            "expected test users of the platform",
        ),
    ],
    ids=str,
)
def test_what_no_detector_can_judge_is_refused(pretrain, changes, error, words):
    with pytest.raises(error, match=words):
        run_recbole_attack(config_dict=pretrain(**{"attack": "bra", **changes}), saved=False)


def test_a_detector_that_cannot_read_the_model_is_refused_before_the_provider_trains(pretrain, monkeypatch):
    monkeypatch.setitem(DETECTORS, "kmeans", lambda evidence, seed: None)
    with pytest.raises(ConfigError, match="repair 'kmeans' reads what model 'SASRec' does not show"):
        run_recbole_attack(config_dict=pretrain(attack="bra", repair="kmeans", checkpoint_dir="runs"))
    assert {file.parent.name for file in Path("runs").rglob("last.pth")} == {"1-local_train", "0-local_train"}


def test_a_platform_on_its_own_has_nothing_to_repair(pretrain):
    alone = AttackConfig(config_dict=pretrain(platform="local", repair="kmeans")).final_config_dict
    assert "repair" in idle(alone) and list(plans(alone)) == ["local"]
