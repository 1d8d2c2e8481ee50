"""Client updates side by side, as rules need them that look at single clients.

A sequential recommender's parameters are mostly the item embeddings, and one client's update is zero for every item
it did not touch. So the item table is kept as the rows that were touched, everything else as a matrix, and nothing of
size ``N x V x H`` exists at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from recbole_attack.defense import gram_matrix, squared_norms

ITEM_LAYER = "item_embedding"
ITEM_TABLE = f"{ITEM_LAYER}.weight"
"""The item embeddings, by the name RecBole's models give them."""

_BLOCK_ENTRIES = 1 << 22


class ItemBlock(NamedTuple):
    """``G`` items and ``C`` of their clients each.

    Attributes:
        items: ``[G]`` item ids.
        clients: ``[G, C]`` clients, in ascending order.
        rows: ``[G, C, H]`` their updates of the item's embedding.
    """

    items: torch.Tensor
    clients: torch.Tensor
    rows: torch.Tensor

    def padded(self, n_clients: int) -> ItemBlock:
        """All clients ``0..n_clients-1``, with a row of zeros where they were not in the block.

        In memory, a coordinate's values of all clients stand side by side: what is done to them is sorting.
        """
        rows = self.rows.transpose(1, 2)
        full = rows.new_zeros(*rows.shape[:2], n_clients).scatter_(2, self.clients[:, None].expand_as(rows), rows)
        everyone = torch.arange(n_clients, device=full.device).expand(len(full), n_clients)
        return ItemBlock(self.items, everyone, full.transpose(1, 2))


@dataclass(frozen=True)
class ClientUpdates:
    """Updates of ``N`` clients, all on one device.

    Attributes:
        shapes: Every parameter's shape by name, in ``named_parameters`` order; ``item_embedding.weight`` is one.
        dense: ``[N, P]`` all parameters but the item table, flattened and in that order.
        client: ``[M]`` whose row it is, in ascending order.
        item: ``[M]`` which item's row it is, ascending within a client; no (client, item) twice.
        rows: ``[M, H]`` updates of item embeddings; a row not listed is zero.
    """

    shapes: Mapping[str, torch.Size]
    dense: torch.Tensor
    client: torch.Tensor
    item: torch.Tensor
    rows: torch.Tensor

    def __len__(self) -> int:
        return len(self.dense)

    @staticmethod
    def from_stacked(stacked: Mapping[str, torch.Tensor]) -> ClientUpdates:
        """Of ``N`` clients whose whole updates are at hand: parameter name -> ``[N, ...]``, rows of zeros left out."""
        table = stacked[ITEM_TABLE]
        client, item = table.any(dim=-1).nonzero(as_tuple=True)
        others = [value.flatten(1) for name, value in stacked.items() if name != ITEM_TABLE]
        dense = torch.cat(others, dim=1) if others else table.new_zeros(len(table), 0)
        shapes = {name: value.shape[1:] for name, value in stacked.items()}
        return ClientUpdates(shapes, dense, client, item, table[client, item])

    def to(self, device: torch.device) -> ClientUpdates:
        """The same on another device."""
        parts = {name: getattr(self, name).to(device) for name in ("dense", "client", "item", "rows")}
        return replace(self, **parts)

    def select(self, keep: torch.Tensor) -> ClientUpdates:
        """The clients where ``keep`` (``[N]`` bool) holds, numbered anew; no copy if all are kept."""
        if bool(keep.all()):
            return self
        number = keep.cumsum(0) - 1
        kept = keep[self.client].nonzero().squeeze(1)
        client = number[self.client[kept]]
        return replace(self, dense=self.dense[keep], client=client, item=self.item[kept], rows=self.rows[kept])

    def without_zero_rows(self) -> ClientUpdates:
        """The same updates, with rows of zeros not listed: what a client did not touch and what it left are alike."""
        return self.with_rows(self.rows.any(dim=1))

    def reordered(self, order: torch.Tensor) -> ClientUpdates:
        """Client ``c`` becomes client ``order[c]``; ``order`` is a permutation, ``[N]``."""
        order = order.to(self.client.device)
        client, place = order[self.client].sort(stable=True)
        dense = torch.empty_like(self.dense)
        dense[order] = self.dense
        return replace(self, dense=dense, client=client, item=self.item[place], rows=self.rows[place])

    def stored_in(self, memory: torch.Tensor) -> ClientUpdates:
        """With the dense part in ``memory``, ``[N, P]``: copied there, unless it was written there to begin with."""
        if memory.data_ptr() != self.dense.data_ptr():
            memory.copy_(self.dense)
        return replace(self, dense=memory)

    def times(self, factors: torch.Tensor) -> ClientUpdates:
        """Client ``c``'s update times ``factors[c]`` (``[N]``), with a dense part of its own."""
        return replace(self, dense=self.dense.clone()).scaled(factors)

    def only_items(self, items: torch.Tensor) -> ClientUpdates:
        """These items' rows of the updates, and zero for all else."""
        listed = torch.isin(self.item, items)
        return replace(self.with_rows(listed), dense=torch.zeros_like(self.dense))

    def without_items(self, items: torch.Tensor) -> ClientUpdates:
        """The updates without these items' rows."""
        return self.with_rows(~torch.isin(self.item, items))

    def with_rows(self, listed: torch.Tensor) -> ClientUpdates:
        """The updates with those rows of items alone where ``listed`` (``[M]`` bool) holds; all others are zero."""
        place = listed.nonzero().squeeze(1)
        return replace(self, client=self.client[place], item=self.item[place], rows=self.rows[place])

    def plus(self, other: ClientUpdates) -> ClientUpdates:
        """The sums of the same clients' updates."""
        n_items = self.shapes[ITEM_TABLE][0]
        keys = torch.cat([self.client * n_items + self.item, other.client * n_items + other.item])
        keys, place = torch.unique(keys, return_inverse=True)
        rows = sum_rows(place, torch.cat([self.rows, other.rows]), len(keys))
        return replace(self, dense=self.dense + other.dense, client=keys // n_items, item=keys % n_items, rows=rows)

    def followed_by(self, *others: ClientUpdates) -> ClientUpdates:
        """These clients and then those of ``others``."""
        return concatenate([self, *others])

    def moments(self) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Mean and standard deviation over clients: of the dense part, ``[P]``, and of the item table, ``[V, H]``.

        Rows that are not listed count as zeros. The deviation is that of a sample, and 0 of one client.
        """
        n, n_items = len(self), self.shapes[ITEM_TABLE][0]
        table = sum_rows(self.item, self.rows, n_items) / n
        untouched = n - torch.bincount(self.item, minlength=n_items)
        squares = sum_rows(self.item, (self.rows - table[self.item]).square(), n_items)
        squares += untouched[:, None] * table.square()
        mean = self.dense.mean(dim=0)
        spread = ((self.dense - mean).square().sum(dim=0), squares)
        of_dense, of_table = ((part / max(n - 1, 1)).sqrt() for part in spread)
        return (mean, table), (of_dense, of_table)

    def filled(self, dense: torch.Tensor, table: torch.Tensor) -> ClientUpdates:
        """The same clients with the same rows listed, all with the numbers of ``dense`` ``[P]`` and ``table``."""
        return replace(self, dense=dense.repeat(len(self), 1), rows=table[self.item])

    def scaled(self, factors: torch.Tensor) -> ClientUpdates:
        """Client ``c``'s update times ``factors[c]`` (``[N]``); the dense part is changed where it stands."""
        factors = factors.to(self.dense)
        self.dense.mul_(factors[:, None])
        return replace(self, rows=self.rows * factors[self.client, None])

    def is_finite(self) -> torch.Tensor:
        """``[N]`` whether nothing in the client's update is NaN or infinite."""
        finite = _largest(self.dense).isfinite()
        broken = ~_largest(self.rows).isfinite()
        finite[self.client[broken]] = False
        return finite

    def norms(self) -> torch.Tensor:
        """``[N]`` Euclidean norms of the whole updates, float64."""
        return self.squared_norms().sqrt()

    def squared_norms(self) -> torch.Tensor:
        """``[N]`` squares of :meth:`norms`, float64."""
        rows = self.rows.to(torch.float64, copy=True).square_().sum(dim=1)
        return squared_norms(self.dense).index_add_(0, self.client, rows)

    def gram(self) -> torch.Tensor:
        """``[N, N]`` inner products of the whole updates, float64.

        Dense parts are multiplied by ``gram_matrix``; the products of item rows are
        float64 throughout.
        """
        n = len(self)
        gram = gram_matrix(self.dense).flatten()
        for block in self.item_blocks():
            rows = block.rows.double()
            pairs = block.clients[:, :, None] * n + block.clients[:, None, :]
            gram.index_add_(0, pairs.flatten(), (rows @ rows.transpose(1, 2)).flatten())
        return gram.view(n, n)

    def products(self, update: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """``[N]`` inner products of the whole updates with another one by parameter name, float64."""
        parts = [update[name].flatten() for name in self.shapes if name != ITEM_TABLE]
        other = torch.cat([self.dense.new_zeros(0), *parts]).double()
        found = self.dense.new_zeros(len(self), dtype=torch.float64)
        for mine, theirs in zip(self.dense.split(4096, dim=1), other.split(4096), strict=True):
            found += mine.double() @ theirs
        return found.index_add_(0, self.client, (self.rows.double() * update[ITEM_TABLE][self.item]).sum(dim=1))

    def weighted_sum(self, weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """``sum_c weights[c] * update_c`` by parameter name, the item table dense.

        Args:
            weights: ``[N]`` factors, of any float dtype.
        """
        weights = weights.to(self.dense)
        table = sum_rows(self.item, self.rows * weights[self.client, None], self.shapes[ITEM_TABLE][0])
        return self.unflatten(weights @ self.dense, table)

    def unflatten(self, dense: torch.Tensor, table: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parameter name -> tensor, from one update's ``[P]`` dense part and its ``[V, H]`` item table."""
        others = {name: shape for name, shape in self.shapes.items() if name != ITEM_TABLE}
        pieces = iter(dense.split([shape.numel() for shape in others.values()]))
        return {name: table if name == ITEM_TABLE else next(pieces).view(shape) for name, shape in self.shapes.items()}

    def separate(self) -> list[dict[str, torch.Tensor]]:
        """Every client's whole update by parameter name. Of size ``N x V x H``: for small models only."""
        tables = self.rows.new_zeros(len(self), *self.shapes[ITEM_TABLE])
        tables[self.client, self.item] = self.rows
        return [self.unflatten(dense, table) for dense, table in zip(self.dense, tables, strict=True)]

    def to_dense(self) -> torch.Tensor:
        """``[N, all parameters]``, in ``named_parameters`` order; as :meth:`separate`."""
        whole = self.separate()
        if not whole:
            return self.dense.new_zeros(0, sum(shape.numel() for shape in self.shapes.values()))
        return torch.stack([torch.cat([value.flatten() for value in update.values()]) for update in whole])

    def mixed_blocks(self, matrix: torch.Tensor) -> Iterator[ItemBlock]:
        """Every touched item's rows of ``M`` updates that are sums of clients', in batches as :meth:`item_blocks`.

        Args:
            matrix: ``[M, N]``, a row for each new update.
        """
        by_client = matrix.T.to(self.rows)
        everyone = torch.arange(len(matrix), device=self.rows.device)
        for block in self.item_blocks(height=len(matrix)):
            rows = by_client[block.clients].mT @ block.rows
            yield ItemBlock(block.items, everyone.expand(len(rows), -1), rows)

    def item_blocks(self, padded: bool = False, height: int | None = None) -> Iterator[ItemBlock]:
        """Every touched item once, in batches of bounded size, so that a rule per item is one operation a batch.

        ``block.rows.median(dim=1)`` is the coordinate-wise median over the clients that touched the item, or over all
        clients when ``padded``.

        Args:
            padded: Whether clients that did not touch an item appear with a row of zeros. Otherwise ``C`` is the same
                for all items of a batch and differs between batches.
            height: Rows an item is to have room for, if these are not all.
        """
        order = torch.argsort(self.item, stable=True)
        items, counts = torch.unique_consecutive(self.item[order], return_counts=True)
        starts = counts.cumsum(0) - counts
        for count in torch.unique(counts).tolist():
            room = height or (len(self) if padded else count)
            most = max(_BLOCK_ENTRIES // (max(room, count) * max(count, self.rows.shape[1])), 1)
            for part in (counts == count).nonzero().squeeze(1).split(most):
                entries = order[starts[part, None] + torch.arange(count, device=order.device)]
                block = ItemBlock(items[part], self.client[entries], self.rows[entries])
                yield block.padded(len(self)) if padded else block


def concatenate(parts: Sequence[ClientUpdates], dense: torch.Tensor | None = None) -> ClientUpdates:
    """Clients of all parts in order; at least one part, all of the same model.

    Args:
        parts: The parts.
        dense: ``[N, P]`` where their dense parts stand side by side already; copied into a new tensor if None.
    """
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return ClientUpdates(
        parts[0].shapes,
        torch.cat([part.dense for part in parts]) if dense is None else dense,
        torch.cat([part.client + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
        torch.cat([part.item for part in parts]),
        torch.cat([part.rows for part in parts]),
    )


def _largest(values: torch.Tensor) -> torch.Tensor:
    """``[K]`` the largest magnitude in each row of ``[K, D]``; 0 of rows without a column."""
    return torch.linalg.vector_norm(values, ord=math.inf, dim=1) if values.shape[1] else values.new_zeros(len(values))


def sum_rows(index: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
    """``[size, H]`` with the sum of all rows of each index (``[M]``, ``[M, H]``); zero where there is none."""
    return rows.new_zeros(size, rows.shape[1]).index_add_(0, index, rows)
