"""Sparse client updates against the dense matrix they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recbole_attack.federated import client_updates
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates, concatenate
from recbole_attack.federated.memory import Memory

N_ITEMS, HIDDEN = 9, 3
SHAPES = {"first.weight": (2, 3), ITEM_TABLE: (N_ITEMS, HIDDEN), "last.bias": (4,)}
"""The item table stands between other parameters, and its place in a flat update matters."""


def stacked(n_clients: int, share: float, seed: int) -> dict[str, torch.Tensor]:
    """Whole updates of clients that touched about ``share`` of the items."""
    generator = torch.Generator().manual_seed(seed)
    updates = {name: torch.randn(n_clients, *shape, generator=generator) for name, shape in SHAPES.items()}
    updates[ITEM_TABLE] *= torch.rand(n_clients, N_ITEMS, 1, generator=generator) < share
    return updates


def flat(updates: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten(1) for value in updates.values()], dim=1)


def any_updates(test: Callable[..., None]) -> Callable[..., None]:
    cases = given(n=st.integers(1, 7), share=st.sampled_from([0.0, 0.2, 0.6, 1.0]), seed=st.integers(0, 10**6))
    return settings(max_examples=40, deadline=None)(cases(test))


@any_updates
def test_the_rows_kept_are_those_touched(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    updates = ClientUpdates.from_stacked(whole)
    assert len(updates) == n
    pairs = list(zip(updates.client.tolist(), updates.item.tolist(), strict=True))
    table = whole[ITEM_TABLE]
    assert pairs == [(c, i) for c in range(n) for i in range(N_ITEMS) if table[c, i].abs().sum() > 0]
    assert updates.dense.shape == (n, 10)
    assert torch.equal(updates.to_dense(), flat(whole))


@any_updates
def test_gram_and_norms_are_those_of_the_dense_updates(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    gram = ClientUpdates.from_stacked(whole).gram()
    matrix = flat(whole).double()
    assert gram.dtype == torch.float64
    torch.testing.assert_close(gram, matrix @ matrix.T, rtol=1e-5, atol=1e-5)
    assert torch.equal(gram, gram.T)
    torch.testing.assert_close(ClientUpdates.from_stacked(whole).norms(), matrix.norm(dim=1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_leave_updates_of_any_type_as_they_are(dtype: torch.dtype) -> None:
    whole = {name: value.to(dtype) for name, value in stacked(5, 0.5, 1).items()}
    updates = ClientUpdates.from_stacked(whole)
    assert torch.equal(updates.norms(), updates.norms())
    assert torch.equal(updates.to_dense(), flat(whole))


@pytest.mark.parametrize("seed", range(3))
def test_rows_taken_apart_and_put_together(seed: int) -> None:
    whole, items = stacked(5, 0.5, seed), torch.tensor([0, 3, 4])
    updates, dense = ClientUpdates.from_stacked(whole), flat(whole)
    here = torch.zeros_like(whole[ITEM_TABLE], dtype=torch.bool)
    here[:, items] = True
    zero = {name: torch.zeros_like(value) for name, value in whole.items()}
    alone = flat({**zero, ITEM_TABLE: torch.where(here, whole[ITEM_TABLE], 0.0)})
    assert torch.equal(updates.only_items(items).to_dense(), alone)
    assert torch.equal(updates.without_items(items).to_dense(), dense - alone)
    assert torch.equal(updates.only_items(items).plus(updates.without_items(items)).to_dense(), dense)
    other = stacked(5, 0.3, seed + 10)
    total = updates.plus(ClientUpdates.from_stacked(other))
    torch.testing.assert_close(total.to_dense(), dense + flat(other))
    keys = (total.client * 1000 + total.item).tolist()
    assert keys == sorted(set(keys)), "each pair once, in order"
    factors = torch.tensor([0.0, 1.0, -2.0, 0.5, 3.0])
    assert torch.equal(updates.times(factors).to_dense(), factors[:, None] * dense)
    assert torch.equal(updates.to_dense(), dense)
    for one, row in zip(updates.separate(), range(5), strict=True):
        assert all(torch.equal(one[name], value[row]) for name, value in whole.items())


def test_gram_of_more_clients_and_columns_than_a_tile_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"weight": torch.randn(71, 5000), ITEM_TABLE: torch.randn(71, 20, HIDDEN)}
    matrix = flat(whole).double()
    monkeypatch.setattr(client_updates, "_BLOCK_ENTRIES", 71 * 71 * 3)
    gram = ClientUpdates.from_stacked(whole).gram()
    torch.testing.assert_close(gram, matrix @ matrix.T, rtol=1e-5, atol=1e-4)


def test_the_gram_keeps_its_precision_over_many_columns() -> None:
    """Partial sums are float64: the error of a sum of 400 000 products stays that of a few thousand."""
    dense = torch.rand(2, 400_000, generator=torch.Generator().manual_seed(0))
    whole = {"weight": dense, ITEM_TABLE: torch.zeros(2, 1, HIDDEN)}
    exact = dense.double() @ dense.double().T
    assert ((ClientUpdates.from_stacked(whole).gram() - exact).abs() / exact).max() < 1e-6


@any_updates
def test_the_weighted_sum_is_that_of_the_dense_updates(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    weights = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    total = ClientUpdates.from_stacked(whole).weighted_sum(weights)
    assert list(total) == list(SHAPES)
    for name, value in total.items():
        expected = torch.tensordot(weights, whole[name].double(), dims=1).float()
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


@any_updates
def test_selected_clients_are_numbered_anew(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    keep = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5
    selected = ClientUpdates.from_stacked(whole).select(keep)
    assert len(selected) == int(keep.sum())
    assert torch.equal(selected.to_dense(), flat(whole)[keep])
    assert torch.equal(selected.gram(), ClientUpdates.from_stacked({k: v[keep] for k, v in whole.items()}).gram())


def test_an_empty_selection_sums_to_zero() -> None:
    none = ClientUpdates.from_stacked(stacked(3, 0.5, 0)).select(torch.zeros(3, dtype=torch.bool))
    assert len(none) == 0 and none.gram().shape == (0, 0) and none.norms().shape == none.is_finite().shape == (0,)
    assert list(none.item_blocks()) == list(none.item_blocks(padded=True)) == []
    assert none.to_dense().shape == (0, 10 + N_ITEMS * HIDDEN)
    total = none.weighted_sum(torch.zeros(0))
    assert {name: tuple(value.shape) for name, value in total.items()} == SHAPES
    assert not any(value.any() for value in total.values())


@any_updates
def test_parts_concatenate_in_order(n: int, share: float, seed: int) -> None:
    parts = [stacked(size, share, seed + size) for size in (n, 1, 3)]
    whole = concatenate([ClientUpdates.from_stacked(part) for part in parts])
    assert torch.equal(whole.to_dense(), torch.cat([flat(part) for part in parts]))
    assert (whole.client.diff() >= 0).all()
    keep = torch.arange(n + 4) % 2 == 0
    assert torch.equal(whole.select(keep).to_dense(), whole.to_dense()[keep])


@any_updates
def test_item_blocks_hold_every_row_once(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    found, items = torch.zeros(n, N_ITEMS, HIDDEN), []
    for block in ClientUpdates.from_stacked(whole).item_blocks():
        assert block.clients.shape == block.rows.shape[:2] == (len(block.items), block.clients.shape[1])
        assert (block.clients.diff(dim=1) > 0).all()
        found[block.clients, block.items[:, None]] += block.rows
        items += block.items.tolist()
    assert torch.equal(found, whole[ITEM_TABLE])
    assert sorted(items) == whole[ITEM_TABLE].any(dim=(0, 2)).nonzero().flatten().tolist()


@any_updates
def test_padded_blocks_give_coordinate_wise_rules(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    median = np.zeros((N_ITEMS, HIDDEN), dtype=np.float32)
    for block in ClientUpdates.from_stacked(whole).item_blocks(padded=True):
        assert torch.equal(block.clients, torch.arange(n).expand(len(block.items), n))
        median[block.items] = np.median(block.rows.numpy(), axis=1)
    assert np.array_equal(median, np.median(whole[ITEM_TABLE].numpy(), axis=0))


def test_item_blocks_are_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_updates, "_BLOCK_ENTRIES", 2 * 5 * 5)
    updates = ClientUpdates.from_stacked(stacked(5, 1.0, 0))
    assert [len(block.items) for block in updates.item_blocks()] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", list(SHAPES))
def test_clients_that_are_not_finite_are_found(name: str, value: float) -> None:
    whole = stacked(5, 0.5, 1)
    whole["first.weight"][0] = 3e38  # finite, although its sum and its norm are not
    whole[name][2].view(-1)[1] = value
    assert ClientUpdates.from_stacked(whole).is_finite().tolist() == [True, True, False, True, True]


@any_updates
def test_reordered_clients_keep_their_updates(n: int, share: float, seed: int) -> None:
    whole = stacked(n, share, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = ClientUpdates.from_stacked(whole).reordered(order)
    assert torch.equal(moved.to_dense()[order], flat(whole))
    assert (moved.client.diff() >= 0).all()
    pairs = list(zip(moved.client.tolist(), moved.item.tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_rows_of_zeros_can_be_left_out() -> None:
    updates = ClientUpdates.from_stacked(stacked(5, 0.6, 0))
    updates.rows[::2] = 0.0
    updates.rows[1] = float("nan")
    left = updates.without_zero_rows()
    assert torch.equal(left.to_dense().nan_to_num(), updates.to_dense().nan_to_num())
    assert len(left.rows) == len(updates.rows) // 2 and left.rows[0].isnan().all()


def test_memory_is_used_again_and_grows() -> None:
    memory, model = Memory(), nn.ModuleDict({"item_embedding": nn.Embedding(9, 3), "out": nn.Linear(3, 2)})
    first = memory.take(4, model)
    assert first.shape == (4, 8) and memory.take(3, model).data_ptr() == first.data_ptr()
    assert memory.take(5, model).shape == (5, 8) and memory.take(4, model).shape == (4, 8)
    assert memory.take(4, nn.Linear(3, 3)).shape == (4, 12)
    assert memory.take(4, model.double()).dtype == torch.float64


def test_parts_stand_in_given_memory_without_a_copy_where_they_were_written_there() -> None:
    parts, memory = [ClientUpdates.from_stacked(stacked(n, 0.5, n)) for n in (2, 3)], torch.zeros(5, 10)
    expected = concatenate(parts).to_dense()
    places = memory.split([2, 3])
    memory[:2] = parts[0].dense
    written = replace(parts[0], dense=memory[:2]).stored_in(places[0])
    whole = concatenate([written, parts[1].stored_in(places[1])], memory)
    assert torch.equal(whole.to_dense(), expected) and whole.dense.data_ptr() == memory.data_ptr()
