"""Updates of every kind of victim: what is computed together is what a loop over clients gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.federated import rounds
from recbole_attack.federated.rounds import client_path, round_path
from recbole_attack.model import SASRec

SIZES: dict[str, dict[str, Any]] = {
    "SASRec": {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8, "dropout_prob": 0.0},
    "NARM": {"hidden_size": 6, "embedding_size": 8, "dropout_probs": [0.0, 0.0]},
    "STAMP": {"embedding_size": 8},
}
PATHS = {
    "SASRec": ("layers", "vmap"),
    "BERT4Rec": ("vmap", "vmap"),
    "GRU4Rec": ("layers", "loop"),
    "NARM": ("loop", "loop"),
    "STAMP": ("loop", "loop"),
}
"""How single clients are computed with one local step, and with several."""


@pytest.fixture
def trained(small: Callable[..., dict[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
    """Every parameter and the rounds of a model after one epoch without dropout; ``trained(model, **changes)``."""

    def train(model: str, **changes: Any) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
        common |= {"learner": "sgd", "learning_rate": 1.0, "epochs": 1}
        settings = AttackConfig(model, config_dict={**common, **SIZES[model], **changes})
        experiment = prepare_training(settings)
        trainer = experiment.trainer(settings)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
        trainer.fit(experiment.train_data, verbose=False, saved=False)
        return [parameter.detach() for parameter in trainer.model.parameters()], trainer.rounds

    return train


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize(
    "changes",
    [
        {"attack": "ra", "chunk_tokens": 40},
        {
            "attack": "dvfsr",
            "attack_repeats": 2,
            "aggregator": "multi_krum",
            "clients_per_round": 32,
            "rounds_per_epoch": 1,
        },
        {"attack": "margin", "chunk_tokens": 40},
        {"attack": "quiet", "aggregator": "krum", "clients_per_round": 32, "rounds_per_epoch": 1},
        {"attack": "a_hum", "local_epochs": 2, "clients_per_round": 32, "rounds_per_epoch": 1},
        {
            "attack": "pip_attack",
            "estimator_steps": 5,
            "local_epochs": 2,
            "clients_per_round": 32,
            "rounds_per_epoch": 1,
        },
        {
            "attack": "fed_rec_attack",
            "known_share": 0.1,
            "aggregator": "median",
            "clients_per_round": 32,
            "rounds_per_epoch": 1,
        },
        {"attack": "none", "aggregator": "norm_clipping", "local_epochs": 2, "chunk_tokens": 40},
        {
            "attack": "ra",
            "local_epochs": 2,
            "client_weighting": "examples",
            "clients_per_round": 32,
            "rounds_per_epoch": 1,
        },
    ],
    ids=str,
)
def test_both_backends_give_the_same_model(trained: Any, model: str, changes: Any) -> None:
    sampled = {"malicious_ratio": 0.2, "rounds_per_epoch": 2, "clients_per_round": 16}
    expected, slow = trained(model, backend="loop", **{**sampled, **changes})
    found, fast = trained(model, **{**sampled, **changes})
    assert any(r["malicious"] for r in fast) == (changes["attack"] != "none") and all(r["honest"] for r in fast)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)
    for key in ("loss", "malicious_loss", "update_norm"):
        assert [r[key] or 0.0 for r in fast] == pytest.approx([r[key] or 0.0 for r in slow], rel=1e-3)


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize("local_epochs", [1, 2])
@pytest.mark.parametrize("aggregator", ["mean", "krum", "median"])
def test_the_path_that_is_named_is_the_path_that_is_taken(
    trained: Any, monkeypatch: pytest.MonkeyPatch, model: str, local_epochs: int, aggregator: str
) -> None:
    taken: list[str] = []
    seen: list[Any] = []
    functions = {
        "summed": ["summed_gradient"],
        "layers": ["client_gradients"],
        "vmap": ["stacked_updates"],
        "loop": ["looped_client_updates", "looped_updates"],
    }
    for path, names in functions.items():
        for name in names:
            plain = getattr(rounds, name)

            def spy(used: Any, *args: Any, plain: Any = plain, path: str = path) -> Any:
                taken.append(path)
                seen.append(used)
                return plain(used, *args)

            monkeypatch.setattr(rounds, name, spy)
    trained(model, attack="none", aggregator=aggregator, local_epochs=local_epochs, clients_per_round=70)
    rule = AGGREGATORS[aggregator]({"byzantine_ratio": None})
    path = round_path(seen[0], rule, local_epochs)
    local = client_path(seen[0], local_epochs)
    assert set(taken) == {local if path == "summed" and local_epochs > 1 else path}
    assert (path == "summed") == (aggregator == "mean")
    assert local == PATHS[model][local_epochs > 1]


def test_a_derived_model_with_a_layer_of_its_own_is_not_computed_by_layer(config: Callable[..., Any]) -> None:
    class Wider(SASRec):
        def __init__(self, settings: Any, dataset: Any) -> None:
            super().__init__(settings, dataset)
            self.scale = torch.nn.Parameter(torch.ones(8))

        def embed(self, item_seq: torch.Tensor) -> torch.Tensor:
            return super().embed(item_seq) * self.scale

    settings = config()
    model = Wider(settings, prepare_training(settings).dataset)
    assert client_path(model, 1) == "vmap"


@pytest.mark.parametrize("model", SIZES)
def test_central_training_lowers_the_loss(small: Any, model: str) -> None:
    common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
    common |= {"scenario": "central", "learning_rate": 0.01, "epochs": 4, "train_batch_size": 64}
    settings = AttackConfig(model, config_dict={**common, **SIZES[model]})
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, experiment.valid_data, verbose=False, saved=False)
    losses = [record["train_loss"] for record in trainer.history]
    assert losses[-1] < losses[0]
    assert set(trainer.history[0]) >= {"hit@10", "ndcg@10"}


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
@pytest.mark.parametrize("loss_type", ["BPR", "CE"])
@pytest.mark.parametrize(
    "changes", [{"attack": "ra"}, {"attack": "none", "aggregator": "norm_clipping"}, {"attack": "dvfsr"}], ids=str
)
def test_both_backends_give_the_same_model_for_every_loss(
    trained: Any, model: str, loss_type: str, changes: Any
) -> None:
    changes = {**changes, "loss_type": loss_type, "chunk_tokens": 40}
    expected, slow = trained(model, backend="loop", **changes)
    found, fast = trained(model, **changes)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)
    assert [r["loss"] for r in fast] == pytest.approx([r["loss"] for r in slow], rel=1e-3)
