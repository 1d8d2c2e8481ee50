"""Whole runs on the tiny dataset: what they return and leave behind, and that they continue where they stopped."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import logging
import math
import os
import pickle
import re
import shutil
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recbole.trainer import HyperTuning
from scipy.stats import sem

import recbole_attack
from recbole_attack import load_data_and_model, objective_function, run_recbole_attack
from recbole_attack.evaluator import read_outcomes
from recbole_attack.experiment import prepare_training
from recbole_attack.model import HOSTS
from recbole_attack.quick_start import run_folder
from recbole_attack.quick_start.run_folder import continuable
from recbole_attack.report.run_table import result_table
from recbole_attack.trainer import FederatedTrainer, StageTrainer
from recbole_attack.utils.checkpoints import save_checkpoint
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

DATASETS = Path(__file__).resolve().parents[2] / "dataset"
RECBOLE_KEYS = {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"}
SCHEMA = {
    *("schema", "version", "config", "seed", "dataset", "budget"),
    *("clean", "attacked", "delta", "history", "timing", "artefacts"),
}
COMPARED = ("clean", "attacked", "delta")
METRICS = {f"{m}@{k}" for m in ("hit", "ndcg", "er", "target_ndcg", "exposure_share") for k in (5, 10, 20, 30)}


CONTINUED = {"epochs": 3, "lr_decay_step": 1, "stopping_step": 1, "learning_rate": 0.01}
"""A schedule and early stopping, so that resuming has more to restore than weights."""


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """Run each configuration once: what it returned, its folder and its record, to be looked at only."""
    runs = {}

    def run(name, parameters):
        if name not in runs:
            place = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(place)
                result = run_recbole_attack(config_dict={**parameters, "checkpoint_dir": str(place / "saved")})
            folder = Path(result["result_file"]).parent
            runs[name] = types.SimpleNamespace(result=result, folder=folder, record=strict_json(folder / "result.json"))
        return runs[name]

    return run


@pytest.fixture
def finished(run_once, small):
    return run_once("finished", small())


@pytest.fixture
def uninterrupted(run_once, small):
    return run_once("uninterrupted", small(**CONTINUED))


def strict_json(path: Path) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def interactions() -> tuple[list[str], list[str]]:
    """Users and items of the tiny dataset, row by row."""
    rows = [line.split("\t") for line in (DATASETS / "tiny" / "tiny.inter").read_text().splitlines()[1:]]
    return [row[0] for row in rows], [row[1] for row in rows]


def rounds(folder: Path, arm: str) -> list[dict[str, str]]:
    with (folder / arm / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(entries: list[dict]) -> list[dict]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries]


def contents(folder: Path) -> set[str]:
    """Every file below a folder; TensorBoard's, which have the time in their names, together."""
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    return {file.parts[0] if file.parts[0] == "tensorboard" else str(file) for file in files}


# What a run returns


def test_the_result_is_recboles_and_both_arms_and_their_difference(finished):
    result = finished.result
    assert set(result) == {*RECBOLE_KEYS, *COMPARED, "result_file"}
    assert set(result["test_result"]) == set(result["best_valid_result"]) == METRICS
    assert all(type(v) is float for v in [*result["test_result"].values(), result["best_valid_score"]])
    assert result["valid_score_bigger"] is True
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@10"]
    assert result["test_result"] == result["attacked"]["test_result"]
    clean, attacked = result["clean"]["test_result"], result["attacked"]["test_result"]
    assert clean != attacked
    assert result["delta"] == {key: attacked[key] - clean[key] for key in METRICS}
    assert result["clean"]["test_result_full"] is None


def test_without_the_clean_twin_the_attacked_arm_is_the_same(finished, small):
    result = run_recbole_attack(config_dict=small(compare_clean=False))
    assert (result["clean"], result["delta"]) == (None, None)
    assert result["attacked"] == finished.result["attacked"]
    assert not (Path(result["result_file"]).parent / "clean").exists()


def test_without_an_attack_the_victim_is_the_clean_twin(finished, small):
    result = run_recbole_attack(config_dict=small(attack="none"))
    assert (result["attacked"], result["delta"]) == (None, None)
    assert result["clean"] == finished.result["clean"]
    assert result["test_result"] == result["clean"]["test_result"]


def test_central_training_has_no_rounds_and_no_attacked_arm(small):
    result = run_recbole_attack(config_dict=small(scenario="central", epochs=1))
    assert result["attacked"] is None
    assert set(result["test_result"]) == METRICS
    folder = Path(result["result_file"]).parent
    assert contents(folder / "clean") == {"SASRec.pth", "last.pth", "outcomes.npz"}
    assert "clean/SASRec.pth" in strict_json(folder / "result.json")["artefacts"]


def test_sampled_rankings_are_reported_beside_full_ones(finished, small):
    result = run_recbole_attack(config_dict=small(exposure_candidates=10))
    record = strict_json(Path(result["result_file"]))
    for arm in ("clean", "attacked"):
        sampled, full = result[arm]["test_result"], result[arm]["test_result_full"]
        assert set(sampled) == set(full) == METRICS
        assert sampled["hit@20"] == 1.0, "ten candidates, the truth and the target fit in twenty places"
        assert full["hit@20"] < 1.0
        assert record[arm]["test_result_full"] == full
    assert result["test_result"] == result["attacked"]["test_result"]


@pytest.mark.parametrize(("mode", "missing"), [("valid_only", "test_result"), ("test_only", "best_valid_result")])
def test_a_split_without_one_part_has_no_result_for_it(small, mode, missing):
    eval_args = {"split": {"LS": mode}, "order": "TO", "group_by": "user", "mode": "full"}
    result = run_recbole_attack(config_dict=small(eval_args=eval_args, epochs=1))
    for arm in ("clean", "attacked"):
        present = {"test_result", "best_valid_result"} - {missing}
        assert result[arm][missing] is None
        assert set(result[arm][present.pop()]) == METRICS
    assert (result["delta"] is None) == (missing == "test_result")
    assert set(strict_json(Path(result["result_file"]))) >= SCHEMA


def test_a_run_that_is_never_validated_still_has_a_test_result(small):
    result = run_recbole_attack(config_dict=small(epochs=1, eval_step=5))
    assert set(result["delta"]) == METRICS


def test_a_model_class_can_be_run(small):
    from recbole_attack.model import SASRec

    result = run_recbole_attack(model=SASRec, dataset="tiny", config_dict=small(attack="none", epochs=1), saved=False)
    assert set(result["test_result"]) == METRICS


# What a run leaves behind


def test_the_run_folder_holds_what_it_should_and_no_cache(finished):
    names = ("SASRec.pth", "last.pth", "rounds.csv", "outcomes.npz")
    arms = {f"{arm}/{name}" for arm in ("clean", "attacked") for name in names}
    files = {"config.yaml", "dataset.json", "result.json", "history.png", "run.log", "tensorboard"}
    assert contents(finished.folder) == {*files, *arms}
    assert re.fullmatch(r"SASRec-tiny-federated-dvfsr-.+", finished.folder.name)


def test_the_record_follows_the_schema(finished):
    record, result = finished.record, finished.result
    assert set(record) >= SCHEMA
    assert (record["schema"], record["version"]) == (1, recbole_attack.__version__)
    assert record["seed"] == record["config"]["seed"] == 2020
    assert {key: record[key] for key in COMPARED} == {key: result[key] for key in COMPARED}
    for arm in ("clean", "attacked"):
        assert [epoch["epoch"] for epoch in record["history"][arm]] == [0, 1]
        assert set(record["history"][arm][0]) >= METRICS | {"train_loss", "learning_rate", "seconds"}
        assert record["timing"][arm] > 0
    assert set(record["artefacts"]) == contents(finished.folder) - {"result.json"}
    assert "hit@10" in result_table(record)


def test_client_weights_are_among_the_artefacts(small):
    result = run_recbole_attack(dataset="tiny", config_dict=small(aggregator="krum", epochs=1))
    folder = Path(result["result_file"]).parent
    artefacts = json.loads(Path(result["result_file"]).read_text())["artefacts"]
    assert set(artefacts) == contents(folder) - {"result.json"}
    assert {f"{arm}/client_weights/epoch-0000.csv" for arm in ("clean", "attacked")} <= set(artefacts)


@pytest.mark.parametrize("arm", ["clean", "attacked"])
def test_figures_come_with_their_standard_errors(finished, arm):
    record, outcomes = finished.record[arm], read_outcomes(finished.folder / arm / "outcomes.npz")
    assert set(record["standard_error"]) == METRICS
    assert record["standard_error_full"] is None
    for k in (5, 10, 20, 30):
        hits, exposed = outcomes.rank_truth <= k, (outcomes.rank_target <= k)[outcomes.eligible]  # of the one target
        assert record["test_result"][f"hit@{k}"] == pytest.approx(hits.mean(), abs=1e-6)
        assert record["standard_error"][f"hit@{k}"] == pytest.approx(sem(hits.astype(float)))
        assert record["test_result"][f"er@{k}"] == pytest.approx(exposed.mean(), abs=1e-6)
        assert record["standard_error"][f"er@{k}"] == pytest.approx(sem(exposed.astype(float)))


def test_full_rankings_and_groups_have_standard_errors_too(pretrain):
    result = run_recbole_attack(
        config_dict=pretrain(exposure_candidates=20, platform="local", attack="none"), saved=False
    )
    arm = result["local"]
    for key, errors in (("test_result", "standard_error"), ("test_result_full", "standard_error_full")):
        defined = {name for name, value in arm[key].items() if value == value and not name.startswith("invisibility")}
        assert set(arm[errors]) == defined
        assert {"er_in@10", "er_out@10"} <= defined
    assert arm["standard_error"] != arm["standard_error_full"]


def test_the_log_says_what_is_not_as_usual_and_where_all_of_it_is(finished, small):
    log = (finished.folder / "run.log").read_text()
    (line,) = [line for line in log.splitlines() if "other than the defaults" in line]
    _, _, rest = line.partition("SASRec on tiny; other than the defaults: ")
    shown, _, where = rest.partition(" (all parameters: ")
    assert where == f"{finished.folder / 'config.yaml'})"
    changed = {**small(), "checkpoint_dir": str(finished.folder.parent)}
    assert shown == ", ".join(f"{key}: {changed[key]}" for key in sorted(changed) if key != "dataset")
    assert "\x1b" not in log, "no colours in a file"
    assert log.rstrip().endswith(f"run folder: {finished.folder}")


def test_a_gpu_that_was_asked_for_and_is_not_there_is_told_of(small, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given, told in (({"use_gpu": True}, 1), ({"use_gpu": False}, 0), ({}, 0)):
        caplog.clear()
        run_recbole_attack(config_dict=small(epochs=1, attack="none", **given), saved=False)
        assert caplog.text.count("use_gpu found no GPU (gpu_id '0'): all of it is computed on the CPU") == told


def test_a_resumed_run_does_not_say_who_asked_for_a_gpu(small, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = run_recbole_attack(config_dict=small(epochs=1, attack="none", checkpoint_dir=str(tmp_path)))
    run_recbole_attack(resume=str(Path(run["result_file"]).parent))
    assert "run folder" in caplog.text
    assert "found no GPU" not in caplog.text


def test_the_record_identifies_the_data(finished):
    data, files = finished.record["dataset"], list((DATASETS / "tiny").iterdir())
    users, items = interactions()
    assert data["interactions"] == len(users)
    assert (data["users"], data["items"]) == (len(set(users)), len(set(items)))
    assert data["sha256"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert set(data["sha256"]) == {"tiny.inter", "tiny.user", "tiny.item"}


def test_the_record_says_what_the_attacker_controls(finished):
    budget = finished.record["budget"]
    assert budget["attack"] == "dvfsr"
    assert budget["malicious_clients"] == len(budget["malicious_users"]) == int(60 * 0.05)
    assert budget["malicious_share"] == pytest.approx(0.05)
    assert all(re.fullmatch(r"u\d+", user) for user in budget["malicious_users"])
    assert [bool(re.fullmatch(r"i\d+", item)) for item in budget["target_items"]] == [True]


def test_the_saved_configuration_runs_to_the_same_result(finished, tmp_path):
    again = run_recbole_attack(
        config_file_list=[str(finished.folder / "config.yaml")], config_dict={"checkpoint_dir": str(tmp_path / "again")}
    )
    assert {key: again[key] for key in COMPARED} == {key: finished.result[key] for key in COMPARED}
    saved = yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert saved == finished.record["config"]


@pytest.mark.parametrize(("arm", "malicious"), [("clean", 0), ("attacked", 3)])
def test_there_is_a_row_for_each_round(finished, small, arm, malicious):
    rows = rounds(finished.folder, arm)
    honest = sum(count >= 2 for count in Counter(interactions()[0]).values())
    per_epoch = math.ceil((honest + malicious) / small()["clients_per_round"])
    assert [(r["epoch"], r["round"]) for r in rows] == [(e, str(i)) for e in "01" for i in range(per_epoch)]
    for epoch in "01":
        assert sum(int(r["honest"]) for r in rows if r["epoch"] == epoch) == honest
        assert sum(int(r["malicious"]) for r in rows if r["epoch"] == epoch) == malicious
    assert all(float(r["loss"]) > 0 and float(r["update_norm"]) > 0 for r in rows)


def test_the_history_is_a_png(finished):
    assert (finished.folder / "history.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_checkpoints_hold_nothing_that_could_run(finished):
    files = sorted(finished.folder.rglob("*.pth"))
    assert len(files) == 4
    for file in files:
        assert "state_dict" in torch.load(file, weights_only=True)


def test_unsaved_runs_leave_nothing(tmp_path, small, capsys):
    result = run_recbole_attack(config_dict=small(epochs=1), saved=False)
    assert result["result_file"] is None
    assert set(result["delta"]) == METRICS
    assert not list(tmp_path.iterdir())
    err = capsys.readouterr().err
    assert "attacked, epoch 0 [" in err and "run folder" not in err


def test_saved_runs_leave_nothing_but_their_folder(tmp_path, small):
    result = run_recbole_attack(config_dict=small(epochs=1, attack="none"))
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    assert list((tmp_path / "saved").iterdir()) == [tmp_path / Path(result["result_file"]).parent]


def test_trials_leave_nothing_but_their_folder(tmp_path, small):
    objective_function(small(epochs=1, attack="none"), saved=False)
    assert not list(tmp_path.iterdir())
    objective_function(small(epochs=1, attack="none"))
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def test_two_runs_share_neither_folder_nor_handlers(monkeypatch, capsys, tmp_path, small):
    monkeypatch.setattr(run_folder, "get_local_time", lambda: "the-same-second")
    root, seen = logging.getLogger(), []
    own = logging.Handler()
    own.emit = lambda record: seen.append(record.getMessage())
    root.addHandler(own)
    root.setLevel(logging.ERROR)
    handlers = list(root.handlers)
    results = [run_recbole_attack(config_dict=small(attack="none", epochs=1)) for _ in range(2)]
    left, level = list(root.handlers), root.level
    root.removeHandler(own)
    root.setLevel(logging.WARNING)

    assert (left, level) == (handlers, logging.ERROR)
    folders = {str(Path(result["result_file"]).parent) for result in results}
    assert len(folders) == 2
    logs = {folder: (tmp_path / folder / "run.log").read_text() for folder in folders}
    for folder, text in logs.items():
        assert re.findall(r"run folder: (\S+)", text) == [folder] * 2, "before and after"
    for text in (capsys.readouterr().err, "".join(logs.values()), "\n".join(seen)):
        assert sorted(re.findall(r"run folder: (\S+)", text)) == sorted([*folders] * 2), "each line once, to each place"


def test_a_failed_run_leaves_logging_as_it_was_and_no_run_folder(tmp_path, small):
    root = logging.getLogger()
    before = list(root.handlers), root.level
    with pytest.raises(DataError, match=r"'nonesuch' not found.*found in .*: tiny"):
        run_recbole_attack(config_dict=small(dataset="nonesuch"))
    assert (list(root.handlers), root.level) == before
    assert not (tmp_path / "saved").exists()


def test_a_run_leaves_the_global_random_state_usable_and_equal(small):
    first = run_recbole_attack(config_dict=small(attack="none", epochs=1), saved=False)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    second = run_recbole_attack(config_dict=small(attack="none", epochs=1), saved=False)
    assert first["test_result"] == second["test_result"]


# Loading


@pytest.mark.parametrize("arm", ["clean", "attacked"])
def test_a_loaded_model_scores_what_the_record_says(finished, arm):
    config, model, dataset, train_data, valid_data, test_data = load_data_and_model(
        str(finished.folder / arm / "SASRec.pth")
    )
    assert config["attack"] == {"clean": "none", "attacked": "dvfsr"}[arm]
    trainer = prepare_training(config).trainer(config)
    trainer.model.load_state_dict(model.state_dict())
    trainer.eval_collector.data_collect(train_data)
    assert trainer.evaluate(test_data, load_best_model=False) == finished.record[arm]["test_result"]
    assert trainer.evaluate(valid_data, load_best_model=False) == finished.record[arm]["best_valid_result"]
    assert (dataset.user_num, dataset.item_num) == (61, 40)
    assert next(model.parameters()).device == config["device"]


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", ["missing", "garbage", "empty", "code", "code in config", "not ours"])
def test_what_is_no_checkpoint_of_ours_is_refused_unexecuted(tmp_path, content):
    file = tmp_path / "model.pth"
    if content == "garbage":
        file.write_bytes(b"PK\x03\x04 and so on")
    elif content == "empty":
        file.touch()
    elif content == "code":
        file.write_bytes(pickle.dumps({"state_dict": {}, "config": Bomb()}))
    elif content == "code in config":
        torch.save({"state_dict": {}, "config": Bomb()}, file)
    elif content == "not ours":
        torch.save({"state_dict": {}}, file)
    with pytest.raises(DataError, match=r"model\.pth") as error:
        load_data_and_model(str(file))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


# Tuning


def test_a_trial_returns_recboles_keys_and_the_model(finished, small):
    before = list(logging.getLogger().handlers)
    outcome = objective_function(small())
    assert set(outcome) == {*RECBOLE_KEYS, "model"}
    assert outcome["model"] == "SASRec"
    assert {k: outcome[k] for k in RECBOLE_KEYS} == {k: finished.result[k] for k in RECBOLE_KEYS}
    assert list(logging.getLogger().handlers) == before


@pytest.mark.parametrize("drawn", [{"learning_rate": np.float64(0.01)}, {"hidden_size": np.int64(4)}], ids=str)
def test_a_trial_takes_numbers_as_samplers_draw_them(small, drawn):
    outcome = objective_function(small(attack="none", epochs=1, **drawn))
    assert set(outcome["test_result"]) == METRICS


def test_recboles_tuner_finds_the_better_parameter(monkeypatch, tmp_path, small):
    package, early_stop = types.ModuleType("hyperopt"), types.ModuleType("hyperopt.early_stop")
    package.STATUS_OK, early_stop.no_progress_loss = "ok", lambda steps: None
    monkeypatch.setitem(sys.modules, "hyperopt", package)
    monkeypatch.setitem(sys.modules, "hyperopt.early_stop", early_stop)
    fixed = tmp_path / "fixed.yaml"
    fixed.write_text(yaml.safe_dump(small(attack="none", epochs=1)))
    tuner = HyperTuning(objective_function, space={"seed": None}, algo=len, fixed_config_file_list=[str(fixed)])
    losses = {seed: tuner.trial({"seed": seed})["loss"] for seed in (1, 2)}
    assert tuner.best_params == {"seed": min(losses, key=losses.get)}
    assert tuner.best_score == -min(losses.values())
    assert tuner.model == "SASRec"
    tuner.export_result(str(tmp_path / "tuned.txt"))
    assert "seed:2" in (tmp_path / "tuned.txt").read_text()


# Resuming


def interrupt(monkeypatch, small, arm: str, epoch: int, after: bool) -> Path:
    """Interrupt a run at the start or the end of an epoch; returns its folder."""
    train = FederatedTrainer._train_epoch

    def interrupted(self, train_data, epoch_idx, **kwargs):
        here = (bool(self.attack), epoch_idx) == (arm == "attacked", epoch)
        if here and not after:
            raise KeyboardInterrupt
        loss = train(self, train_data, epoch_idx, **kwargs)
        if here:
            raise KeyboardInterrupt
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(FederatedTrainer, "_train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_attack(config_dict=small)
    (folder,) = Path(small["checkpoint_dir"]).iterdir()
    return folder


@pytest.mark.parametrize(
    ("arm", "epoch", "after"),
    [("clean", 0, True), ("clean", 2, False), ("attacked", 0, False), ("attacked", 1, False), ("attacked", 2, True)],
)
def test_an_interrupted_run_ends_with_the_figures_of_an_uninterrupted_one(
    monkeypatch, tmp_path, small, uninterrupted, arm, epoch, after
):
    folder = interrupt(monkeypatch, small(**CONTINUED, checkpoint_dir=str(tmp_path / "runs")), arm, epoch, after)
    assert not (folder / "result.json").exists()
    result = run_recbole_attack(resume=str(folder))
    assert {k: v for k, v in result.items() if k != "result_file"} == {
        k: v for k, v in uninterrupted.result.items() if k != "result_file"
    }
    assert Path(result["result_file"]) == folder / "result.json"
    assert list((tmp_path / "runs").iterdir()) == [folder]
    record = strict_json(folder / "result.json")
    for name in ("clean", "attacked"):
        assert without_seconds(record["history"][name]) == without_seconds(uninterrupted.record["history"][name])
        assert without_seconds(rounds(folder, name)) == without_seconds(rounds(uninterrupted.folder, name))


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(small):
    first = run_recbole_attack(config_dict=small())
    folder = Path(first["result_file"]).parent
    kept = {p: p.stat().st_mtime_ns for p in folder.rglob("*.pth")}
    record = strict_json(folder / "result.json")
    assert run_recbole_attack(resume=str(folder)) == first
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.pth")} == kept, "nothing was trained again"
    again = strict_json(folder / "result.json")
    assert again["history"] == record["history"]
    assert again["artefacts"] == record["artefacts"]


@pytest.mark.parametrize(
    "more",
    [{"model": "SASRec"}, {"dataset": "tiny"}, {"config_file_list": ["a.yaml"]}, {"config_dict": {"epochs": 3}}],
    ids=str,
)
def test_resuming_takes_no_other_argument(finished, more):
    with pytest.raises((ConfigError, DataError), match="no other argument"):
        run_recbole_attack(resume=str(finished.folder), **more)


def test_a_resumed_run_is_kept(finished):
    with pytest.raises(ConfigError, match=r"continues its folder: expected saved=True with .*, found False"):
        run_recbole_attack(resume=str(finished.folder), saved=False)


def test_what_is_no_run_folder_cannot_be_resumed(finished, tmp_path):
    with pytest.raises(DataError, match="is not a run folder"):
        run_recbole_attack(resume=str(tmp_path))
    near = finished.folder.with_name(finished.folder.name[:-1])
    with pytest.raises(DataError, match=f"did you mean '{finished.folder.name}'"):
        run_recbole_attack(resume=str(near))
    with pytest.raises(DataError, match=f"run folders in it: .*{finished.folder.name}"):
        run_recbole_attack(resume=str(finished.folder.parent))
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_continued_on_other_data(monkeypatch, small, tmp_path):
    shutil.copytree(Path(small()["data_path"]) / "tiny", tmp_path / "data" / "tiny")
    settings = small(**CONTINUED, checkpoint_dir=str(tmp_path / "runs"), data_path=str(tmp_path / "data"))
    folder = interrupt(monkeypatch, settings, "clean", 1, True)
    kept = bytes_of(folder)
    inter = tmp_path / "data" / "tiny" / "tiny.inter"
    lines = inter.read_text().splitlines(keepends=True)
    inter.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="was trained on other data: expected interactions"):
        run_recbole_attack(resume=str(folder))
    assert bytes_of(folder) == kept
    inter.write_text("".join(lines))
    assert run_recbole_attack(resume=str(folder))["clean"]["test_result"]


def test_a_run_is_not_continued_with_other_parameters(monkeypatch, small, tmp_path):
    folder = interrupt(monkeypatch, small(**CONTINUED, checkpoint_dir=str(tmp_path / "runs")), "clean", 1, True)
    file = folder / "config.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "learning_rate": 0.5}))
    with pytest.raises(ConfigError, match=r"expected learning_rate 0\.\d+, found 0\.5"):
        run_recbole_attack(resume=str(folder))
    file.write_text(yaml.safe_dump({**values, "show_progress": True, "verbose": True}))
    assert run_recbole_attack(resume=str(folder))["clean"]["test_result"]


def test_a_model_that_cannot_be_attacked_leaves_no_run_folder(small, tmp_path):
    settings = small(checkpoint_dir=str(tmp_path / "runs"))
    settings = {key: value for key, value in settings.items() if key not in ("hidden_size", "inner_size")}
    with pytest.raises(ConfigError, match="model 'SRGNN' cannot be attacked: expected a state that follows"):
        run_recbole_attack(HOSTS["SRGNN"], config_dict=settings)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("text", ["", "seed: [1", "- seed\n", "seed: !!python/name:os.system\n"], ids=repr)
def test_a_damaged_configuration_cannot_be_resumed(tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(DataError, match=r"config\.yaml"):
        run_recbole_attack(resume=str(tmp_path / "run"))


# Other processes, kills, damage


def bytes_of(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder but what says how it came to be."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {p: p.read_bytes() for p in files if p.name != "run.log" and "tensorboard" not in p.parts}


def test_a_folder_another_process_works_in_is_refused(monkeypatch, small, tmp_path):
    train, refused = FederatedTrainer._train_epoch, []

    def meanwhile(self, *args, **kwargs):
        (folder,) = (tmp_path / "runs").iterdir()
        before, log = bytes_of(folder), (folder / "run.log").read_bytes()
        child = os.fork()
        if not child:
            try:
                run_recbole_attack(resume=str(folder))
            except DataError as error:
                os._exit(3 if "is in use: expected that no other process works in it" in str(error) else 1)
            finally:
                os._exit(1)
        refused.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert (bytes_of(folder), (folder / "run.log").read_bytes()) == (before, log)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(FederatedTrainer, "_train_epoch", meanwhile)
    run_recbole_attack(config_dict=small(attack="none", epochs=1, checkpoint_dir=str(tmp_path / "runs")))
    assert refused == [3]


@pytest.mark.parametrize("last", ["last.pth", "history.png", "result.json"])
def test_a_killed_run_is_continued_and_leaves_what_an_uninterrupted_one_does(small, tmp_path, finished, last):
    """Killed right after the last rename of a file of this name, or while it is written."""
    settings, seen = small(checkpoint_dir=str(tmp_path / "runs")), []
    child = os.fork()
    if not child:
        replace = os.replace

        def deadly(source, target):
            seen.append(Path(target).name)
            if seen.count(last) == (4 if last == "last.pth" else 1):
                if last == "last.pth":
                    replace(source, target)
                os._exit(9)
            replace(source, target)

        os.replace = deadly
        try:
            run_recbole_attack(config_dict=settings)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / ".lock").exists(), "it was killed"
    assert not (folder / "result.json").exists()
    result = run_recbole_attack(resume=str(folder))
    assert {k: v for k, v in result.items() if k != "result_file"} == {
        k: v for k, v in finished.result.items() if k != "result_file"
    }
    assert contents(folder) == contents(finished.folder)
    for arm in ("clean", "attacked"):
        assert without_seconds(rounds(folder, arm)) == without_seconds(rounds(finished.folder, arm))


def test_an_arm_that_diverges_is_named_and_the_other_one_kept(monkeypatch, small, finished, tmp_path):
    train = FederatedTrainer._train_epoch

    def diverging(self, *args, **kwargs):
        if self.attack:
            raise TrainingError("a score is not finite: training diverged")
        return train(self, *args, **kwargs)

    settings = small(checkpoint_dir=str(tmp_path / "runs"))
    with monkeypatch.context() as patch:
        patch.setattr(FederatedTrainer, "_train_epoch", diverging)
        with pytest.raises(TrainingError, match=r"arm 'attacked': a score is not finite.*result\.json holds"):
            run_recbole_attack(config_dict=settings)
    (folder,) = (tmp_path / "runs").iterdir()
    record = strict_json(folder / "result.json")
    assert record["failed"] == {"arm": "attacked", "reason": "a score is not finite: training diverged"}
    assert record["clean"] == finished.record["clean"]
    assert (record["attacked"], record["delta"]) == (None, None)
    assert set(record) == set(finished.record)
    assert finished.record["failed"] is None
    assert run_recbole_attack(resume=str(folder))["delta"] == finished.result["delta"], "it was not its fault"
    assert strict_json(folder / "result.json")["failed"] is None


def test_an_arm_that_diverges_unsaved_is_named(monkeypatch, small):
    def diverging(self, *args, **kwargs):
        raise TrainingError("training diverged")

    monkeypatch.setattr(FederatedTrainer, "_train_epoch", diverging)
    with pytest.raises(TrainingError, match=r"^arm 'clean': training diverged$"):
        run_recbole_attack(config_dict=small(), saved=False)


@pytest.mark.parametrize(("arm", "kept"), [("local", []), ("clean", ["local"])])
def test_an_arm_of_a_pretrained_model_that_diverges_is_named(monkeypatch, pretrain, tmp_path, arm, kept):
    train = StageTrainer._train_epoch

    def diverging(self, *args, **kwargs):
        if arm in Path(self.checkpoint_dir).parts:
            raise TrainingError("training diverged")
        return train(self, *args, **kwargs)

    monkeypatch.setattr(StageTrainer, "_train_epoch", diverging)
    with pytest.raises(TrainingError, match=rf"^arm '{arm}': training diverged; "):
        run_recbole_attack(config_dict=pretrain(attack="bra", checkpoint_dir=str(tmp_path / "runs")))
    record = strict_json(next((tmp_path / "runs").glob("*/result.json")))
    assert record["failed"] == {"arm": arm, "reason": "training diverged"}
    assert [name for name in ("local", "clean", "attacked") if record.get(name)] == kept
    assert record["detection"] == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("\xff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "must hold a JSON object: found list"),
        ("null", "must hold a JSON object: found NoneType"),
        ("{}", "expected name None, found tiny"),
        ('{"name": "tiny"}', "expected users None, found 60"),
    ],
    ids=["empty", "half", "bytes", "deep", "list", "null", "nothing", "too little"],
)
def test_a_damaged_description_of_the_data_is_refused(finished, tmp_path, text, words):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    (folder / "dataset.json").write_bytes(text.encode("latin-1"))
    before = bytes_of(folder)
    with pytest.raises(DataError, match=words) as raised:
        run_recbole_attack(resume=str(folder))
    assert "\n" not in str(raised.value)
    assert bytes_of(folder) == before


def test_a_lost_description_of_the_data_is_missed(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset\.json is missing"):
        run_recbole_attack(resume=str(folder))
    assert not (folder / "dataset.json").exists()


def test_the_best_model_of_another_arm_is_not_tested(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    before = (folder / "result.json").read_bytes()
    shutil.copy(folder / "clean" / "SASRec.pth", folder / "attacked" / "SASRec.pth")
    with pytest.raises(ConfigError, match=r"SASRec\.pth is not of this run: expected attack 'none', found"):
        run_recbole_attack(resume=str(folder))
    assert (folder / "result.json").read_bytes() == before


def test_a_flipped_bit_in_a_finished_run_is_noticed(finished, tmp_path):
    for name in ("clean/last.pth", "attacked/SASRec.pth"):
        folder = shutil.copytree(finished.folder, tmp_path / Path(name).parent.name)
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        before = bytes_of(folder)
        with pytest.raises(DataError, match=rf"{name} is damaged"):
            run_recbole_attack(resume=str(folder))
        assert bytes_of(folder) == before


def test_a_model_of_another_shape_is_not_loaded(finished, tmp_path):
    state = torch.load(finished.folder / "clean" / "SASRec.pth", weights_only=True)
    state["state_dict"]["item_embedding.weight"] = torch.zeros(3, 8)
    save_checkpoint(tmp_path / "model.pth", state)
    with pytest.raises(DataError, match=r"model\.pth does not fit this run: .*\[3, 8\].*\[40, 8\]"):
        load_data_and_model(str(tmp_path / "model.pth"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_run_that_cannot_write_its_first_file_leaves_no_folder(monkeypatch, small, tmp_path, code):
    def failing(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match=r"config\.yaml"):
        run_recbole_attack(config_dict=small(checkpoint_dir=str(tmp_path / "runs")))
    assert not list((tmp_path / "runs").iterdir())


def test_a_metric_nobody_is_measured_by_keeps_the_last_model(small, tmp_path, monkeypatch):
    """Everybody has bought the target, so its exposure is that to nobody, in every epoch; not known beforehand here."""
    monkeypatch.setattr("recbole_attack.experiment.training.check_valid_metric", lambda *_: None)
    shutil.copytree(DATASETS / "tiny", tmp_path / "data" / "tiny")
    inter = tmp_path / "data" / "tiny" / "tiny.inter"
    header, *rows = inter.read_text().splitlines()
    fields = [field.split(":")[0] for field in header.split("\t")]
    user, item, time = (fields.index(name) for name in ("user_id", "item_id", "timestamp"))
    target = rows[0].split("\t")[item]
    first = {}
    for row in rows:
        values = row.split("\t")
        if values[item] != target:
            first.setdefault(values[user], values)
    for values in first.values():
        added = list(values)
        added[item], added[time] = target, "0"
        rows.append("\t".join(added))
    inter.write_text("\n".join([header, *rows]) + "\n")
    settings = small(
        data_path=str(tmp_path / "data"), target_items=target, valid_metric="ER@10", attack="none", stopping_step=0
    )
    result = run_recbole_attack(config_dict=settings)
    record = strict_json(Path(result["result_file"]))
    assert record["clean"]["best_valid_result"]["er@10"] is None
    assert len(record["history"]["clean"]) == settings["epochs"]
    last = record["history"]["clean"][-1]
    assert record["clean"]["best_valid_result"] == {key: last[key] for key in record["clean"]["best_valid_result"]}
    assert result["test_result"]["hit@10"] >= 0


def test_an_interruption_while_results_are_written_says_how_to_continue(small, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="continue with --resume="):
        patch.setattr("recbole_attack.quick_start.quick_start._write_record", interrupt)
        run_recbole_attack(config_dict=small(epochs=1, attack="none"))
    (folder,) = Path("saved").glob("*")
    assert run_recbole_attack(resume=str(folder))["result_file"] == str(folder / "result.json")


@pytest.mark.parametrize("plugins", [False, True])
def test_who_interrupts_a_run_with_plugins_is_told_to_name_them_again(plugins):
    with pytest.raises(KeyboardInterrupt) as stopped, continuable(Path("a b"), True, plugins):
        raise KeyboardInterrupt
    again = " and the same --plugins" if plugins else ""
    assert str(stopped.value) == f"interrupted; continue with --resume='a b'{again}"
