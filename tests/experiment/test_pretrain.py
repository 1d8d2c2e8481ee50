"""Whole runs of the pre-training scenario: what they return and leave behind, refuse, and continue."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path

import pytest
import torch

from recbole_attack import AttackConfig, load_data_and_model, objective_function, run_recbole_attack
from recbole_attack.attack import BACKDOORS
from recbole_attack.defense import DETECTORS
from recbole_attack.experiment import prepare_pretrain
from recbole_attack.report.run_table import result_table
from recbole_attack.report.words import sampled_users
from recbole_attack.stages import PLATFORMS, plans
from recbole_attack.trainer import StageTrainer

THREE_STEPS = {"attack": "pea", "platform": "prompt_tune"}
QUALITIES = {"precision", "recall", "f1", "auroc", "average_precision", "flagged"}
METRICS = {
    *(f"{name}@{k}" for name in ("hit", "ndcg", "er", "exposure_share", "invisibility") for k in (5, 10)),
    *(f"{name}_{side}@{k}" for name in ("er", "target_ndcg") for side in ("in", "out") for k in (5, 10)),
    *("invisibility", "invisibility_defined"),
}


def record_of(result):
    return json.loads(Path(result["result_file"]).read_text(), parse_constant=lambda name: pytest.fail(name))


def same(first, second):
    """Equal, with NaN equal to NaN."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


# Runs


@pytest.mark.parametrize(
    ("attack", "platform", "steps"),
    [
        *((attack, platform, None) for attack, platform in product(BACKDOORS, PLATFORMS)),
        *(("pea", platform, steps) for platform, steps in product(PLATFORMS, (True, False))),
    ],
)
def test_every_combination_runs(pretrain, attack, platform, steps):
    given = {"attack": attack, "platform": platform} | ({"three_steps": steps} if attack == "pea" else {})
    settings = AttackConfig(config_dict=pretrain(**given))
    result = run_recbole_attack(config_dict=pretrain(**given), saved=False)
    arms = list(plans(settings.final_config_dict))
    assert [arm for arm in ("local", "clean", "attacked") if result[arm]] == arms
    for arm in arms:
        assert set(result[arm]["test_result"]) == set(result[arm]["best_valid_result"]) == METRICS
        assert all(0 <= result[arm]["test_result"][key] <= 1 for key in ("hit@10", "er@10", "er_in@10", "er_out@10"))
        assert result[arm]["test_result_full"] is None
    assert same(result["test_result"], result[arms[-1]]["test_result"])
    assert (result["delta"] is None) == ("attacked" not in arms)
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@10"]


@pytest.mark.parametrize(
    "given",
    [
        {"attack": "bra", "platform": "fine_tune"},
        {"attack": "pea", "platform": "direct"},
        {"attack": "pea", "platform": "direct", "three_steps": True},
        {"attack": "pea", "platform": "fine_tune", "three_steps": True},
        THREE_STEPS,
    ],
    ids=str,
)
def test_an_attack_that_replaces_nothing_is_the_clean_twin(pretrain, given):
    result = run_recbole_attack(config_dict=pretrain(**given, replacement_ratio=0.0), saved=False)
    assert same(result["clean"], result["attacked"])


def test_an_attack_raises_the_exposure_of_its_targets(pretrain):
    changes = {"replacement_ratio": 1.0, "pre_train_epochs": 8, "pre_train_learning_rate": 0.02}
    result = run_recbole_attack(config_dict=pretrain(attack="bra", target_group="all", **changes), saved=False)
    exposure = {arm: result[arm]["test_result"]["er@10"] for arm in ("clean", "attacked")}
    assert exposure["attacked"] > exposure["clean"] + 0.3


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """Run each configuration once: what it returned and each (arm, folder, epoch) of training, to be looked at only."""
    runs = {}

    def run(name, parameters):
        if name not in runs:
            place = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(place)
                epochs = trained_epochs(patch)
                runs[name] = (
                    run_recbole_attack(config_dict={**parameters, "checkpoint_dir": str(place / "saved")}),
                    epochs,
                )
        return runs[name]

    return run


@pytest.fixture
def finished(run_once, pretrain):
    return run_once("finished", pretrain(**THREE_STEPS))[0]


def test_the_record_says_what_was_run_on_what(pretrain, finished):
    record = record_of(finished)
    data, budget = record["dataset"], record["budget"]
    assert data["provider_users"] + data["platform_users"] == data["users"] == 60
    assert data["platform_users"] == 24 and data["platform_interactions"] <= 24 * 9
    assert len(budget["target_items"]) == 3
    assert budget["target_group"] == "gender=M"
    lines = [line.split("\t") for line in Path(pretrain()["data_path"], "tiny/tiny.user").read_text().splitlines()]
    assert budget["target_users_of_provider"] + budget["target_users_of_platform"] == sum(
        fields[2] == "M" for fields in lines
    )
    assert budget["stages"] == {
        "local": ["local_train"],
        "clean": ["pre_train", "fake_tune", "attack_tune", "prompt_tune"],
        "attacked": ["pre_train", "fake_tune", "attack_tune", "prompt_tune"],
    }
    for arm in ("local", "clean", "attacked"):
        epochs = record["history"][arm]
        assert [epoch["stage"] for epoch in epochs] == budget["stages"][arm], "one epoch each"
        assert [epoch["epoch"] for epoch in epochs] == list(range(len(epochs)))
        assert same(record[arm], finished[arm] | record[arm])
        assert record["timing"][arm] > 0


def test_the_record_says_how_well_targets_are_found(finished):
    detection = record_of(finished)["detection"]
    assert set(detection) == {"clean", "attacked"}
    for detectors in detection.values():
        assert set(detectors) == set(DETECTORS)
        assert all(set(quality) == QUALITIES for quality in detectors.values())
        assert all(0 <= quality["recall"] <= 1 for quality in detectors.values())
    table = result_table(record_of(finished))
    assert "can the promoted items be found?" in table and "attack pea for users gender=M" in table
    header = next(line.split() for line in table.splitlines() if line.strip().startswith("metric"))
    assert header == ["metric", "local", "clean", "attacked", "delta"]


def test_the_run_folder_holds_every_stage_and_no_cache(finished):
    folder = Path(finished["result_file"]).parent
    stages = {
        "local/1-local_train/SASRec",
        *(
            f"{arm}/{stage}"
            for arm in ("clean", "attacked")
            for stage in (
                "1-pre_train/SASRec",
                "2-fake_tune/PromptSASRec",
                "3-attack_tune/PromptSASRec",
                "4-prompt_tune/PromptSASRec",
            )
        ),
    }
    expected = {f"{stage}.pth" for stage in stages} | {str(Path(stage).parent / "last.pth") for stage in stages}
    expected |= {f"{arm}/outcomes.npz" for arm in ("local", "clean", "attacked")}
    expected |= {f"{arm}/flagged.csv" for arm in ("clean", "attacked")}
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    found = {"tensorboard" if file.parts[0] == "tensorboard" else str(file) for file in files}
    names = {"config.yaml", "dataset.json", "result.json", "history.png", "run.log", "tensorboard"}
    assert found == expected | names
    assert set(record_of(finished)["artefacts"]) == found - {"result.json"}
    for file in folder.rglob("*.pth"):
        assert "state_dict" in torch.load(file, weights_only=True)


def test_without_others_in_the_group_or_outside_it_there_are_dashes(pretrain):
    result = run_recbole_attack(config_dict=pretrain(attack="bra", target_group="all", verbose=True))
    assert math.isnan(result["test_result"]["er_out@10"]) and math.isnan(result["test_result"]["invisibility"])
    record = record_of(result)
    assert record["attacked"]["test_result"]["er_out@10"] is None
    row = next(line.split() for line in result_table(record).splitlines() if line.startswith("er_out@10, %"))
    assert row[2:] == ["-"] * 4


def test_sampled_rankings_are_shown_beside_full_ones(pretrain):
    result = run_recbole_attack(config_dict=pretrain(attack="bra", exposure_candidates=8))
    full = run_recbole_attack(config_dict=pretrain(attack="bra"), saved=False)
    for arm in ("local", "clean", "attacked"):
        assert set(result[arm]["test_result_full"]) == METRICS
        assert same(result[arm]["test_result_full"], full[arm]["test_result"])
        assert result[arm]["test_result"]["hit@10"] > full[arm]["test_result"]["hit@10"]
    assert "no evaluated user" not in result_table(record_of(result))


def test_the_clean_twin_can_be_left_out(pretrain):
    result = run_recbole_attack(config_dict=pretrain(attack="bra", compare_clean=False), saved=False)
    assert result["clean"] is None and result["delta"] is None and result["attacked"]


def test_metrics_that_count_items_count_the_platforms(pretrain):
    """RecBole's popularity metrics read training data: the platform's, whatever the last stage was trained on."""
    changes = {"metrics": ["Hit", "ItemCoverage", "AveragePopularity"], "valid_metric": "Hit@10", "three_steps": True}
    given = pretrain(attack="pea", platform="direct", **changes)
    result = run_recbole_attack(config_dict=given, saved=False)
    popularity = prepare_pretrain(AttackConfig(config_dict=given)).train_data.sequences.popularity()
    for arm in ("local", "clean", "attacked"):
        assert 0 < result[arm]["test_result"]["averagepopularity@10"] <= popularity.max()


def test_every_stage_of_every_arm_has_a_curve_of_its_own(pretrain, tmp_path):
    run_recbole_attack(config_dict=pretrain(**THREE_STEPS))
    (folder,) = (tmp_path / "saved").iterdir()
    curves = [file.relative_to(folder / "tensorboard") for file in tmp_path.rglob("events.out*")]
    found = sorted(str(curve.parent) for curve in curves)
    steps = ["1-pre_train", "2-fake_tune", "3-attack_tune", "4-prompt_tune"]
    expected = {"local": ["1-local_train"], "clean": steps, "attacked": steps}
    assert found == sorted(f"{arm}/{stage}" for arm, stages in expected.items() for stage in stages)


def test_a_trial_trains_the_attacked_model_alone(pretrain):
    outcome = objective_function(pretrain(attack="bra"), saved=False)
    result = run_recbole_attack(config_dict=pretrain(attack="bra"), saved=False)
    assert same(outcome["test_result"], result["attacked"]["test_result"])


def test_a_catalogue_smaller_than_the_cut_offs(pretrain, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    rows = [f"{user}\t{(user + time) % 4}\t{time}" for user in range(12) for time in range(6)]
    (folder / "few.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    changes = {"data_path": str(tmp_path), "dataset": "few", "target_group": "all", "target_items": "random:2"}
    result = run_recbole_attack(config_dict=pretrain(attack="bra", **changes))
    assert result["test_result"]["hit@10"] == 1.0
    assert record_of(result)["detection"] == {}, "every list shows everything"


# Loading


@pytest.mark.parametrize(
    ("arm", "stage", "model", "attack"),
    [
        ("local", "1-local_train", "SASRec", "none"),
        ("clean", "4-prompt_tune", "PromptSASRec", "none"),
        ("attacked", "4-prompt_tune", "PromptSASRec", "pea"),
    ],
)
def test_a_loaded_model_scores_what_the_record_says(finished, tmp_path, arm, stage, model, attack):
    file = Path(finished["result_file"]).parent / arm / stage / f"{model}.pth"
    config, loaded, dataset, train_data, valid_data, test_data = load_data_and_model(str(file))
    assert type(loaded).__name__ == config["model"] == model
    assert (config["attack"], config["platform"]) == (attack, "local" if arm == "local" else "prompt_tune")
    made = prepare_pretrain(config)
    stage = plans(made.config.final_config_dict)["local" if arm == "local" else "clean"][-1]
    trainer = made.trainer(config, stage, tmp_path / "again")
    trainer.model.load_state_dict(loaded.state_dict())
    trainer.eval_collector.data_collect(train_data)
    assert same(trainer.evaluate(test_data, load_best_model=False), finished[arm]["test_result"])
    assert same(trainer.evaluate(valid_data, load_best_model=False), finished[arm]["best_valid_result"])
    assert dataset.user_num == 61


def test_the_shipped_model_is_saved_without_fake_prompts(pretrain, tmp_path):
    result = run_recbole_attack(config_dict=pretrain(attack="pea", platform="direct", three_steps=True))
    arm = Path(result["result_file"]).parent / "attacked"
    config, model, *_, train_data, _, test_data = load_data_and_model(str(arm / "shipped" / "SASRec.pth"))
    attacked = torch.load(arm / "3-attack_tune" / "PromptSASRec.pth", weights_only=True)["state_dict"]
    assert all(torch.equal(value, attacked[name]) for name, value in model.state_dict().items())
    assert set(attacked) - set(model.state_dict()) == {name for name in attacked if name.startswith("generator.")}
    made = prepare_pretrain(config)
    trainer = made.trainer(
        config, plans({**config.final_config_dict, "attack": "none"})["clean"][0], tmp_path / "again"
    )
    trainer.model.load_state_dict(model.state_dict())
    trainer.eval_collector.data_collect(train_data)
    assert same(trainer.evaluate(test_data, load_best_model=False), result["test_result"])


# Resuming


STAGES = {
    "pre_train_epochs": 2,
    "fake_tune_epochs": 2,
    "attack_tune_epochs": 2,
    "prompt_tune_epochs": 2,
    "lr_decay_step": 1,
}


def trained_epochs(monkeypatch, interrupt=None, after=False):
    """Record the (arm, folder, epoch) of all training; stop the process at ``interrupt``."""
    train, seen = StageTrainer._train_epoch, []

    def recording(self, train_data, epoch, **kwargs):
        folder = Path(self.checkpoint_dir)
        here = (folder.parent.name, folder.name, epoch)
        if here == interrupt and not after:
            raise KeyboardInterrupt
        loss = train(self, train_data, epoch, **kwargs)
        seen.append(here)
        if here == interrupt:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(StageTrainer, "_train_epoch", recording)
    return seen


@pytest.mark.parametrize(
    ("interrupt", "after"),
    [
        (("local", "1-local_train", 0), True),
        (("clean", "4-prompt_tune", 0), False),
        (("attacked", "1-pre_train", 1), False),
        (("attacked", "2-fake_tune", 1), True),
        (("attacked", "3-attack_tune", 1), False),
        (("attacked", "4-prompt_tune", 1), False),
    ],
    ids=str,
)
def test_an_interrupted_run_ends_with_the_figures_of_an_uninterrupted_one(
    pretrain, monkeypatch, run_once, interrupt, after
):
    parameters = pretrain(**THREE_STEPS, **STAGES)
    whole, everything = run_once("whole", parameters)
    with monkeypatch.context() as patch:
        first = trained_epochs(patch, interrupt, after)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_attack(config_dict={**parameters, "checkpoint_dir": "runs"})
    (folder,) = Path("runs").iterdir()
    with monkeypatch.context() as patch:
        second = trained_epochs(patch)
        resumed = run_recbole_attack(resume=str(folder))
    kept = first[:-1] if after else first  # what was trained but not saved is trained again
    assert kept + second == everything, "what was finished is not trained again"
    assert all(same(resumed[key], whole[key]) for key in ("local", "clean", "attacked", "delta"))
    assert same(record_of(resumed)["detection"], record_of(whole)["detection"])


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(pretrain, monkeypatch):
    first = run_recbole_attack(config_dict=pretrain(**THREE_STEPS))
    folder = Path(first["result_file"]).parent
    kept = {file: file.stat().st_mtime_ns for file in folder.rglob("*.pth")}
    trained = trained_epochs(monkeypatch)
    assert same(run_recbole_attack(resume=str(folder)), first)
    assert not trained and {file: file.stat().st_mtime_ns for file in folder.rglob("*.pth")} == kept


def test_users_of_the_record_are_those_of_the_platform_who_are_evaluated(pretrain):
    """Of whom ``eval_users`` may draw some, which a caption says where it does."""
    given = pretrain(platform_users="random:0.3", attack="none")
    everybody = prepare_pretrain(AttackConfig(config_dict=given))
    data, split = everybody.describe_data(), everybody.dataset.split
    assert data["test_users"] == len(everybody.test_data.dataset.inter_feat) < len(split.test.users)
    assert data["valid_users"] == len(everybody.valid_data.dataset.inter_feat) < len(split.valid.users)
    for number in (data["test_users"] - 1, data["test_users"]):
        drawn = prepare_pretrain(AttackConfig(config_dict={**given, "eval_users": number}))
        assert drawn.describe_data() == data and len(drawn.test_data.dataset.inter_feat) == number
        said = sampled_users({"config": {"eval_users": number}, "dataset": data, "budget": drawn.describe_threat()})
        assert said == (f", on {number} users drawn at random" if number < data["test_users"] else "")
