"""An interrupted run ends like one that was never interrupted."""

from __future__ import annotations

import copy
import errno
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.experiment import TrainingExperiment, prepare_training, run_arm
from recbole_attack.utils.checkpoints import save_checkpoint
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.growing_csv import GrowingCSV

ARMS: dict[str, dict[str, Any]] = {
    "federated": {"learner": "adam", "lr_decay_step": 1, "clients_per_round": 32},
    "robust": {"aggregator": "mixed_rfa", "clients_per_round": 32},
    "watched": {"attack": "margin", "client_detectors": {"top_row": 0.5, "clone": 0.9}, "clients_per_round": 32},
    "sampled": {"rounds_per_epoch": 3, "clients_per_round": 16, "eval_users": 20, "malicious_ratio": 0.2},
    "remembering": {"attack": "pieck_uea", "malicious_ratio": 0.2, "clients_per_round": 32},
    "saving up": {"aggregator": "hics", "paid_share": 0.3, "clients_per_round": 32},
    "voting": {"aggregator": "exposure_quota", "quota_factor": 1.5, "clients_per_round": 32},
    "regularized": {"attack": "none", "client_defense": "popularity_regularization", "clients_per_round": 32},
    "adaptive": {"attack": "margin", "upload": "adaptive", "aggregator": "krum", "clients_per_round": 32},
    "central": {"scenario": "central", "attack": "none", "lr_decay_step": 2, "train_batch_size": 128},
    "test_only": {
        "eval_args": {"split": {"LS": "test_only"}, "group_by": "user", "order": "TO", "mode": "full"},
        "attack": "ra",
        "clients_per_round": 32,
    },
}


class Interrupted(Exception):
    """Stands for the power cut."""


@dataclass
class Ending:
    """Everything a run leaves behind, wall-clock time aside."""

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    history: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    best: tuple[float, dict[str, float] | None]
    test: dict[str, float]
    files: dict[str, Any]


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def fit(trainer: Any, experiment: TrainingExperiment, **arguments: Any) -> None:
    trainer.fit(
        experiment.train_data, experiment.valid_data, verbose=False, report_data=experiment.test_data, **arguments
    )


def ending(trainer: Any, experiment: TrainingExperiment) -> Ending:
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    best = torch.load(trainer.saved_model_file, weights_only=True)
    csv = trainer.resume_file.with_name("rounds.csv")
    lines = csv.read_text().splitlines() if csv.is_file() else []
    return Ending(
        weights=weights,
        optimizer=trainer.optimizer.state_dict(),
        history=timeless(trainer.history),
        rounds=timeless(getattr(trainer, "rounds", [])),
        best=(trainer.best_valid_score, trainer.best_valid_result),
        test=trainer.evaluate(experiment.test_data),
        files={
            "best epoch": best["epoch"],
            "best model": best["state_dict"],
            "client weights": {f.name: f.read_text() for f in csv.parent.glob("client_weights/*.csv")},
            "rounds.csv": [line.rsplit(",", 1)[0] for line in lines],
        },
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_same(a: Ending, b: Ending) -> None:
    for name, value in vars(a).items():
        assert same(value, getattr(b, name)), name


def interrupt_epoch(monkeypatch: pytest.MonkeyPatch, trainer: Any, epoch: int) -> None:
    """Fail before ``epoch`` trains."""
    plain = trainer._train_epoch

    def train(data: Any, index: int, *args: Any, **kwargs: Any) -> Any:
        if index == epoch:
            raise Interrupted
        return plain(data, index, *args, **kwargs)

    monkeypatch.setattr(trainer, "_train_epoch", train)


@pytest.fixture
def arm(config: Callable[..., AttackConfig]) -> Callable[..., AttackConfig]:
    return lambda name, **changes: config(**{"epochs": 3, "learning_rate": 0.01, **ARMS[name], **changes})


@pytest.fixture(scope="module")
def endings() -> dict[str, Ending]:
    """What uninterrupted runs left behind, trained once."""
    return {}


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("name", ARMS)
def test_resuming_after_any_epoch_gives_the_same_end(
    arm: Callable[..., AttackConfig],
    monkeypatch: pytest.MonkeyPatch,
    endings: dict[str, Ending],
    name: str,
    epoch: int,
) -> None:
    whole = arm(name, checkpoint_dir="whole")
    experiment = prepare_training(whole)
    if name not in endings:
        trainer = experiment.trainer(whole)
        fit(trainer, experiment)
        endings[name] = ending(trainer, experiment)
    expected = endings[name]
    assert len(expected.history) == 3

    pieces = arm(name, checkpoint_dir="pieces")
    first = experiment.trainer(pieces)
    interrupt_epoch(monkeypatch, first, epoch)
    with pytest.raises(Interrupted):
        fit(first, experiment)
    assert len(first.history) == epoch

    second = experiment.trainer(pieces)
    second.resume_checkpoint(first.resume_file)
    assert second.start_epoch == epoch
    fit(second, experiment)
    assert_same(ending(second, experiment), expected)


def test_an_epoch_cut_off_in_the_middle_is_repeated_whole(
    arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arm("federated", checkpoint_dir="whole")
    experiment = prepare_training(whole)
    trainer = experiment.trainer(whole)
    fit(trainer, experiment)

    pieces = arm("federated", checkpoint_dir="pieces")
    first = experiment.trainer(pieces)
    plain, calls = first._round, []

    def one_round(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise Interrupted
        return plain(*args)

    monkeypatch.setattr(first, "_round", one_round)
    with pytest.raises(Interrupted):
        fit(first, experiment)
    assert len(first.rounds) == 3, "cut off in the second epoch's second round"
    second = experiment.trainer(pieces)
    second.resume_checkpoint(first.resume_file)
    fit(second, experiment)
    assert_same(ending(second, experiment), ending(trainer, experiment))


def test_a_run_interrupted_after_validation_is_resumed(arm: Callable[..., AttackConfig]) -> None:
    """The best model is already that of the epoch that will be repeated."""
    whole = arm("federated", checkpoint_dir="whole")
    experiment = prepare_training(whole)
    trainer = experiment.trainer(whole)
    fit(trainer, experiment)

    def stop(epoch: int, score: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    pieces = arm("federated", checkpoint_dir="pieces")
    first = experiment.trainer(pieces)
    with pytest.raises(KeyboardInterrupt):
        fit(first, experiment, callback_fn=stop)
    second = experiment.trainer(pieces)
    second.resume_checkpoint(first.resume_file)
    assert second.start_epoch == 1
    fit(second, experiment)
    assert_same(ending(second, experiment), ending(trainer, experiment))


@pytest.mark.parametrize("name", ARMS)
def test_run_arm_continues_where_it_was_interrupted(
    arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole, pieces = (arm(name, checkpoint_dir=folder) for folder in ("whole", "pieces"))
    experiment = prepare_training(whole)
    expected = run_arm(experiment, whole, verbose=False)

    kind = type(experiment.trainer(pieces))
    plain, trained = kind._train_epoch, []

    def train(self: Any, data: Any, epoch: int, *args: Any, **kwargs: Any) -> Any:
        if epoch == 1 and not trained.count("cut"):
            trained.append("cut")
            raise Interrupted
        trained.append(epoch)
        return plain(self, data, epoch, *args, **kwargs)

    monkeypatch.setattr(kind, "_train_epoch", train)
    with pytest.raises(Interrupted):
        run_arm(experiment, pieces, verbose=False)
    result = run_arm(experiment, pieces, verbose=False)
    assert trained == [0, "cut", 1, 2]
    assert result.test_result == expected.test_result
    assert result.best_valid_result == expected.best_valid_result
    assert result.best_valid_score == expected.best_valid_score
    assert timeless(result.history) == timeless(expected.history)

    again = run_arm(experiment, pieces, verbose=False)
    assert trained == [0, "cut", 1, 2], "a finished run does not train again"
    assert again.test_result == expected.test_result
    assert timeless(again.history) == timeless(expected.history)


def test_a_run_that_stopped_early_stays_stopped(
    arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = arm("federated", epochs=8, stopping_step=1)
    experiment = prepare_training(settings)
    scores = [0.5, 0.4, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9]

    def judged(trainer: Any) -> Any:
        def evaluate(*args: Any, **kwargs: Any) -> dict[str, float]:
            return {"ndcg@10": scores[trainer.start_epoch]}

        monkeypatch.setattr(trainer, "evaluate", evaluate)
        return trainer

    first = judged(experiment.trainer(settings))
    interrupt_epoch(monkeypatch, first, 2)
    with pytest.raises(Interrupted):
        fit(first, experiment)
    for _ in range(2):
        later = judged(experiment.trainer(settings))
        later.resume_checkpoint(later.resume_file)
        fit(later, experiment)
        assert len(later.history) == 3, "patience is counted across the interruption"
        assert later.best_valid_score == 0.5


def test_only_safe_and_existing_checkpoints_are_resumed(arm: Callable[..., AttackConfig], tmp_path: Path) -> None:
    settings = arm("federated")
    trainer = prepare_training(settings).trainer(settings)
    with pytest.raises(DataError, match="not found"):
        trainer.resume_checkpoint(tmp_path / "none.pth")
    torch.save({"state_dict": {}, "trainer": Interrupted()}, tmp_path / "code.pth")
    with pytest.raises(DataError, match="safe"):
        trainer.resume_checkpoint(tmp_path / "code.pth")


@pytest.mark.parametrize("changed", [None, "rows", torch.zeros(3, 8), torch.zeros(40, 8).double()], ids=str)
def test_what_is_remembered_has_to_be_item_rows(arm: Callable[..., AttackConfig], changed: Any) -> None:
    settings = arm("remembering", epochs=1)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    start = trainer.model.item_embedding.weight.detach().clone()
    fit(trainer, experiment)
    state = torch.load(trainer.resume_file, weights_only=True)
    assert torch.equal(state["trainer"]["before"], start), "the rows the last epoch began with"
    save_checkpoint(trainer.resume_file, {**state, "trainer": {**state["trainer"], "before": changed}})
    with pytest.raises(DataError, match="before: expected torch\\.float32"):
        experiment.trainer(settings).resume_checkpoint(trainer.resume_file)


@pytest.mark.parametrize("changed", [None, torch.zeros(3, 8)], ids=str)
def test_what_is_saved_up_has_to_be_item_rows(arm: Callable[..., AttackConfig], changed: Any) -> None:
    settings = arm("saving up", epochs=1)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    fit(trainer, experiment)
    state = torch.load(trainer.resume_file, weights_only=True)
    assert state["trainer"]["saved"].any() and torch.equal(state["trainer"]["saved"], trainer.saved)
    save_checkpoint(trainer.resume_file, {**state, "trainer": {**state["trainer"], "saved": changed}})
    with pytest.raises(DataError, match="saved: expected"):
        experiment.trainer(settings).resume_checkpoint(trainer.resume_file)


def test_nothing_is_remembered_for_nothing(arm: Callable[..., AttackConfig]) -> None:
    settings = arm("federated", epochs=1)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    fit(trainer, experiment)
    assert "before" not in torch.load(trainer.resume_file, weights_only=True)["trainer"]


# Killed for good: nothing is tidied up


def killed_at(call: str, number: int, before: bool, fit_it: Callable[[], None]) -> bool:
    """Whether a fork of this process that trains was killed right before or after its ``number``-th call of ``os``."""
    child = os.fork()
    if not child:
        plain, left = getattr(os, call), [number]

        def counted(*args: Any) -> None:
            left[0] -= 1
            if before and not left[0]:
                os._exit(9)
            plain(*args)
            if not left[0]:
                os._exit(9)

        setattr(os, call, counted)
        try:
            fit_it()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def test_a_training_killed_at_any_write_is_resumed(arm: Callable[..., AttackConfig]) -> None:
    """Of four files an epoch: best model, weights of clients, ``rounds.csv`` and ``last.pth``."""
    settings = arm("robust", epochs=2)
    experiment = prepare_training(settings)
    whole = settings.replace(checkpoint_dir="whole")
    trainer = experiment.trainer(whole)
    fit(trainer, experiment)
    expected = ending(trainer, experiment)
    assert len(expected.files["rounds.csv"]) == 1 + len(expected.rounds)
    kills = [*(("fsync", write, True) for write in range(4, 9)), ("replace", 6, False)]
    for call, number, before in kills:
        place = settings.replace(checkpoint_dir=f"{call}-{number}")

        def train(place: AttackConfig = place) -> None:
            fit(experiment.trainer(place), experiment)

        assert killed_at(call, number, before, train), "there are eight writes, and six files are renamed"
        resumed = experiment.trainer(place)
        assert resumed.resume_file.is_file() == (call == "replace" or number > 4)
        if resumed.resume_file.is_file():
            rows = resumed.resume_file.with_name("rounds.csv").read_text().splitlines()
            resumed.resume_checkpoint(resumed.resume_file)
            assert len(rows) - 1 >= len(resumed.rounds), "the state promises no row that is not there"
        fit(resumed, experiment)
        assert_same(ending(resumed, experiment), expected)
    for call, number in (("fsync", 9), ("replace", 7)):
        place = settings.replace(checkpoint_dir="none")
        assert not killed_at(call, number, True, partial(fit, experiment.trainer(place), experiment))


@pytest.mark.parametrize("write", range(1, 7))
def test_a_full_disk_costs_nothing_that_was_done(
    arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    whole, pieces = (arm("federated", epochs=2, checkpoint_dir=folder) for folder in ("whole", "pieces"))
    experiment = prepare_training(whole)
    trainer = experiment.trainer(whole)
    fit(trainer, experiment)
    left = [write]

    def full(handle: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: 'pieces.*'"):
            fit(experiment.trainer(pieces), experiment)
    resumed = experiment.trainer(pieces)
    if resumed.resume_file.is_file():
        resumed.resume_checkpoint(resumed.resume_file)
    assert resumed.start_epoch == (write > 3)
    fit(resumed, experiment)
    assert_same(ending(resumed, experiment), ending(trainer, experiment))
    assert not list(Path("pieces").rglob(".*"))


# Checkpoints that do not fit


@pytest.fixture
def interrupted(arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch) -> Any:
    """An experiment, its configuration, and the state after one of its epochs."""
    settings = arm("federated", epochs=2)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    interrupt_epoch(monkeypatch, trainer, 1)
    with pytest.raises(Interrupted):
        fit(trainer, experiment)
    return experiment, settings, torch.load(trainer.resume_file, weights_only=True), trainer.resume_file


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state.pop(key)


def inside(key: str, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state[key].update(changes)


NOTHING = GrowingCSV(Path("rounds.csv")).mark


def group(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state["optimizer"]["param_groups"][0].update(changes)


def moment(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state["optimizer"]["state"][0].update(changes)


def epoch(records: str, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state["trainer"][records][0].update(changes)


MISFITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no configuration": (without("config"), "config"),
    "configuration of another kind": (lambda state: state.update(config=[1]), "AttributeError"),
    "no weights": (inside("state_dict", **{"item_embedding.weight": 1.0}), "item_embedding.weight"),
    "weights of another shape": (
        inside("state_dict", **{"item_embedding.weight": torch.zeros(40, 9)}),
        r"item_embedding.weight.*\[40, 9\].*\[40, 8\]",
    ),
    "more weights": (inside("state_dict", more=torch.zeros(1)), "more"),
    "no optimiser": (without("optimizer"), "optimizer"),
    "another optimiser": (lambda state: state.update(optimizer={"state": {}, "param_groups": []}), "group"),
    "an optimiser in words": (lambda state: state.update(optimizer="adam"), "TypeError"),
    "an optimiser of other settings": (group(weight_decay=0.5), "optimizer: expected weight_decay 0.0, found 0.5"),
    "an optimiser of another kind": (group(betas=None), r"optimizer: expected betas \(0.9, 0.999\), found None"),
    "a rate in words": (group(lr="fast"), "optimizer: expected lr as float, found 'fast'"),
    "no rate": (lambda state: state["optimizer"]["param_groups"][0].pop("lr"), "lr"),
    "a moment of another shape": (moment(exp_avg=torch.zeros(3)), "size of tensor"),
    "a moment in words": (moment(exp_avg="much"), "'str' object has no attribute"),
    "a moment of three": (lambda state: state["optimizer"]["state"][0].pop("exp_avg_sq"), "exp_avg_sq"),
    "no moments": (lambda state: state["optimizer"]["state"].update({0: []}), "TypeError"),
    "steps of three": (moment(step=torch.zeros(3)), "3 elements"),
    "no schedule": (without("scheduler"), "scheduler"),
    "a schedule in words": (lambda state: state.update(scheduler="slow"), "AttributeError"),
    "another schedule": (inside("scheduler", step_size=7), "scheduler: expected step_size 1, found 7"),
    "a schedule of no epoch": (inside("scheduler", last_epoch=None), "expected last_epoch as int, found None"),
    "no state": (without("trainer"), "trainer"),
    "state of another kind": (lambda state: state.update(trainer=[1]), "TypeError"),
    "state without rounds": (lambda state: state["trainer"].pop("written_rounds"), "written_rounds"),
    "an epoch in words": (inside("trainer", start_epoch="one"), "start_epoch: expected int, found str"),
    "half an epoch": (inside("trainer", start_epoch=0.5), "start_epoch: expected int, found float"),
    "no history": (inside("trainer", history=None), "history: expected list, found NoneType"),
    "history of another kind": (inside("trainer", history=[1]), "TypeError"),
    "history without epochs": (inside("trainer", history=[{}]), "epoch"),
    "history of no epoch": (inside("trainer", history=[]), r"history: expected records of epochs 0 to 0, found \[\]"),
    "an epoch too early": (inside("trainer", start_epoch=-3), r"history: expected .*, found \[0\]"),
    "an epoch too late": (inside("trainer", start_epoch=2), r"history: expected .* 0 to 1, found \[0\]"),
    "an epoch that no memory could hold": (inside("trainer", start_epoch=10**30), r"history: expected .*, found \[0\]"),
    "a loss in words": (epoch("history", train_loss="low"), "history: expected train_loss as a number, found 'low'"),
    "a metric of nothing": (epoch("history", **{"hit@10": None}), "history: expected hit@10 as a number, found None"),
    "a best result in words": (inside("trainer", best_valid_result="good"), "'str' object has no attribute"),
    "a best metric in words": (
        inside("trainer", best_valid_result={"hit@10": "good"}),
        "best_valid_result: expected hit@10 as a number, found 'good'",
    ),
    "rounds of no epoch": (inside("trainer", written_rounds=NOTHING), r"rounds: expected .*, found \[\]"),
    "rounds of another kind": (inside("trainer", written_rounds=[{"epoch": 0}]), "expected dict, found list"),
    "rounds without a length": (inside("trainer", written_rounds={}), "bytes"),
}


def test_rounds_that_are_not_those_of_the_state_are_refused_and_left(interrupted: Any) -> None:
    experiment, settings, _, file = interrupted
    rounds = file.with_name("rounds.csv")
    whole = rounds.read_bytes()
    for changed in (whole[:-1], whole.replace(b"0.", b"1.", 1) + b"1,0", b""):
        rounds.write_bytes(changed)
        with pytest.raises(DataError, match=r"^saved/rounds\.csv is damaged: [^\n]*$"):
            experiment.trainer(settings).resume_checkpoint(file)
        assert rounds.read_bytes() == changed


def test_rounds_of_other_columns_do_not_fit(interrupted: Any) -> None:
    experiment, settings, state, file = interrupted
    other = GrowingCSV(file.with_name("rounds.csv"))
    other.append([{"epoch": 0}])
    state["trainer"]["written_rounds"] = other.mark
    save_checkpoint(file, state)
    with pytest.raises(DataError, match=r"last\.pth does not fit this run: KeyError: 'malicious_weight'"):
        experiment.trainer(settings).resume_checkpoint(file)


@pytest.mark.parametrize("sealed", [True, False], ids=["ours", "without hash"])
def test_a_state_that_does_not_fit_is_refused_in_one_line(interrupted: Any, sealed: bool) -> None:
    experiment, settings, state, file = interrupted
    for change, words in MISFITS.values():
        changed = copy.deepcopy(state)
        change(changed)
        (save_checkpoint if sealed else lambda path, value: torch.save(value, path))(file, changed)
        with pytest.raises(DataError, match=rf"last\.pth does not fit this run: .*{words}") as raised:
            run_arm(experiment, settings, verbose=False)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_every_optimiser_goes_on_as_it_was(
    arm: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch, learner: str
) -> None:
    """What is remembered of it is looked at before, and is what it would be without that."""
    whole, pieces = (arm("central", learner=learner, checkpoint_dir=folder) for folder in ("whole", "pieces"))
    experiment = prepare_training(whole)
    trainer, first, second = (experiment.trainer(settings) for settings in (whole, pieces, pieces))
    fit(trainer, experiment)
    interrupt_epoch(monkeypatch, first, 2)
    with pytest.raises(Interrupted):
        fit(first, experiment)
    second.resume_checkpoint(first.resume_file)
    assert same(second.optimizer.state_dict(), first.optimizer.state_dict())
    assert same(second.scheduler.state_dict(), first.scheduler.state_dict())
    fit(second, experiment)
    assert_same(ending(second, experiment), ending(trainer, experiment))


def test_what_else_a_schedule_may_hold_is_passed_over(interrupted: Any) -> None:
    """Its own loader would take it for the schedule's methods."""
    experiment, settings, state, file = interrupted
    state["scheduler"].update(step=1, optimizer=2, get_lr=3)
    save_checkpoint(file, state)
    assert len(run_arm(experiment, settings, verbose=False).history) == 2


def test_a_state_of_an_earlier_version_is_continued(interrupted: Any) -> None:
    experiment, settings, state, file = interrupted
    whole = settings.replace(checkpoint_dir="whole")
    expected = run_arm(experiment, whole, verbose=False)
    torch.save(state, file)
    result = run_arm(experiment, settings, verbose=False)
    assert result.test_result == expected.test_result
    assert timeless(result.history) == timeless(expected.history)


def test_a_best_model_that_does_not_fit_is_refused(arm: Callable[..., AttackConfig]) -> None:
    settings = arm("central", epochs=1)
    experiment = prepare_training(settings)
    run_arm(experiment, settings, verbose=False)
    file = Path(experiment.trainer(settings).saved_model_file)
    state = torch.load(file, weights_only=True)
    state["state_dict"]["item_embedding.weight"] = torch.zeros(3, 8)
    save_checkpoint(file, state)
    with pytest.raises(DataError, match=r"SASRec\.pth does not fit this run: .*item_embedding"):
        run_arm(experiment, settings, verbose=False)


# Undefined validation scores


@pytest.mark.parametrize(
    ("scores", "epochs", "best", "best_epoch"),
    [
        ([math.nan] * 4, 4, -math.inf, 3),
        ([math.nan, 0.2, math.nan, math.nan], 4, 0.2, 1),
        ([math.nan, math.nan, 0.3, 0.2], 4, 0.3, 2),
        ([0.3, 0.2, math.nan, 0.9], 2, 0.3, 0),
        ([0.3, math.nan, math.nan, 0.2], 4, 0.3, 0),
    ],
)
def test_an_undefined_score_neither_stops_nor_selects(
    arm: Callable[..., AttackConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scores: list[float],
    epochs: int,
    best: float,
    best_epoch: int,
) -> None:
    settings = arm("federated", epochs=4, stopping_step=0)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    monkeypatch.setattr(trainer, "evaluate", lambda *_, **__: {"ndcg@10": scores[trainer.start_epoch], "hit@10": 1.0})
    fit(trainer, experiment)
    assert len(trainer.history) == epochs
    assert trainer.best_valid_score == best
    assert trainer.best_valid_result["hit@10"] == 1.0
    assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == best_epoch
    warned = [r.getMessage() for r in caplog.records if "undefined" in r.getMessage()]
    assert warned == (
        ["saved, ndcg@10 is undefined in every epoch: the last model is kept as the best"] if math.isinf(best) else []
    )
