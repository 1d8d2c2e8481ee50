"""Federated training: rounds against hand-made steps, backends against each other, and what a run records."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rules import ROUTES

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, Attack, AttackContext, Profile
from recbole_attack.attack.transform import keep
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import TrainingExperiment, prepare_training, run_arm
from recbole_attack.trainer.sums import uploads_summary

NO_DROPOUT = {"hidden_dropout_prob": 0, "attn_dropout_prob": 0}
SGD = {"learner": "sgd", "learning_rate": 0.5}
EVERYBODY = 1000
TEST_ONLY = {"split": {"LS": "test_only"}, "group_by": "user", "order": "TO", "mode": "full"}

Config = Callable[..., AttackConfig]
Weights = dict[str, torch.Tensor]


def weights_of(model: Any) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def trained(config: AttackConfig, experiment: TrainingExperiment | None = None) -> Any:
    """A trainer after :meth:`fit`, nothing written."""
    experiment = experiment or prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    return trainer


def approx(value: Any) -> Any:
    return pytest.approx(value, rel=1e-4)


def equal(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_close(a: Weights, b: Weights, atol: float = 2e-6) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=1e-4, atol=atol), name


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.mark.parametrize("weighting", ["uniform", "examples"])
@pytest.mark.parametrize("attack", ["none", "dvfsr", "ra"])
def test_a_round_is_one_sgd_step_along_the_mean_gradient(config: Config, attack: str, weighting: str) -> None:
    settings = config(
        attack=attack, epochs=1, clients_per_round=EVERYBODY, client_weighting=weighting, **SGD, **NO_DROPOUT
    )
    experiment = prepare_training(settings)
    start, data, threat = experiment.trainer(settings).model, experiment.train_data, experiment.threat
    before = weights_of(start)
    users = data.trainable_users
    losses = [start.client_losses(data.batch(users, data.negatives(0)))]
    if attack != "none":
        mine = threat.malicious_users
        profile = Profile(*(torch.from_numpy(part) for part in data.sequences.last(mine, data.max_length)))
        context = AttackContext(torch.from_numpy(threat.targets), data.outside, data.seed)
        losses.append(ATTACKS[attack](settings.final_config_dict).losses(start, profile, mine, context))
        users = np.concatenate([users, mine])
    factors = torch.tensor([len(data.sequences[u]) - 1 if weighting == "examples" else 1 for u in users])
    factors = factors.clamp(max=data.max_length) / factors.clamp(max=data.max_length).sum()
    (factors * torch.cat(losses)).sum().backward()

    trainer = trained(settings, experiment)
    after = weights_of(trainer.model)
    assert len(trainer.rounds) == 1
    for name, parameter in start.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert torch.allclose(after[name], before[name] - 0.5 * gradient, rtol=1e-4, atol=1e-6), name
    assert trainer.history[0]["train_loss"] == pytest.approx(losses[0].mean().item(), rel=1e-5)
    norm = torch.cat([p.grad.flatten() for p in start.parameters() if p.grad is not None]).norm().item()
    assert trainer.rounds[0]["update_norm"] == pytest.approx(norm, rel=1e-4)
    if attack != "none":
        assert trainer.rounds[0]["malicious_loss"] == pytest.approx(losses[1].mean().item(), rel=1e-4)


def test_several_rounds_and_local_epochs_against_a_simple_server(config: Config) -> None:
    """FedAvg written down: clients train locally, the server moves to their mean (rate 1)."""
    settings = config(
        attack="none",
        epochs=2,
        local_epochs=2,
        local_learning_rate=0.2,
        learner="sgd",
        learning_rate=1.0,
        clients_per_round=20,
        **NO_DROPOUT,
    )
    experiment = prepare_training(settings)
    data, server = experiment.train_data, experiment.trainer(settings).model
    pool, local = experiment.trainer(settings).clients(data), experiment.trainer(settings).model
    for epoch in range(2):
        batches = [data.batch(pool.users, data.negatives(epoch, step)) for step in range(2)]
        for clients in pool.rounds(data.seed, epoch, 20):
            total = {name: torch.zeros_like(value) for name, value in server.state_dict().items()}
            for client in clients:
                local.load_state_dict(server.state_dict())
                optimizer = torch.optim.SGD(local.parameters(), lr=0.2)
                for batch in batches:
                    optimizer.zero_grad()
                    local.client_losses(batch.rows(torch.tensor([client]))).sum().backward()
                    optimizer.step()
                for name, value in local.state_dict().items():
                    total[name] += value
            server.load_state_dict({name: value / len(clients) for name, value in total.items()})
    assert_close(weights_of(trained(settings, experiment).model), weights_of(server))


@pytest.mark.parametrize("local_epochs", [1, 2])
@pytest.mark.parametrize(
    "threat",
    [
        {"attack": "dvfsr", "malicious_clients": "clone"},
        {"attack": "dvfsr", "malicious_clients": "compromise", "target_items": "random:3", "attack_repeats": 4},
        {"attack": "ra", "malicious_clients": "clone", "client_weighting": "examples"},
        {"attack": "none"},
    ],
    ids=["dvfsr", "dvfsr-three-targets", "ra", "none"],
)
def test_backends_give_the_same_parameters(config: Config, threat: dict[str, Any], local_epochs: int) -> None:
    common = {"epochs": 1, "local_epochs": local_epochs, "chunk_tokens": 100, **SGD, **NO_DROPOUT, **threat}
    fast, slow = (trained(config(backend=backend, **common)) for backend in ("vectorised", "loop"))
    assert_close(weights_of(fast.model), weights_of(slow.model))
    for a, b in zip(without_time(fast.rounds), without_time(slow.rounds), strict=True):
        assert {key for key in a if a[key] is None} == {key for key in b if b[key] is None}
        known = {key: value for key, value in b.items() if value is not None}
        assert {key: a[key] for key in known} == approx(known)
    start = weights_of(prepare_training(config(**common)).trainer(config(**common)).model)
    assert not torch.allclose(
        weights_of(fast.model)["item_embedding.weight"], start["item_embedding.weight"], atol=1e-3
    )


@pytest.fixture(scope="module")
def known() -> dict[str, Weights]:
    """What several tests compare with, trained once."""
    return {}


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_every_aggregator_trains_and_gives_another_model_than_the_mean(
    config: Config, known: dict[str, Weights], aggregator: str
) -> None:
    common = {"epochs": 1, "malicious_ratio": 0.1, **SGD, **NO_DROPOUT}
    fast, slow = (
        weights_of(trained(config(aggregator=aggregator, backend=backend, **common)).model)
        for backend in ("vectorised", "loop")
    )
    if "mean" not in known:
        known["mean"] = weights_of(trained(config(aggregator="mean", backend="loop", **common)).model)
    mean = known["mean"]
    assert_close(fast, slow)
    assert all(value.isfinite().all() for value in fast.values())
    same = torch.allclose(slow["item_embedding.weight"], mean["item_embedding.weight"], atol=1e-4)
    assert same == (aggregator == "mean")


WHOLE_ONLY = ("flame", "fl_trust", "union")
PER_ITEM = [name for name in AGGREGATORS if "krum" not in name and name not in WHOLE_ONLY]


@pytest.mark.parametrize(
    ("aggregator", "local_epochs"),
    [*((name, 1) for name in PER_ITEM), *((name, 2) for name in ROUTES if name in PER_ITEM)],
)
def test_rules_per_item_train_on_either_backend(config: Config, aggregator: str, local_epochs: int) -> None:
    """Krum aside, whose choice among items with two or three clients is up to rounding, and rules of whole updates."""
    round_of = {"clients_per_round": 32, "rounds_per_epoch": 1}
    common = {"epochs": 1, "local_epochs": local_epochs, "malicious_ratio": 0.1, **round_of, **SGD, **NO_DROPOUT}
    fast, slow, whole = (
        weights_of(trained(config(aggregator=aggregator, per_item=per_item, backend=backend, **common)).model)
        for per_item, backend in ((True, "vectorised"), (True, "loop"), (False, "vectorised"))
    )
    assert_close(fast, slow, atol=1e-5)
    same = torch.allclose(fast["item_embedding.weight"], whole["item_embedding.weight"], atol=1e-4)
    assert same == (aggregator == "sum")


@pytest.mark.parametrize("changes", [{}, {"attack": "ra", "local_epochs": 2}])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(config: Config, changes: dict[str, Any]) -> None:
    first, again, other = (trained(config(seed=seed, **changes)) for seed in (11, 11, 12))
    assert equal(weights_of(first.model), weights_of(again.model))
    assert without_time(first.history) == without_time(again.history)
    assert without_time(first.rounds) == without_time(again.rounds)
    assert first.best_valid_result == again.best_valid_result
    assert not equal(weights_of(first.model), weights_of(other.model))
    assert without_time(first.history) != without_time(other.history)


def test_a_run_does_not_depend_on_the_global_random_state(config: Config) -> None:
    settings = config(epochs=1)
    experiment = prepare_training(settings)
    results = []
    for noise in (1, 2):
        trainer = experiment.trainer(settings)
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
        results.append(weights_of(trainer.model))
    assert equal(*results)


def test_every_round_trains_under_dropout_of_its_own(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config()
    experiment = prepare_training(settings)
    trainer, seeds = experiment.trainer(settings), []
    plain = trainer._round

    def one_round(*args: Any) -> Any:
        assert trainer.model.training, "the evaluation between epochs must not leave dropout off"
        seeds.append(torch.initial_seed())
        return plain(*args)

    monkeypatch.setattr(trainer, "_round", one_round)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    assert len(seeds) == len(trainer.rounds) > 2
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("backend", ["vectorised", "loop"])
def test_an_attack_is_told_epoch_and_local_step(config: Config, backend: str) -> None:
    settings = config(local_epochs=2, clients_per_round=EVERYBODY, backend=backend)
    experiment = prepare_training(settings)
    trainer, seen = experiment.trainer(settings), []

    def objective(model: Any, profile: Profile, original: Any, users: Any, repeats: int, context: Any) -> torch.Tensor:
        seen.extend((context.epoch, context.step, int(user)) for user in users)
        return model.forward(*profile).sum(dim=1)

    trainer.client_side.attack = Attack(keep, objective)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    users = experiment.threat.malicious_users
    assert set(seen) == {(epoch, step, user) for epoch in range(2) for step in range(2) for user in users}
    assert len(seen) == 2 * len(set(seen))  # the second time, to measure how long the update is


def test_nothing_is_written_unless_asked(config: Config, tmp_path: Path) -> None:
    trained(config(checkpoint_dir="kept", epochs=1))
    assert not list(tmp_path.glob("kept/*"))


@pytest.mark.parametrize("local_epochs", [1, 2])
def test_the_size_of_chunks_changes_nothing(config: Config, local_epochs: int) -> None:
    common = {"local_epochs": local_epochs, "epochs": 1, **SGD, **NO_DROPOUT}
    runs = [trained(config(chunk_tokens=tokens, **common)) for tokens in (1, 77, 10**6)]
    for other in runs[1:]:
        assert_close(weights_of(runs[0].model), weights_of(other.model))
        assert runs[0].history[-1]["train_loss"] == pytest.approx(other.history[-1]["train_loss"], rel=1e-5)


def test_clean_and_attacked_start_from_the_same_weights(config: Config) -> None:
    settings = config()
    experiment = prepare_training(settings)
    attacked, clean = (experiment.trainer(settings.replace(attack=a)) for a in ("dvfsr", "none"))
    assert equal(weights_of(attacked.model), weights_of(clean.model))
    assert attacked.clients(experiment.train_data).malicious.any()
    assert not clean.clients(experiment.train_data).malicious.any()
    other = prepare_training(config(seed=3)).trainer(config(seed=3))
    assert not equal(weights_of(attacked.model), weights_of(other.model))


def test_clones_change_nothing_for_honest_clients_of_the_first_round(config: Config) -> None:
    """With everybody in one round, the honest loss is the clean twin's to the last bit, dropout included."""
    settings = config(clients_per_round=EVERYBODY, malicious_ratio=0.2, epochs=2)
    experiment = prepare_training(settings)
    attacked, clean = (trained(settings.replace(attack=a), experiment) for a in ("dvfsr", "none"))
    assert attacked.rounds[0]["loss"] == clean.rounds[0]["loss"]
    assert attacked.rounds[1]["loss"] != clean.rounds[1]["loss"]


@pytest.mark.parametrize("attack", ["dvfsr", "ra"])
def test_an_attack_leaves_the_training_data_alone(config: Config, attack: str) -> None:
    settings = config(attack=attack, malicious_clients="compromise", malicious_ratio=0.3)
    experiment = prepare_training(settings)
    data = experiment.train_data
    users, negatives = data.trainable_users, data.negatives(0)
    items, batch = data.sequences.items.copy(), data.batch(users, negatives)
    trained(settings, experiment)
    assert (data.sequences.items == items).all()
    assert all(torch.equal(a, b) for a, b in zip(data.batch(users, data.negatives(0))[:3], batch[:3], strict=True))


def test_uploads_sum_up_the_rounds(config: Config) -> None:
    trainer = trained(config(malicious_ratio=0.2, clients_per_round=16, aggregator="geometric_median"))
    rounds, found = trainer.rounds, trainer.uploads()
    assert found["malicious_weight"] == pytest.approx(sum(r["malicious_weight"] for r in rounds) / len(rounds))
    measured = [r for r in rounds if r["malicious_norm"] is not None]
    assert [r["epoch"] for r in measured] == [0, 1]  # once an epoch
    ratios = [r["malicious_norm"] / r["honest_norm"] for r in measured]
    assert found["norm_ratio"] == pytest.approx(sum(ratios) / 2)  # the median of two
    assert found["valid_candidates"] >= 1
    assert trained(config(attack="none")).uploads() is None
    without_weights = trained(config(attack="ra", aggregator="median")).uploads()
    assert (without_weights["malicious_weight"], without_weights["valid_candidates"]) == (None, None)


def test_a_round_without_weight_leaves_the_others_theirs() -> None:
    """All of its clients were rejected, or nobody was trusted."""
    row = {"malicious_norm": None, "honest_norm": None, "valid_candidates": None}
    rounds = [{**row, "malicious_weight": weight} for weight in (0.5, None, 0.25)]
    assert uploads_summary(rounds)["malicious_weight"] == pytest.approx(0.375)
    assert uploads_summary(rounds[1:2])["malicious_weight"] is None


def test_shared_negatives_are_used_by_honest_clients(config: Config) -> None:
    settings = config(attack="none", epochs=1, clients_per_round=EVERYBODY, shared_negatives=True, **SGD, **NO_DROPOUT)
    experiment = prepare_training(settings)
    start, data = experiment.trainer(settings).model, experiment.train_data
    batch = data.batch(data.trainable_users, data.shared_negatives(0))
    expected = start.client_losses(batch).mean().item()
    assert trained(settings, experiment).history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mode", "extra"), [("clone", 12), ("compromise", 0)])
def test_rounds_record_every_client_once_per_epoch(config: Config, mode: str, extra: int) -> None:
    settings = config(malicious_clients=mode, malicious_ratio=0.2, clients_per_round=16)
    experiment = prepare_training(settings)
    trainer = trained(settings, experiment)
    regular = len(experiment.train_data.trainable_users)
    clients, per_epoch = regular + extra, -(-regular // 16)
    assert [(r["epoch"], r["round"]) for r in trainer.rounds] == [(e, r) for e in range(2) for r in range(per_epoch)]
    for epoch in range(2):
        records = [r for r in trainer.rounds if r["epoch"] == epoch]
        if mode == "clone":
            assert [r["honest"] for r in records[:-1]] == [16] * (per_epoch - 1)
        else:
            assert [r["honest"] + r["malicious"] for r in records[:-1]] == [16] * (per_epoch - 1)
        assert sum(r["honest"] + r["malicious"] for r in records) == clients
        assert sum(r["malicious"] for r in records) == 12
        honest = sum(r["honest"] for r in records)
        mean = sum(r["loss"] * r["honest"] for r in records) / honest
        assert trainer.history[epoch]["train_loss"] == pytest.approx(mean, rel=1e-6)
    for record in trainer.rounds:
        assert (record["malicious_loss"] is None) == (record["malicious"] == 0)
        assert np.isfinite(record["update_norm"])
        assert record["update_norm"] > 0


def test_the_learning_rate_halves_on_schedule(config: Config) -> None:
    settings = config(epochs=5, lr_decay_step=2, lr_decay_gamma=0.5, learner="sgd", learning_rate=0.4)
    trainer = trained(settings)
    assert [r["learning_rate"] for r in trainer.history] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])
    for record in trainer.rounds:
        assert record["learning_rate"] == trainer.history[record["epoch"]]["learning_rate"]
    constant = trained(config(epochs=3, learning_rate=0.4))
    assert [r["learning_rate"] for r in constant.history] == pytest.approx([0.4] * 3)


def test_the_schedule_takes_effect(config: Config) -> None:
    common = {"epochs": 2, "learner": "sgd", "learning_rate": 1.0}
    first, halved, constant = (
        weights_of(trained(config(**{**common, **changes})).model)["item_embedding.weight"]
        for changes in ({"epochs": 1}, {"lr_decay_step": 1, "lr_decay_gamma": 1e-6}, {})
    )
    assert torch.allclose(halved, first, atol=1e-5)
    assert not torch.allclose(constant, first, atol=1e-3)


def test_training_stops_when_validation_stops_improving(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(epochs=10, stopping_step=2)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    scores = iter([0.1, 0.5, 0.4, 0.45, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9])
    saved = []

    def evaluate(eval_data: Any, load_best_model: bool = True, **kwargs: Any) -> dict[str, float]:
        saved.append(weights_of(trainer.model))
        return {"ndcg@10": next(scores)}

    monkeypatch.setattr(trainer, "evaluate", evaluate)
    called = []
    score, result = trainer.fit(
        experiment.train_data, experiment.valid_data, verbose=False, callback_fn=lambda *args: called.append(args)
    )
    # Improvement at epoch 1, then more than `stopping_step` evaluations without one.
    assert [r["epoch"] for r in trainer.history] == [0, 1, 2, 3, 4]
    assert called == list(enumerate([0.1, 0.5, 0.4, 0.45, 0.3]))
    assert (score, result) == (0.5, {"ndcg@10": 0.5})
    best = torch.load(trainer.saved_model_file, weights_only=True)
    assert best["epoch"] == 1
    assert equal(best["state_dict"], saved[1])


def test_the_best_model_is_tested(config: Config) -> None:
    settings = config(epochs=4, learning_rate=0.02)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    score, result = trainer.fit(experiment.train_data, experiment.valid_data, verbose=False)
    assert score == max(record["ndcg@10"] for record in trainer.history)
    assert result is not None
    assert trainer.evaluate(experiment.valid_data, load_best_model=True) == result


def test_without_validation_data_the_last_model_counts_and_test_results_are_reported(config: Config) -> None:
    settings = config(epochs=3, eval_step=2, eval_args=TEST_ONLY)
    experiment = prepare_training(settings)
    assert experiment.valid_data is None
    result = run_arm(experiment, settings, verbose=False)
    assert (result.best_valid_score, result.best_valid_result) == (float("-inf"), None)
    assert ["er@10" in record for record in result.history] == [False, True, False]
    assert len(result.history) == 3
    assert set(result.test_result) <= set(result.history[1])
    # The last epoch's model is the one tested: evaluating every epoch shows it.
    every = run_arm(prepare_training(settings), settings.replace(eval_step=1, checkpoint_dir="every"), verbose=False)
    assert {key: every.history[-1][key] for key in every.test_result} == every.test_result == result.test_result


@pytest.mark.parametrize("aggregator", [name for name in AGGREGATORS if name not in ("mean", "sum")])
def test_malicious_updates_that_are_not_finite_do_not_stop_other_aggregators(config: Config, aggregator: str) -> None:
    trainer = trained(config(attack_weight=1e39, clients_per_round=EVERYBODY, epochs=1, aggregator=aggregator))
    assert trainer.rounds[0]["malicious"] > 0
    assert all(value.isfinite().all() for value in weights_of(trainer.model).values())


@pytest.mark.parametrize("backend", ["vectorised", "loop"])
@pytest.mark.parametrize("per_item", [False, True])
def test_rejected_updates_are_counted_and_logged_once_a_round(
    config: Config, caplog: pytest.LogCaptureFixture, per_item: bool, backend: str
) -> None:
    common = {"aggregator": "median", "attack_weight": 1e39, "malicious_ratio": 0.1, "clients_per_round": EVERYBODY}
    settings = config(**common, epochs=2, backend=backend, per_item=per_item, malicious_clients="compromise")
    trainer = trained(settings)
    assert [record["rejected"] for record in trainer.rounds] == [6, 6]
    warnings = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert warnings == [f"saved, epoch {epoch}, round 0: 6 updates rejected: 6 not finite" for epoch in range(2)]
    assert all(row.kept == 1 - row.malicious for row in trainer.client_weights)


@pytest.mark.parametrize("learner", ["adam", "sgd"])
def test_a_round_without_any_update_leaves_the_model_as_it_is(
    config: Config, caplog: pytest.LogCaptureFixture, learner: str
) -> None:
    """Adam's momentum would move it on, and weight decay, too."""
    settings = config(aggregator="median", epochs=1, learner=learner, weight_decay=0.1)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    plain, seen = trainer.backend, []

    def backend(*args: Any) -> Any:
        seen.append(weights_of(trainer.model))
        result = plain(*args)
        if len(seen) != 2:
            return result
        kept = torch.zeros_like(result.aggregated.kept)
        return result._replace(aggregated=result.aggregated._replace(kept=kept, rejected={"too large": len(kept)}))

    trainer.backend = backend
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    moved = [not equal(before, after) for before, after in pairwise([*seen, weights_of(trainer.model)])]
    assert moved == [True, False, *[True] * (len(seen) - 2)]
    assert [record["update_norm"] > 0 for record in trainer.rounds] == moved
    clients = trainer.rounds[1]["honest"] + trainer.rounds[1]["malicious"]
    rejected = f"{clients} updates rejected: {clients} too large"
    text = f"saved, epoch 0, round 1: {rejected}; none is left, the model stays as it is"
    assert text in caplog.messages


def test_parameters_an_aggregation_leaves_as_they_were_are_named_once_an_epoch(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(aggregator="krum", epochs=2)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    names, plain, calls = [name for name, _ in trainer.model.named_parameters()], trainer.backend, []

    def backend(*args: Any) -> Any:
        result = plain(*args)
        calls.append(result.aggregated.frozen)
        frozen = {0: tuple(names), 1: tuple(names[:1])}.get(len(calls) - 1, ())
        return result._replace(aggregated=result.aggregated._replace(frozen=frozen))

    trainer.backend = backend
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    rounds = sum(record["epoch"] == 0 for record in trainer.rounds)
    assert rounds > 1 and len(calls) == 2 * rounds and not any(calls)
    warnings = [text for text in caplog.messages if "update of zero" in text]
    expected = f"made an update of zero for {names[0]} in 2 of {rounds} rounds, though clients sent others"
    assert warnings == [f"saved, epoch 0: aggregator 'krum' {expected}"]


def test_rounds_share_their_memory(config: Config) -> None:
    settings = config(aggregator="krum", clients_per_round=1000)
    experiment = prepare_training(settings)
    trainer, places = experiment.trainer(settings), []
    take = trainer.memory.take

    def spy(*args: Any) -> torch.Tensor:
        space = take(*args)
        places.append(space.data_ptr())
        return space

    trainer.memory.take = spy
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    assert len(places) == 2 and len(set(places)) == 1


@pytest.mark.parametrize("local_epochs", [1, 2])
@pytest.mark.parametrize("backend", ["vectorised", "loop"])
def test_the_weight_of_every_client_is_written(config: Config, tmp_path: Path, backend: str, local_epochs: int) -> None:
    common = {"aggregator": "mixed_rfa", "malicious_ratio": 0.1, "checkpoint_dir": "arm", **NO_DROPOUT}
    settings = config(**common, backend=backend, local_epochs=local_epochs)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, experiment.valid_data, verbose=False)
    table = pd.concat(map(pd.read_csv, sorted(tmp_path.glob("arm/client_weights/*.csv"))))
    assert list(table) == ["epoch", "round", "user", "malicious", "kept", "weight"]
    dataset, pool = experiment.dataset, trainer.clients(experiment.train_data)
    everyone = sorted(zip(dataset.tokens(dataset.uid_field, pool.users), pool.malicious.tolist(), strict=True))
    for epoch in range(2):
        rows = table[table["epoch"] == epoch]
        assert sorted(zip(rows["user"], rows["malicious"], strict=True)) == everyone
    for record in trainer.rounds:
        rows = table[(table["epoch"] == record["epoch"]) & (table["round"] == record["round"])]
        assert rows["weight"].sum() == pytest.approx(1) and (rows["kept"] == 1).all()
        assert rows["weight"][rows["malicious"] == 1].sum() == pytest.approx(record["malicious_weight"] or 0)


def test_both_backends_give_each_client_the_same_weight(config: Config) -> None:
    common = {"aggregator": "geometric_median", "malicious_ratio": 0.1, "local_epochs": 2, "epochs": 1, **NO_DROPOUT}
    fast, slow = (trained(config(backend=backend, **common)).client_weights for backend in ("vectorised", "loop"))
    assert [row[:5] for row in fast] == [row[:5] for row in slow]
    assert [row.weight for row in fast] == pytest.approx([row.weight for row in slow], rel=1e-3)
    assert len({round(row.weight, 6) for row in fast}) > len(fast) / 2


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"aggregator": "mean"}, False),
        ({"aggregator": "mean", "per_item": True}, True),
        ({"aggregator": "sum"}, False),
        ({"aggregator": "median"}, True),
        ({"aggregator": "median", "save_client_weights": False}, False),
    ],
    ids=str,
)
def test_weights_that_the_configuration_tells_are_not_written(
    config: Config, tmp_path: Path, changes: dict[str, Any], written: bool
) -> None:
    settings = config(epochs=1, checkpoint_dir="arm", **changes)
    experiment = prepare_training(settings)
    experiment.trainer(settings).fit(experiment.train_data, experiment.valid_data, verbose=False)
    assert [file.name for file in tmp_path.glob("arm/client_weights/*")] == ["epoch-0000.csv"] * written
    if changes["aggregator"] == "median" and written:
        assert pd.read_csv(tmp_path / "arm/client_weights/epoch-0000.csv")["weight"].isna().all()


@pytest.mark.parametrize("backend", ["vectorised", "loop"])
def test_an_update_that_is_not_finite_stops_the_run_before_it_is_applied(config: Config, backend: str) -> None:
    settings = config(attack_weight=1e39, clients_per_round=EVERYBODY, backend=backend, epochs=1)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    before = weights_of(trainer.model)
    with pytest.raises(ValueError, match="not finite"):
        trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    assert equal(weights_of(trainer.model), before)


def test_training_teaches_honest_clients(config: Config) -> None:
    trainer = trained(config(epochs=15, learning_rate=0.02, **NO_DROPOUT))
    losses = [record["train_loss"] for record in trainer.history]
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("attack", ["dvfsr", "s_fsr", "c_fsr"])
def test_targeted_attacks_raise_exposure(config: Config, attack: str) -> None:
    settings = config(attack=attack, malicious_ratio=0.2, epochs=6, learning_rate=0.02)
    experiment = prepare_training(settings)
    attacked, clean = (trained(settings.replace(attack=a), experiment) for a in (attack, "none"))
    assert attacked.history[-1]["er@5"] > clean.history[-1]["er@5"]


@pytest.mark.parametrize("aggregator", ROUTES)
@pytest.mark.parametrize("local_epochs", [1, 2])
def test_adversarial_training_trains_on_every_route(config: Config, aggregator: str, local_epochs: int) -> None:
    round_of = {"clients_per_round": 32, "rounds_per_epoch": 1}
    common = {"aggregator": aggregator, "local_epochs": local_epochs, "epochs": 1, **round_of, **NO_DROPOUT, **SGD}
    fast = trained(config(**common, client_defense="adversarial_training"))
    slow = trained(config(**common, client_defense="adversarial_training", backend="loop"))
    assert_close(weights_of(fast.model), weights_of(slow.model), atol=1e-5)
    plain = trained(config(**common))
    assert not torch.allclose(
        weights_of(plain.model)["item_embedding.weight"], weights_of(fast.model)["item_embedding.weight"], atol=1e-6
    )


@pytest.mark.parametrize("changes", [{"aggregator": "mean"}, {"aggregator": "krum"}, {"local_epochs": 2}], ids=str)
def test_regularised_clients_are_the_same_one_by_one_and_act_from_the_second_epoch_on(
    config: Config, changes: dict[str, Any]
) -> None:
    common = {"epochs": 2, "clients_per_round": 40, **changes, **NO_DROPOUT, **SGD}
    defended = {**common, "client_defense": "popularity_regularization"}
    fast, slow = (trained(config(**defended, backend=backend)) for backend in ("vectorised", "loop"))
    assert_close(weights_of(fast.model), weights_of(slow.model), atol=1e-5)
    plain = trained(config(**common))
    first, second = ([t.history[epoch]["train_loss"] for t in (plain, fast)] for epoch in (0, 1))
    assert first[0] == pytest.approx(first[1], abs=1e-6) and second[0] != pytest.approx(second[1], abs=1e-3)


def test_adversarial_training_changes_other_positions_in_every_epoch(config: Config) -> None:
    train_data = prepare_training(config()).train_data
    users = train_data.trainable_users[:5]

    def draws_of(users: Any, epoch: int, step: int = 0) -> torch.Tensor:
        return train_data.aligned(train_data.draws("client defense", epoch, step), users)

    draws = [draws_of(users, epoch, step) for epoch, step in ((0, 0), (1, 0), (0, 1))]
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    alone = draws_of(users[3:4], 0)
    length = min(int(train_data.sequences.lengths[users[3]]), train_data.max_length + 1)
    assert torch.equal(alone[0, :length], draws[0][3, :length])
