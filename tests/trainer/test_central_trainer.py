"""Training without federation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from trainings import trained

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare_training
from recbole_attack.trainer.central import gather_lookups

NO_DROPOUT = {"hidden_dropout_prob": 0, "attn_dropout_prob": 0}
ONE_BATCH = 10**6


@pytest.fixture
def central(config: Callable[..., AttackConfig]) -> Callable[..., AttackConfig]:
    return lambda **changes: config(**{"scenario": "central", "attack": "none", **changes})


def assert_close(a: Any, b: Any) -> None:
    for (name, left), right in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.allclose(left, right, rtol=1e-4, atol=2e-6), name


def test_the_loss_falls(central: Callable[..., AttackConfig]) -> None:
    trainer = trained(central(epochs=20, train_batch_size=128, learning_rate=0.02))
    losses = [record["train_loss"] for record in trainer.history]
    assert losses[0] == pytest.approx(0.693, abs=0.05), "an untrained model guesses"
    assert losses[-1] < losses[0] - 0.05
    assert min(losses[10:]) < min(losses[:5])
    assert len(losses) == 20


def test_what_recbole_uses_of_pytorchs_past_is_not_told(central: Callable[..., AttackConfig]) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trained(central(epochs=1))
    assert not [warning for warning in told if "recbole" in warning.filename and warning.category is FutureWarning]


def test_one_batch_is_one_step_along_the_gradient(central: Callable[..., AttackConfig]) -> None:
    settings = central(epochs=1, train_batch_size=ONE_BATCH, learner="sgd", learning_rate=0.5, **NO_DROPOUT)
    experiment = prepare_training(settings)
    expected, data = experiment.trainer(settings).model, experiment.train_data
    batch = data.batch(data.trainable_users, data.negatives(0))
    loss = (expected.client_losses(batch) * batch.lengths).sum() / batch.lengths.sum()
    loss.backward()
    torch.optim.SGD(expected.parameters(), lr=0.5).step()
    trainer = trained(settings, experiment)
    assert trainer.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert_close(trainer.model, expected)


def test_it_is_federated_training_with_everybody_in_one_round(central: Callable[..., AttackConfig]) -> None:
    """Clients weighted by their examples, one gradient each, plain SGD: the two scenarios are the same."""
    common = {"epochs": 3, "learner": "sgd", "learning_rate": 0.5, **NO_DROPOUT}
    alone = trained(central(train_batch_size=ONE_BATCH, **common))
    together = trained(
        central(scenario="federated", clients_per_round=1000, client_weighting="examples", **common),
    )
    assert_close(alone.model, together.model)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(central: Callable[..., AttackConfig]) -> None:
    first, again, other = (trained(central(seed=seed, train_batch_size=128)) for seed in (4, 4, 5))
    weights = [list(trainer.model.state_dict().values()) for trainer in (first, again, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    assert first.best_valid_result == again.best_valid_result


def test_every_epoch_trains_under_dropout_of_its_own(
    central: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = central(epochs=3, train_batch_size=ONE_BATCH)
    experiment = prepare_training(settings)
    trainer, seeds = experiment.trainer(settings), []
    plain = trainer.model.client_losses

    def client_losses(batch: Any) -> torch.Tensor:
        assert trainer.model.training
        seeds.append(torch.initial_seed())
        return plain(batch)

    monkeypatch.setattr(trainer.model, "client_losses", client_losses)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    assert len(set(seeds)) == 3
    assert seeds == sorted(seeds, key=seeds.index), "an epoch keeps its own"


@pytest.mark.parametrize(("model", "train_rows"), [("SASRec", "users"), ("SASRec", "prefixes"), ("BERT4Rec", "users")])
def test_the_size_of_chunks_changes_nothing(central: Callable[..., AttackConfig], model: str, train_rows: str) -> None:
    common = {"train_rows": train_rows, "epochs": 2, "train_batch_size": 128, "learner": "sgd", **NO_DROPOUT}
    small, large = (trained(central(model=model, **common, chunk_tokens=tokens)) for tokens in (8, 10**6))
    assert_close(small.model, large.model)
    assert small.history[-1]["train_loss"] == pytest.approx(large.history[-1]["train_loss"], rel=1e-5)


def test_the_learning_rate_halves_on_schedule(central: Callable[..., AttackConfig]) -> None:
    trainer = trained(central(epochs=3, lr_decay_step=1, learning_rate=0.4, learner="sgd"))
    assert [record["learning_rate"] for record in trainer.history] == pytest.approx([0.4, 0.2, 0.1])


@pytest.mark.parametrize("tied", [False, True], ids=["lookups", "lookups-and-all-items"])
def test_gathered_lookups_have_the_gradient_of_plain_ones(tied: bool) -> None:
    def loss(embedding: torch.nn.Embedding) -> torch.Tensor:
        hidden = embedding(torch.tensor([[1, 2, 0], [2, 2, 5]]))
        total = (hidden * embedding(torch.tensor([3, 2, 0]))).square().sum()
        return total + (hidden @ embedding.weight.T).logsumexp(-1).sum() if tied else total

    torch.manual_seed(0)
    plain, gathered = (torch.nn.Embedding(7, 4, padding_idx=0, dtype=torch.float64) for _ in range(2))
    gathered.load_state_dict(plain.state_dict())
    gather_lookups(gathered)
    for _ in range(2):  # the second time on top of the first
        loss(plain).backward()
        loss(gathered).backward()
    assert not gathered.weight.grad.is_sparse, "what clips gradients, and Adam, want a table"
    assert torch.allclose(gathered.weight.grad, plain.weight.grad, rtol=1e-12, atol=1e-14)
