"""Clipped rows shrunk by their support: against a literal reading, on sparse rows and one by one."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from item_rows import H, Updates, V, fast, slow, stacked

from recbole_attack.config import AttackConfig
from recbole_attack.defense import Aggregator, configured_aggregator, support
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_updates import ITEM_TABLE
from recbole_attack.utils.errors import ConfigError


def rule(**options: Any) -> Aggregator:
    return configured_aggregator(
        AttackConfig(config_dict={"aggregator": "support_shrunk", **options}).final_config_dict
    )


def bound_of(table: np.ndarray, quantile: float, votes: str) -> float:
    """The smallest length with enough votes at or below it: one each row, or one each client, shared by its rows."""
    cast = []
    for rows in table:
        lengths = [math.sqrt(sum(float(x) ** 2 for x in row)) for row in rows if any(row)]
        cast += [(length, 1.0 if votes == "rows" else 1 / len(lengths)) for length in lengths]
    total, below = sum(vote for _, vote in cast), 0.0
    for length, vote in sorted(cast):
        below += vote
        if below >= quantile * total - 1e-9:
            return length
    return math.inf


def literal(updates: Updates, weights: torch.Tensor, per_item: bool, quantile: float, votes: str, m0: float, k: int,
            middle: Callable[..., Any]) -> np.ndarray:  # fmt: skip
    """Item by item and client by client."""
    table, w = updates[ITEM_TABLE].double().numpy(), weights.double().numpy()
    bound = bound_of(table, quantile, votes)
    found = np.zeros((V, H))
    for item in range(V):
        touching = [c for c in range(len(w)) if any(table[c, item])]
        if len(touching) < k or not touching:
            continue
        rows = [table[c, item] * min(1, bound / np.linalg.norm(table[c, item])) for c in touching]
        own = sum(w[touching])
        share = own / (own + m0 * np.mean(w)) if per_item else own / sum(w)
        found[item] = share * middle(rows, w[touching])
    return found


def mean(rows: list[np.ndarray], weights: np.ndarray) -> Any:
    return sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)


def median(rows: list[np.ndarray], weights: np.ndarray) -> Any:
    return np.median(rows, axis=0)


@pytest.mark.parametrize("per_item", [False, True], ids=["whole", "per item"])
@settings(max_examples=40)
@given(
    n=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    seed=st.integers(0, 10**6),
    quantile=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    votes=st.sampled_from(["clients", "rows"]),
    m0=st.sampled_from([0.0, 0.5, 10.0]),
    k=st.integers(1, 4),
    middle=st.sampled_from([("mean", mean), ("median", median)]),
)
def test_it_is_the_formula(per_item: bool, n: int, share: float, seed: int, quantile: float, votes: str, m0: float,
                           k: int, middle: Any) -> None:  # fmt: skip
    updates, weights = stacked(n, share, seed)
    aggregator = configured_aggregator(
        {"aggregator": "support_shrunk", "pre_aggregator": "none", "per_item": per_item, "seed": 1,
         "row_quantile": quantile, "row_votes": votes, "row_rule": middle[0], "body_rule": "norm_clipping",
         "support_prior": m0, "support_least": k}
    )  # fmt: skip
    expected = literal(updates, weights, per_item, quantile, votes, m0, k, middle[1])
    for found in (fast(updates, weights, aggregator), slow(updates, weights, aggregator)):
        assert np.allclose(found.update[ITEM_TABLE], expected, atol=1e-5)
        lengths = updates["body"].double().norm(dim=1)
        shares = weights * (lengths.quantile(0.5) / lengths).clamp(max=1) / weights.sum()
        torch.testing.assert_close(
            found.update["body"], (shares @ updates["body"].double()).float(), rtol=1e-4, atol=1e-5
        )
        assert found.client_weights is not None
        torch.testing.assert_close(found.client_weights, shares, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_unclipped_on_whole_updates_it_is_the_mean_over_all_clients(seed: int) -> None:
    updates, weights = stacked(9, 0.5, seed)
    found = fast(updates, weights, rule(row_quantile=1.0, body_rule="mean")).update
    plain = configured_aggregator(AttackConfig(config_dict={"aggregator": "mean"}).final_config_dict)
    for name, value in fast(updates, weights, plain).update.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_the_first_part_alone_is_clipped_rows_and_then_the_mean_over_all() -> None:
    """Every row cut to the round's median length, then any implementation of the mean over all clients."""
    updates, _ = stacked(9, 0.5, 3)
    lengths = updates[ITEM_TABLE].norm(dim=2)
    bound = lengths[lengths > 0].sort().values[(int((lengths > 0).sum()) - 1) // 2]
    clipped = updates[ITEM_TABLE] * (bound / lengths.clamp(min=1e-12)).clamp(max=1)[..., None]
    found = fast(updates, torch.ones(9), rule(row_votes="rows", body_rule="mean")).update
    torch.testing.assert_close(found[ITEM_TABLE], clipped.mean(dim=0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["body"], updates["body"].mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("per_item", [False, True])
def test_the_update_of_a_row_that_one_client_touches_is_short_however_loud_it_is(per_item: bool) -> None:
    updates, _ = stacked(20, 0.5, 5)
    updates[ITEM_TABLE][:, 2] = 0.0
    updates[ITEM_TABLE][4, 2] = 1e6
    aggregator = rule(per_item=per_item)
    bound = bound_of(updates[ITEM_TABLE].double().numpy(), 0.5, "clients")
    row = fast(updates, torch.ones(20), aggregator).update[ITEM_TABLE][2]
    assert float(row.norm()) == pytest.approx(bound / (6 if per_item else 20), rel=1e-4)
    row = fast(updates, torch.ones(20), rule(per_item=per_item, support_least=2)).update[ITEM_TABLE][2]
    assert not row.any()


def way(learner: Any, **options: Any) -> float:
    """How far the row goes in ten rounds that one loud client touches alone; honest rows are as long in all rounds."""
    table = torch.nn.Parameter(torch.zeros(V, H))
    server = learner([table], lr=0.01)
    for index in range(10):
        updates, _ = stacked(20, 0.5, index)
        rows = torch.nn.functional.normalize(updates[ITEM_TABLE], dim=2)
        rows[:, 2] = 0.0
        rows[4, 2] = torch.arange(1.0, H + 1)
        found = fast({**updates, ITEM_TABLE: rows}, torch.ones(20), rule(per_item=True, **options).in_round(0, index))
        table.grad = found.update[ITEM_TABLE]
        server.step()
    return float(table[2].detach().norm())


def test_how_far_a_row_moves_is_the_optimisers_to_say() -> None:
    """A factor of every round's update is one of SGD's steps, and none of Adam's; a row that is held back stays."""
    assert way(torch.optim.SGD, support_prior=0.0) == pytest.approx(10 * 0.01, rel=1e-4)
    for learner, shares in ((torch.optim.SGD, {5.0: 1 / 6, 50.0: 1 / 51}), (torch.optim.Adam, {5.0: 1.0, 50.0: 1.0})):
        free = way(learner, support_prior=0.0)
        for prior, share in shares.items():
            assert way(learner, support_prior=prior) / free == pytest.approx(share, rel=1e-4)
        assert free > way(learner, support_least=2) == 0.0


def test_a_client_that_touches_everything_hardly_moves_the_bound() -> None:
    """Counting rows, it does: 7 of its own against 10 of others."""
    updates, _ = stacked(11, 0.0, 0)
    updates[ITEM_TABLE][range(10), [client % V for client in range(10)], 0] = 1.0
    updates[ITEM_TABLE][10] = 50.0
    for votes, quantile, expected in (("clients", 0.5, 1.0), ("clients", 0.9, 1.0), ("rows", 0.6, 50 * 3**0.5)):
        assert bound_of(updates[ITEM_TABLE].numpy(), quantile, votes) == pytest.approx(expected)
        found = rule(row_quantile=quantile, row_votes=votes).support
        assert found is not None
        touched = updates[ITEM_TABLE].any(dim=2)
        rows = found.clipped(updates[ITEM_TABLE][touched], touched.nonzero()[:, 0])
        assert float(rows.norm(dim=1).max()) == pytest.approx(expected)


@pytest.mark.parametrize("per_item", [False, True])
@settings(max_examples=20)
@given(
    n=st.integers(1, 9), share=st.sampled_from([0.3, 1.0]), seed=st.integers(0, 10**6), exponent=st.integers(-20, 20)
)
def test_order_and_scale(per_item: bool, n: int, share: float, seed: int, exponent: int) -> None:
    updates, weights = stacked(n, share, seed)
    aggregator = rule(per_item=per_item)
    before = fast(updates, weights, aggregator).update
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = fast({key: value[order] for key, value in updates.items()}, weights[order], aggregator).update
    scaled = fast({key: 2.0**exponent * value for key, value in updates.items()}, 3 * weights, aggregator).update
    for key, value in before.items():
        torch.testing.assert_close(moved[key], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scaled[key] / 2.0**exponent, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_item", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_what_no_rule_could_bear_is_left_out(per_item: bool, bad: float) -> None:
    updates, weights = stacked(9, 0.6, 2)
    hostile = {key: value.clone() for key, value in updates.items()}
    hostile[ITEM_TABLE][3, 1, 0] = bad
    honest = [client for client in range(9) if client != 3]
    alone = fast({key: value[honest] for key, value in updates.items()}, weights[honest], rule(per_item=per_item))
    for found in (fast(hostile, weights, rule(per_item=per_item)), slow(hostile, weights, rule(per_item=per_item))):
        assert found.kept.nonzero().flatten().tolist() == honest
        for key, value in alone.update.items():
            torch.testing.assert_close(found.update[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"row_quantile": 0.9}, {"row_votes": "rows"}, {"row_rule": "median"}, {"support_prior": 1.0},
               {"support_least": 5}, {"body_rule": "median"}], ids=str
)  # fmt: skip
def test_every_parameter_matters(change: dict[str, Any]) -> None:
    updates, weights = stacked(9, 0.6, 2)
    before, after = (fast(updates, weights, rule(per_item=True, **c)).update for c in ({}, change))
    assert any(not torch.allclose(before[key], after[key]) for key in before)


def test_mixed_whole_updates_have_no_support() -> None:
    with pytest.raises(ConfigError, match="'support_shrunk' with pre_aggregator 'nnm' needs per_item: expected True"):
        rule(pre_aggregator="nnm")
    updates, weights = stacked(9, 0.6, 2)
    for mix in ("nnm", "bucketing", "arc"):
        aggregator = rule(pre_aggregator=mix, per_item=True)
        found, expected = fast(updates, weights, aggregator), slow(updates, weights, aggregator)
        for key, value in expected.update.items():
            torch.testing.assert_close(found.update[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_item", [False, True])
def test_training_is_the_same_client_by_client(config: Callable[..., Any], per_item: bool) -> None:
    states = []
    for backend in ("vectorised", "loop"):
        chosen = config(backend=backend, aggregator="support_shrunk", per_item=per_item, attack="dvfsr",
                        hidden_dropout_prob=0.0, attn_dropout_prob=0.0)  # fmt: skip
        experiment = prepare_training(chosen)
        trainer = experiment.trainer(chosen)
        trainer._train_epoch(experiment.train_data, 0)
        states.append({key: value.clone() for key, value in trainer.model.state_dict().items()})
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=2e-4)


def test_the_documented_example_holds() -> None:
    failed, tried = doctest.testmod(support)
    assert (failed, tried > 0) == (0, True)
