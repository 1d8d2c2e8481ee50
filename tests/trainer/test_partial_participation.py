"""Epochs of rounds in which only some clients are asked, and evaluation of only some users."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from trainings import trained

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.experiment import prepare_training
from recbole_attack.report.words import caption
from recbole_attack.trainer import federated
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream

Config = Callable[..., AttackConfig]
NO_DROPOUT = {"hidden_dropout_prob": 0, "attn_dropout_prob": 0}
FEW = {"rounds_per_epoch": 3, "clients_per_round": 7}


def assert_close(a: Any, b: Any) -> None:
    for name, value in a.state_dict().items():
        assert torch.allclose(value, b.state_dict()[name], rtol=1e-4, atol=2e-6), name


@pytest.mark.parametrize("local_epochs", [1, 2])
def test_rounds_of_some_clients_are_steps_made_by_hand(config: Config, local_epochs: int) -> None:
    local = {"local_epochs": local_epochs, "local_learning_rate": 0.2}
    server_side = {"learner": "sgd", "learning_rate": 0.5 if local_epochs == 1 else 1.0}
    settings = config(attack="none", epochs=2, **local, **server_side, **FEW, **NO_DROPOUT)
    experiment = prepare_training(settings)
    data, server = experiment.train_data, experiment.trainer(settings).model
    pool, model = experiment.trainer(settings).clients(data), experiment.trainer(settings).model
    rate = 0.5 if local_epochs == 1 else 0.2
    for epoch in range(2):
        for index, clients in enumerate(pool.sampled_rounds(data.seed, epoch, 7, 3)):
            total = {name: torch.zeros_like(value) for name, value in server.state_dict().items()}
            for client in clients:
                model.load_state_dict(server.state_dict())
                optimizer = torch.optim.SGD(model.parameters(), lr=rate)
                user = pool.users[[client]]
                for step in range(local_epochs):
                    negatives = data.client_negatives(user, 3 * epoch + index, step)
                    optimizer.zero_grad()
                    model.client_losses(data.aligned_batch(user, negatives)).sum().backward()
                    optimizer.step()
                for name, value in model.state_dict().items():
                    total[name] += value
            server.load_state_dict({name: value / len(clients) for name, value in total.items()})
    assert_close(trained(settings, experiment).model, server)


@pytest.mark.parametrize("attack", ["dvfsr", "ra", "eb"])
def test_both_backends_train_the_same(config: Config, attack: str) -> None:
    """A plain server step: Adam's divides by the gradient's size, and makes of rounding what a machine's sums are."""
    server_side = {"learner": "sgd", "learning_rate": 1.0}
    common = {"attack": attack, "malicious_ratio": 0.5, "local_epochs": 2, **server_side, **FEW, **NO_DROPOUT}
    fast, slow = (trained(config(backend=backend, **common)) for backend in ("vectorised", "loop"))
    assert sum(record["malicious"] for record in fast.rounds) > 0
    assert_close(fast.model, slow.model)


def test_an_epoch_is_as_many_rounds_as_are_asked_for(config: Config) -> None:
    trainer = trained(config(malicious_ratio=0.5, **FEW))
    assert [(r["epoch"], r["round"], r["honest"]) for r in trainer.rounds] == [
        (epoch, index, 7) for epoch in range(2) for index in range(3)
    ]
    for epoch, history in enumerate(trainer.history):
        losses = [r["loss"] for r in trainer.rounds if r["epoch"] == epoch]
        assert history["train_loss"] == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"model": "BERT4Rec"}, {"client_defense": "adversarial_training"}], ids=str)
def test_a_client_that_is_asked_again_draws_anew(config: Config, changes: dict[str, Any]) -> None:
    settings = config(attack="none", rounds_per_epoch=2, clients_per_round=1000, **changes)
    experiment = prepare_training(settings)
    side, data = experiment.trainer(settings).client_side, experiment.train_data
    users = data.trainable_users
    losses = []
    for epoch, index in ((0, 0), (0, 1), (1, 0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            (group,) = side.grouping(data, side.period(epoch, index))(users, users[:0])
            side.model.eval()
            losses.append(group.losses(side.model, torch.arange(len(users)), 0).tolist())
    assert losses[0] != losses[1] != losses[2] != losses[0]


def test_shared_negatives_go_with_whole_epochs(config: Config) -> None:
    with pytest.raises(
        ConfigError, match="shared_negatives needs epochs that ask every client: found rounds_per_epoch"
    ):
        config(shared_negatives=True, rounds_per_epoch=3)


def test_weights_of_very_many_clients_are_written_on_demand(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(federated, "MANY_CLIENTS", 5)
    assert not trained(config(aggregator="median", epochs=1)).client_weights
    assert caplog.text.count("clients are not written: save_client_weights=True writes them") == 1
    assert trained(config(aggregator="median", epochs=1, save_client_weights=True)).client_weights
    monkeypatch.setattr(federated, "MANY_CLIENTS", 1000)
    assert trained(config(aggregator="median", epochs=1)).client_weights


# Evaluation of some users


def loaded(data: Any) -> list[int]:
    return sorted(data.dataset.inter_feat["user_id"].tolist())


def test_the_evaluated_users_are_a_draw_that_the_seed_decides(config: Config) -> None:
    everyone, few, more = (prepare_training(config(eval_users=n)) for n in (None, 10, 30))
    assert len(loaded(few.test_data)) == 10
    assert set(loaded(few.test_data)) < set(loaded(more.test_data)) < set(loaded(everyone.test_data))
    place = stream(few.config["seed"], "evaluated users").permutation(few.dataset.user_num)
    for part, whole in ((few.valid_data, everyone.valid_data), (few.test_data, everyone.test_data)):
        assert loaded(part) == sorted(sorted(loaded(whole), key=lambda user: place[user])[:10]), "one order for both"
    assert loaded(prepare_training(config(eval_users=10, attack="none", epochs=1)).test_data) == loaded(few.test_data)
    assert loaded(prepare_training(config(eval_users=10, seed=7)).test_data) != loaded(few.test_data)
    assert loaded(prepare_training(config(eval_users=10**6)).test_data) == loaded(everyone.test_data)


def test_users_who_are_not_honest_are_not_drawn(config: Config) -> None:
    experiment = prepare_training(config(eval_users=30, malicious_clients="compromise", malicious_ratio=0.3))
    assert not set(loaded(experiment.test_data)) & set(experiment.threat.malicious_users.tolist())
    assert len(loaded(experiment.test_data)) == 30


def test_metrics_are_those_of_the_users_drawn(config: Config) -> None:
    whole, part = (config(eval_users=n, epochs=1, valid_metric="Hit@10") for n in (None, 15))
    drawn = loaded(prepare_training(part).test_data)
    experiment = prepare_training(whole)
    trainer = trained(whole, experiment)
    with trainer.eval_collector.recording() as recorder:
        trainer.evaluate(experiment.test_data, load_best_model=False)
    outcomes = recorder.outcomes()
    ranks = outcomes.rank_truth[np.isin(outcomes.user, drawn)]
    found = trainer.evaluate(prepare_training(part).test_data, load_best_model=False)
    assert found["hit@10"] == pytest.approx(np.mean(ranks <= 10), abs=1e-6)


def test_the_caption_says_who_was_asked_and_who_was_tested(config: Config) -> None:
    result = run_recbole_attack(config_dict=config(eval_users=15, **FEW, epochs=1).to_dict(), saved=False)
    said = caption(result.record)
    assert "; federated, 7 clients a round, 3 rounds an epoch, server" in said
    assert "full ranking, history masked, on 15 users drawn at random" in said


def test_where_no_malicious_client_was_asked_it_is_said(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    rare = config(attack="a_ra", rounds_per_epoch=1, clients_per_round=1, epochs=1, malicious_ratio=0.02)
    often = config(attack="a_ra", epochs=1, malicious_ratio=0.02)
    for settings, said in ((rare, True), (often, False)):
        caplog.clear()
        trainer = trained(settings)
        assert any(row["malicious"] for row in trainer.rounds) is not said
        assert ("no malicious client was asked in any of 1 rounds" in caplog.text) is said


def test_where_malicious_clients_sent_nothing_it_is_said(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """PIECK knows no popular items before the second epoch."""
    for epochs, said in ((1, True), (2, False)):
        caplog.clear()
        trainer = trained(config(attack="pieck_ipe", epochs=epochs, malicious_ratio=0.1))
        assert any(row["malicious"] for row in trainer.rounds)
        assert ("malicious clients sent zeros alone" in caplog.text) is said


def test_without_an_honest_client_there_is_no_loss(config: Config) -> None:
    everybody = {"malicious_clients": "compromise", "malicious_ratio": 0.98}
    trainer = trained(config(attack="a_ra", rounds_per_epoch=1, clients_per_round=1, epochs=1, **everybody))
    (row,) = trainer.rounds
    assert row["honest"] == 0
    assert row["loss"] is None
    assert np.isnan(trainer.history[0]["train_loss"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eval_users": 5000, "clients_per_round": 1000}, ("60 clients a round", ", history masked; ")),
        ({"eval_users": 60}, ("16 clients a round", ", history masked; ")),
        ({"eval_users": 40}, ("16 clients a round", ", history masked, on 40 users drawn at random; ")),
        (
            {"eval_users": 50, "malicious_clients": "compromise", "malicious_ratio": 0.25},
            ("16 clients a round", ", history masked; "),
        ),
    ],
)
def test_the_caption_names_clients_and_users_there_are(
    config: Config, given: dict[str, Any], words: tuple[str, ...]
) -> None:
    result = run_recbole_attack(config_dict=config(attack="ra", epochs=1, compare_clean=False, **given).to_dict())
    assert all(part in caption(result.record) for part in words), caption(result.record)
