"""The server: sparse and batched against one update and one item after another, and what hostile ones do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hostile.uploads import REJECTED
from hypothesis import given, settings
from hypothesis import strategies as st
from item_rows import asked

from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS, Aggregator, Known, configured_aggregator
from recbole_attack.federated import client_updates
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import Aggregated, aggregate
from recbole_attack.utils.errors import ConfigError

N_ITEMS, HIDDEN = 9, 3
SHAPES = {"first.weight": (2, 3), ITEM_TABLE: (N_ITEMS, HIDDEN), "last.bias": (4,)}
PARAMETERS = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
DEFAULTS = {name: AttackConfig(config_dict={"aggregator": name}).final_config_dict for name in AGGREGATORS}
ROBUST = ["geometric_median", "median", "trimmed_mean", "krum", "multi_krum", "norm_clipping"]
CLIPPED_ROWS = ("support_shrunk", "hics")
LOOSE = {"exposure_quota": {"quota_factor": 1e9, "quota_topk": None}}
"""Parameters with which a rule leaves no row out for what it would do."""

SHRINKING = ("sum", "norm_clipping", *CLIPPED_ROWS, "exposure_quota", "centered_clipping")
Stacked = dict[str, torch.Tensor]
TABLE = torch.randn(N_ITEMS, HIDDEN, generator=torch.Generator().manual_seed(1))
ONES = {name: torch.ones(shape) for name, shape in SHAPES.items()}
KNOWN = Known(TABLE, lambda items, rows: TABLE[items] - rows, ONES, partial(asked, TABLE), 4)

each = pytest.mark.parametrize("name", AGGREGATORS)
either_way = pytest.mark.parametrize("per_item", [False, True], ids=["whole", "per item"])


def rule(name: str, per_item: bool, **changes: Any) -> Aggregator:
    if per_item and AGGREGATORS[name](DEFAULTS[name]).whole_only:
        pytest.skip("whole updates only")
    found = configured_aggregator({**DEFAULTS[name], "per_item": per_item, **changes})
    return replace(found, known=KNOWN)


def stacked(n_clients: int, share: float = 0.6, seed: int = 0) -> Stacked:
    """Whole updates of clients that touched about ``share`` of the items."""
    generator = torch.Generator().manual_seed(seed)
    updates = {name: torch.randn(n_clients, *shape, generator=generator) for name, shape in SHAPES.items()}
    updates[ITEM_TABLE] *= torch.rand(n_clients, N_ITEMS, 1, generator=generator) < share
    return updates


def weights_of(n_clients: int, seed: int = 0) -> torch.Tensor:
    return 0.5 + torch.rand(n_clients, generator=torch.Generator().manual_seed(seed))


def sent(updates: Stacked) -> list[Stacked]:
    """What each client sends."""
    return [{name: value[client] for name, value in updates.items()} for client in range(len(updates[ITEM_TABLE]))]


def fast(updates: Stacked, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    return aggregate(ClientUpdates.from_stacked(updates), weights, aggregator)


def slow(updates: Stacked, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    return aggregate_one_by_one(sent(updates), weights, aggregator, PARAMETERS)


@contextmanager
def in_places(places: torch.Tensor) -> Iterator[None]:
    """Clients have these places in the round's random order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aggregator, "places", lambda rule, weights: places)
        yield


def assert_same(a: Aggregated, b: Aggregated, atol: float = 1e-4) -> None:
    assert list(a.update) == list(b.update) == list(SHAPES)
    for name in SHAPES:
        torch.testing.assert_close(a.update[name], b.update[name], rtol=1e-4, atol=atol)
    assert a.kept.tolist() == b.kept.tolist()
    assert dict(a.rejected) == dict(b.rejected)
    assert a.frozen == b.frozen
    assert (a.client_weights is None) == (b.client_weights is None)
    if a.client_weights is not None and b.client_weights is not None:
        torch.testing.assert_close(a.client_weights, b.client_weights, rtol=1e-3, atol=1e-3)


def rounds(test: Callable[..., None]) -> Callable[..., None]:
    cases = given(n=st.integers(1, 9), share=st.sampled_from([0.0, 0.2, 0.6, 1.0]), seed=st.integers(0, 10**6))
    return settings(max_examples=25)(cases(test))


# Fast and slow


@each
@either_way
@rounds
def test_side_by_side_is_one_by_one(name: str, per_item: bool, n: int, share: float, seed: int) -> None:
    updates, weights = stacked(n, share, seed), weights_of(n, seed)
    assert_same(fast(updates, weights, rule(name, per_item)), slow(updates, weights, rule(name, per_item)))


@pytest.mark.parametrize("backend", [fast, slow])
@pytest.mark.parametrize(
    ("name", "per_item", "clients"), [("krum", True, 2), ("multi_krum", True, 3), ("krum", False, 3)]
)
def test_a_tie_goes_to_whom_chance_puts_first(
    backend: Callable[..., Aggregated], name: str, per_item: bool, clients: int
) -> None:
    """Malicious clients come last, and are alike to honest ones here: nobody is chosen more often than the others."""
    chosen, rounds = torch.zeros(clients), 600
    for index in range(rounds):
        updates = stacked(clients, 1.0, index)
        found = backend(updates, torch.ones(clients), rule(name, per_item).in_round(0, index)).update[ITEM_TABLE]
        chosen += (updates[ITEM_TABLE] - found).norm(dim=2)[:, 1] < 1e-5
    assert chosen.sum() == rounds
    assert (chosen - rounds / clients).abs().max() < 4 * (rounds / clients * (1 - 1 / clients)) ** 0.5


@each
@either_way
@pytest.mark.parametrize("entries", [1, 40, 10**7])
def test_the_size_of_batches_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, per_item: bool, entries: int
) -> None:
    updates, weights, aggregator = stacked(12), weights_of(12), rule(name, per_item)
    expected = fast(updates, weights, aggregator)
    monkeypatch.setattr(client_updates, "_BLOCK_ENTRIES", entries)
    monkeypatch.setattr("recbole_attack.defense.aggregator._BLOCK_ENTRIES", entries)
    assert_same(fast(updates, weights, aggregator), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["median", "krum"])
@either_way
def test_nothing_as_large_as_all_tables_is_built(name: str, per_item: bool) -> None:
    """2000 clients of a catalogue of a million: 64 GB, were they whole."""
    n, n_items, hidden = 2000, 10**6, 8
    client = torch.arange(n).repeat_interleave(2)
    item = torch.stack([torch.arange(n) * 7, torch.full((n,), n_items - 1)], dim=1).flatten()
    shapes = {"dense": torch.Size([2]), ITEM_TABLE: torch.Size([n_items, hidden])}
    updates = ClientUpdates(shapes, torch.ones(n, 2), client, item, torch.ones(len(item), hidden))
    table = aggregate(updates, torch.ones(n), rule(name, per_item)).update[ITEM_TABLE]
    assert table[-1].tolist() == [1.0] * hidden
    assert int(table.any(dim=1).sum()) == (n + 1 if per_item else 1 + (name == "krum"))


# What per item means


def touching(updates: Stacked, item: int) -> list[int]:
    return [c for c, table in enumerate(updates[ITEM_TABLE].tolist()) if any(table[item])]


@rounds
def test_the_mean_of_an_item_is_that_of_the_clients_that_touched_it(n: int, share: float, seed: int) -> None:
    updates, weights = stacked(n, share, seed), weights_of(n, seed)
    table = fast(updates, weights, rule("mean", True)).update[ITEM_TABLE]
    for item in range(N_ITEMS):
        clients = touching(updates, item)
        total = sum(float(weights[c]) for c in clients)
        for h in range(HIDDEN):
            pulls = sum(float(weights[c]) * float(updates[ITEM_TABLE][c, item, h]) for c in clients)
            assert float(table[item, h]) == pytest.approx(pulls / total if clients else 0.0, abs=1e-5)


@rounds
def test_the_median_of_an_item_is_numpys_over_the_clients_that_touched_it(n: int, share: float, seed: int) -> None:
    updates = stacked(n, share, seed)
    found = {way: fast(updates, weights_of(n), rule("median", way)).update for way in (False, True)}
    for item in range(N_ITEMS):
        rows, clients = updates[ITEM_TABLE][:, item].numpy(), touching(updates, item)
        expected = np.median(rows[clients], axis=0) if clients else np.zeros(HIDDEN)
        assert np.allclose(found[True][ITEM_TABLE][item], expected, atol=1e-6)
        assert np.allclose(found[False][ITEM_TABLE][item], np.median(rows, axis=0), atol=1e-6)


@each
def test_dense_parameters_are_aggregated_as_they_would_be_without_items(name: str) -> None:
    updates, weights = stacked(11), weights_of(11)
    found = fast(updates, weights, rule(name, True))
    without = {**updates, ITEM_TABLE: torch.zeros_like(updates[ITEM_TABLE])}
    expected = fast(without, weights, rule(name, False))
    assert not found.update[ITEM_TABLE].isnan().any() and not expected.update[ITEM_TABLE].any()
    for key in ("first.weight", "last.bias"):
        torch.testing.assert_close(found.update[key], expected.update[key], rtol=1e-4, atol=1e-5)


def test_a_sum_is_the_same_either_way() -> None:
    updates, weights = stacked(8), weights_of(8)
    a, b = (fast(updates, weights, rule("sum", per_item)) for per_item in (False, True))
    assert_same(a, b, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in ("sum", *CLIPPED_ROWS)])
@pytest.mark.parametrize("backend", [fast, slow])
def test_a_client_that_alone_touches_an_item_decides_its_row(name: str, backend: Any) -> None:
    """The known weakness: nobody is there to outvote it. Over whole updates a robust rule hardly moves."""
    updates, hostile = stacked(10), 37.0 * torch.ones(HIDDEN)
    updates[ITEM_TABLE][:, 5] = 0.0
    updates[ITEM_TABLE][3, 5] = hostile
    row = backend(updates, torch.ones(10), rule(name, True)).update[ITEM_TABLE][5]
    torch.testing.assert_close(row, hostile)
    if name in ROBUST:
        row = backend(updates, torch.ones(10), rule(name, False)).update[ITEM_TABLE][5]
        assert row.norm() < 0.2 * hostile.norm()


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in CLIPPED_ROWS])
@pytest.mark.parametrize("backend", [fast, slow])
def test_a_row_of_zeros_is_not_touched(name: str, backend: Any) -> None:
    updates = stacked(6, 1.0)
    updates[ITEM_TABLE][:4, 2] = 0.0
    updates[ITEM_TABLE][4:, 2] = torch.tensor([1.0, 2.0, 3.0])
    expected = 2 if name == "sum" else 1
    row = backend(updates, torch.ones(6), rule(name, True, **LOOSE.get(name, {}))).update[ITEM_TABLE][2]
    assert row.tolist() == pytest.approx([expected, 2 * expected, 3 * expected])


def test_a_stored_row_of_zeros_is_not_touched_either() -> None:
    updates = ClientUpdates.from_stacked(stacked(6, 1.0))
    updates.rows[updates.item == 2] = 0.0
    updates.rows[(updates.item == 2) & (updates.client > 3)] = 1.0
    for name in AGGREGATORS:
        if name not in ("sum", *CLIPPED_ROWS) and not AGGREGATORS[name](DEFAULTS[name]).whole_only:
            found = aggregate(updates, torch.ones(6), rule(name, True, **LOOSE.get(name, {})))
            assert found.update[ITEM_TABLE][2].tolist() == [1.0] * HIDDEN


@each
@rounds
def test_the_order_of_clients_does_not_matter(name: str, n: int, share: float, seed: int) -> None:
    updates, weights, aggregator = stacked(n, share, seed), weights_of(n, seed), rule(name, True)
    order, places = (torch.randperm(n, generator=torch.Generator().manual_seed(seed + each)) for each in (0, 1))
    with in_places(places[order]):
        moved = fast({key: value[order] for key, value in updates.items()}, weights[order], aggregator)
    with in_places(places):
        found = fast(updates, weights, aggregator)
    for key, value in found.update.items():
        torch.testing.assert_close(moved.update[key], value, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in SHRINKING])
@rounds
def test_an_item_moves_along_with_its_clients(name: str, n: int, share: float, seed: int) -> None:
    """Shifting one item's rows shifts that item alone, by as much, and it alone; clients without it stay without it."""
    updates, weights, aggregator = stacked(n, share, seed), weights_of(n, seed), rule(name, True)
    shift, clients = torch.tensor([0.5, -1.0, 2.0]), touching(updates, 4)
    before = fast(updates, weights, aggregator).update[ITEM_TABLE]
    updates[ITEM_TABLE][clients, 4] += shift
    after = fast(updates, weights, aggregator).update[ITEM_TABLE]
    others = [item for item in range(N_ITEMS) if item != 4]
    assert torch.equal(after[others], before[others]) or torch.allclose(after[others], before[others], atol=2e-3)
    expected = before[4] + shift if clients else torch.zeros(HIDDEN)
    torch.testing.assert_close(after[4], expected, rtol=1e-3, atol=5e-3)


# Hostile updates


each_attack = pytest.mark.parametrize("attack", REJECTED)


@each_attack
@either_way
@pytest.mark.parametrize("name", [*ROBUST, "mixed_rfa"])
@pytest.mark.parametrize("count", [1, 4])
def test_hostile_updates_are_left_out(name: str, per_item: bool, attack: str, count: int) -> None:
    """Of 9 clients, one or four are hostile: the round is that of the others alone, and the server knows why."""
    updates, weights, (spoil, reason) = stacked(9), weights_of(9), REJECTED[attack]
    hostile = [1, 2, 5, 7][:count]
    honest = [c for c in range(9) if c not in hostile]
    received = [spoil(update) if c in hostile else update for c, update in enumerate(sent(updates))]
    places = torch.randperm(9, generator=torch.Generator().manual_seed(count))
    with in_places(places):
        found = aggregate_one_by_one(received, weights, rule(name, per_item), PARAMETERS)
    assert found.kept.nonzero().flatten().tolist() == honest
    assert dict(found.rejected) == {reason: count}
    with in_places(places[honest]):
        alone = slow({key: value[honest] for key, value in updates.items()}, weights[honest], rule(name, per_item))
    for key, value in alone.update.items():
        torch.testing.assert_close(found.update[key], value, rtol=1e-4, atol=1e-5)
    if found.client_weights is not None:
        assert not found.client_weights[hostile].any() and found.client_weights.dtype == torch.float64
        torch.testing.assert_close(found.client_weights[honest], alone.client_weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attack", ["nan", "inf in an item", "huge"])
@either_way
@pytest.mark.parametrize("name", [*ROBUST, "mixed_rfa"])
def test_side_by_side_leaves_out_the_same(name: str, per_item: bool, attack: str) -> None:
    updates, weights = sent(stacked(9)), weights_of(9)
    updates[0], updates[6] = REJECTED[attack][0](updates[0]), REJECTED[attack][0](updates[6])
    whole = {key: torch.stack([update[key] for update in updates]) for key in SHAPES}
    found = fast(whole, weights, rule(name, per_item))
    assert found.kept.tolist() == [False, *[True] * 5, False, True, True]
    assert_same(found, slow(whole, weights, rule(name, per_item)))


@each_attack
@either_way
@each
def test_a_round_without_any_readable_update_is_zero(name: str, per_item: bool, attack: str) -> None:
    spoil, reason = REJECTED[attack]
    if name in ("mean", "sum") and reason in ("not finite", "too large"):
        pytest.skip("rules that reject no values")
    received = [spoil(update) for update in sent(stacked(3))]
    found = aggregate_one_by_one(received, torch.ones(3), rule(name, per_item), PARAMETERS)
    assert not found.kept.any() and dict(found.rejected) == {reason: 3}
    assert {key: tuple(value.shape) for key, value in found.update.items()} == SHAPES
    assert not any(value.any() for value in found.update.values())
    if reason in ("not finite", "too large") and "float64" not in attack:
        whole = {key: torch.stack([update[key] for update in received]) for key in SHAPES}
        assert_same(fast(whole, torch.ones(3), rule(name, per_item)), found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_are_converted(dtype: torch.dtype) -> None:
    updates = {key: value.to(dtype) for key, value in stacked(5).items()}
    found = slow(updates, torch.ones(5), rule("median", False))
    assert found.kept.all() and not found.rejected
    expected = slow({key: value.float() for key, value in updates.items()}, torch.ones(5), rule("median", False))
    for key, value in found.update.items():
        assert value.dtype == torch.float32 and torch.equal(value, expected.update[key])


def test_reasons_are_counted() -> None:
    received = sent(stacked(9))
    for client, attack in enumerate(("nan", "transposed", "huge", "nan")):
        received[client] = REJECTED[attack][0](received[client])
    found = aggregate_one_by_one(received, torch.ones(9), rule("krum", False), PARAMETERS)
    assert dict(found.rejected) == {"not finite": 2, "wrong shape": 1, "too large": 1}


@pytest.mark.parametrize("name", ["mean", "sum"])
def test_a_mean_rejects_what_it_cannot_read_and_no_value(name: str) -> None:
    received = sent(stacked(4))
    received[1], received[2] = REJECTED["transposed"][0](received[1]), REJECTED["nan"][0](received[2])
    found = aggregate_one_by_one(received, torch.ones(4), rule(name, False), PARAMETERS)
    assert found.kept.tolist() == [True, False, True, True] and found.update["last.bias"].isnan().any()


def test_per_item_needs_items() -> None:
    with pytest.raises(
        ConfigError, match=r"per_item needs item embeddings: expected item_embedding\.weight, found last"
    ):
        aggregate_one_by_one([], torch.ones(0), rule("median", True), {"last": torch.zeros(1)})


# What stands still


def with_zeros(clients: int, zeros: int) -> Stacked:
    """Updates of which the last send zeros alone."""
    updates = stacked(clients)
    for value in updates.values():
        value[clients - zeros :] = 0.0
    return updates


@pytest.mark.parametrize("backend", [fast, slow])
@pytest.mark.parametrize("name", ["krum", "multi_krum"])
def test_krum_takes_zeros_once_a_client_sends_them_and_says_so(backend: Any, name: str) -> None:
    """Zero is nearer to all than they are to each other; per item it is no touch, and dense parameters alone stop."""
    updates, changes = with_zeros(9, 1), {"krum_selected": 1} if name == "multi_krum" else {}
    whole = backend(updates, torch.ones(9), rule(name, False, **changes))
    assert whole.client_weights.tolist() == [0.0] * 8 + [1.0] and whole.kept.all() and not whole.rejected
    assert whole.frozen == tuple(SHAPES) and not any(value.any() for value in whole.update.values())
    per_item = backend(updates, torch.ones(9), rule(name, True, **changes))
    assert per_item.frozen == ("first.weight", "last.bias") and per_item.update[ITEM_TABLE].any()


@pytest.mark.parametrize("backend", [fast, slow])
@either_way
@pytest.mark.parametrize("name", ROBUST)
def test_most_clients_sending_zeros_stop_a_robust_rule_which_says_so(backend: Any, name: str, per_item: bool) -> None:
    """The median norm is 0 then, and clips everything to it."""
    updates = with_zeros(9, 8)
    found = backend(updates, torch.ones(9), rule(name, per_item))
    dense = ("first.weight", "last.bias")
    assert found.frozen == (dense if per_item else tuple(SHAPES))
    assert found.update[ITEM_TABLE].any() == per_item and not found.update["last.bias"].any()


@pytest.mark.parametrize("backend", [fast, slow])
def test_a_median_leaves_items_alone_that_few_clients_touch(backend: Any) -> None:
    updates = stacked(9)
    updates[ITEM_TABLE][3:] = 0.0
    assert backend(updates, torch.ones(9), rule("median", False)).frozen == (ITEM_TABLE,)
    assert backend(updates, torch.ones(9), rule("median", True)).frozen == ()


@pytest.mark.parametrize("backend", [fast, slow])
@either_way
@each
def test_nothing_is_frozen_where_nobody_sends_anything_or_what_they_send_counts(
    backend: Any, name: str, per_item: bool
) -> None:
    assert backend(with_zeros(5, 5), torch.ones(5), rule(name, per_item)).frozen == ()
    assert backend(stacked(5, 1.0), torch.ones(5), rule(name, per_item)).frozen == ()


@each
@either_way
@rounds
def test_frozen_is_zero_though_a_kept_client_sent_something(
    name: str, per_item: bool, n: int, share: float, seed: int
) -> None:
    updates, zeros = stacked(n, share, seed), np.random.default_rng(seed).random((n, len(SHAPES))) < 0.6
    for column, value in enumerate(updates.values()):
        value[zeros[:, column]] = 0.0
    updates["last.bias"][0, 0] = float("nan")
    found = fast(updates, torch.ones(n), rule(name, per_item))
    still = [
        key
        for key, value in found.update.items()
        if not any(value.flatten().tolist()) and any(updates[key][found.kept].flatten().tolist())
    ]
    assert list(found.frozen) == ([] if name in ("mean", "sum") else still)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("backend", [fast, slow])
@each
def test_weights_are_positive(name: str, backend: Any, weight: float) -> None:
    with pytest.raises(ValueError, match=f"weights of clients must be positive numbers: found {weight:g}"):
        backend(stacked(3), torch.tensor([1.0, weight, 1.0]), rule(name, False))


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in (*CLIPPED_ROWS, "fl_trust")])
@either_way
@pytest.mark.parametrize("backend", [fast, slow])
def test_one_client_is_the_round_even_with_one_that_is_left_out(name: str, per_item: bool, backend: Any) -> None:
    """Its weight is no factor, except in a sum."""
    updates = stacked(2, 1.0)
    if name not in ("mean", "sum"):
        updates["last.bias"][1] = float("nan")
    else:
        updates = {key: value[:1] for key, value in updates.items()}
    weights = torch.tensor([3.0, 5.0])[: len(updates["last.bias"])]
    found = backend(updates, weights, rule(name, per_item))
    for key, value in found.update.items():
        torch.testing.assert_close(value, (3.0 if name == "sum" else 1.0) * updates[key][0])
    assert found.frozen == () and found.iterations == 0
