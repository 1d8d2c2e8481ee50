"""A model whose item table is all it has, under every kind of rule: there is nothing dense beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn

from recbole_attack import AttackConfig, register_model
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.memory import Memory
from recbole_attack.model import MODELS
from recbole_attack.model.parts import next_item_losses
from recbole_attack.model.victim import Victim


class Pooled(Victim, SequentialRecommender):
    """The mean of the items so far."""

    loss_types = ("BCE",)
    per_client = ("layers", "vmap")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, config["size"], padding_idx=0)

    def state(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        return (item_emb * (item_seq != 0)[..., None]).sum(dim=1) / item_seq_len[:, None]

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        item_seq, pos_items, neg_items = inputs
        rows = self.embed(item_seq) if item_emb is None else item_emb
        rows = rows * (item_seq != 0)[..., None]
        counts = torch.arange(1, item_seq.shape[1] + 1, device=rows.device)[:, None]
        return next_item_losses(rows.cumsum(dim=1) / counts, self.item_embedding, pos_items, neg_items)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(MODELS), dict(REGISTERED)
    register_model(Pooled, {"size": 8, "loss_type": "BCE"})
    yield
    for table, values in zip((MODELS, REGISTERED), before, strict=True):
        table.clear()
        table.update(values)


@pytest.fixture
def trained(small: Callable[..., dict[str, Any]]) -> Callable[..., tuple[torch.Tensor, list[dict[str, Any]]]]:
    """The item table and the rounds after one epoch; ``trained(**changes)``."""

    def train(**changes: Any) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        sizes = ("hidden_size", "inner_size", "n_layers", "n_heads")
        common = {key: value for key, value in small().items() if key not in sizes}
        common |= {"learner": "sgd", "learning_rate": 1.0, "epochs": 1, "attack": "ra", "clients_per_round": 30}
        settings = AttackConfig("Pooled", config_dict={**common, **changes})
        experiment = prepare_training(settings)
        trainer = experiment.trainer(settings)
        with torch.no_grad():
            trainer.model.item_embedding.weight.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(1))
        trainer.fit(experiment.train_data, verbose=False, saved=False)
        assert [name for name, _ in trainer.model.named_parameters()] == [ITEM_TABLE]
        return trainer.model.item_embedding.weight.detach(), trainer.rounds

    return train


WHOLE = {"flame", "fl_trust", "union"}
"""Rules that have no meaning per item."""


@pytest.mark.parametrize("per_item", [False, True])
@pytest.mark.parametrize("rule", AGGREGATORS)
def test_backends_agree(trained: Any, rule: str, per_item: bool) -> None:
    if rule in WHOLE and per_item:
        pytest.skip("on whole updates only")
    changes = {"aggregator": rule, "per_item": per_item, "learning_rate": 0.01 if rule == "sum" else 1.0}
    (fast, rounds), (slow, others) = (trained(**changes, backend=b) for b in ("vectorised", "loop"))
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=2e-5)
    assert [r["update_norm"] for r in rounds] == pytest.approx([r["update_norm"] for r in others], rel=1e-3)
    assert any(r["update_norm"] > 0 for r in rounds)


@pytest.mark.parametrize(
    "changes",
    [
        {"local_epochs": 2, "aggregator": "krum"},
        {"aggregator": "mean", "norm_budget": 0.5},
        {"attack": "alie", "aggregator": "mean", "client_detectors": {"top_row": 0.9, "spectral": 0.5}},
    ],
    ids=str,
)
def test_backends_agree_on_what_is_sent(trained: Any, changes: dict[str, Any]) -> None:
    (fast, rounds), (slow, others) = (trained(**changes, backend=b) for b in ("vectorised", "loop"))
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=2e-5)
    for key in ("malicious_norm", "honest_norm"):
        found, expected = ([r[key] for r in part if r[key] is not None] for part in (rounds, others))
        assert found == pytest.approx(expected, rel=1e-3) and found


@pytest.mark.parametrize("backend", ["vectorised", "loop"])
@pytest.mark.parametrize("changes", [{"aggregator": "krum"}, {"aggregator": "median", "per_item": True}], ids=str)
def test_clients_that_no_rule_could_bear_are_left_out(trained: Any, changes: dict[str, Any], backend: str) -> None:
    table, rounds = trained(**changes, gradient_scale=1e30, malicious_ratio=0.2, backend=backend)
    assert [r["rejected"] for r in rounds] == [r["malicious"] for r in rounds] and any(r["malicious"] for r in rounds)
    assert table.isfinite().all() and any(r["update_norm"] > 0 for r in rounds)


def test_who_is_finite_is_seen_in_the_table_alone() -> None:
    table = torch.randn(5, 4, 2)
    table[1, 2, 0], table[3, 0, 1] = torch.nan, -torch.inf
    assert ClientUpdates.from_stacked({ITEM_TABLE: table}).is_finite().tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_what_is_beside_the_table_is_nothing_of_its_type(kind: torch.dtype) -> None:
    table = torch.randn(3, 5, 2, dtype=kind)
    updates = ClientUpdates.from_stacked({ITEM_TABLE: table})
    assert (updates.dense.shape, updates.dense.dtype, len(updates)) == ((3, 0), kind, 3)
    torch.testing.assert_close(updates.to_dense(), table.flatten(1))
    model = nn.Module()
    model.item_embedding = nn.Embedding(5, 2, dtype=kind)
    room = Memory().take(3, model)
    assert (room.shape, room.dtype) == ((3, 0), kind)
