"""What the server makes of the updates of a round: hostile ones are left out, the others aggregated.

On sparse item rows, a bounded piece at a time; the slow and obvious reading of the same is
:mod:`~recbole_attack.federated.arrivals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from recbole_attack.defense import Aggregator, value_reasons
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.updates import Update


class Aggregated(NamedTuple):
    """What the server makes of ``N`` updates.

    Attributes:
        update: The aggregated update by parameter name; zero if every client's was rejected.
        kept: ``[N]``, False for clients whose update was rejected.
        rejected: How many were rejected, by reason.
        client_weights: ``[N]`` in float64, the update being their weighted sum of updates (of all parameters but the
            item embeddings, where these are aggregated per item or a quota pushes them back); ``None`` for rules on
            coordinates.
        iterations: Steps of an iterative rule, the most of any part.
        residual: How far an iterative rule was from its fixed point, at worst.
        saved: What the rule remembers after this round; ``None`` if that is nothing ever, or nothing came.
        frozen: Parameters whose aggregated update is zero though a kept client's is not. Zeros are legal and no reason
            to reject: Krum picks them once one client sends nothing else, being nearest to all, and a median takes them
            for item embeddings few clients touch. Rules that are linear freeze nothing.
    """

    update: Update
    kept: torch.Tensor
    rejected: Mapping[str, int]
    client_weights: torch.Tensor | None
    iterations: int
    residual: float
    frozen: tuple[str, ...] = ()
    saved: torch.Tensor | None = None

    def on_host(self) -> Aggregated:
        """The same, what there is of each client on the CPU."""
        weights = self.client_weights
        return self._replace(kept=self.kept.cpu(), client_weights=None if weights is None else weights.cpu())


def aggregate(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    """Aggregate clients side by side; nothing of size ``N x V x H`` is ever built.

    Rules on the Gram matrix see whole updates through it. For rules on coordinates, clients that did not touch an item
    hold zeros for it, a batch of items at a time, mixed before where the rule mixes. Per item they hold nothing
    (:meth:`Aggregator.rows`), and all items with equally many clients are one operation.

    Args:
        updates: Of ``N`` clients.
        weights: ``[N]``, positive.
        aggregator: The rule.

    Raises:
        ValueError: A weight is not a positive number.
    """
    check_weights(weights)
    if aggregator.judge is not None:
        return _by_judgement(updates, weights, aggregator)
    if aggregator.quota is not None:
        return _within_quota(updates, weights, aggregator)
    in_parts = aggregator.weigh is None or aggregator.by_item
    return banked((_in_parts if in_parts else _by_gram)(updates, weights, aggregator), aggregator)


def banked(found: Aggregated, aggregator: Aggregator) -> Aggregated:
    """Rows of the item embeddings after they have been to the rule's bank, which a round without a client leaves be."""
    if aggregator.bank is None or not found.kept.any():
        return found
    table, saved = aggregator.paid(found.update[ITEM_TABLE])
    return found._replace(update={**found.update, ITEM_TABLE: table}, saved=saved)


def _by_judgement(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    kept = aggregator.screened(updates.squared_norms(), updates.dense.dtype)
    chosen = updates.select(kept)
    found = aggregator.judged(chosen, weights[kept])
    update = chosen.weighted_sum(found.client_weights)
    rejected, frozen = _reasons(updates, kept), frozen_parameters(update, _by_parameter(chosen))
    return Aggregated(update, kept, rejected, spread(found.client_weights, kept), 0, 0.0, frozen)


def _within_quota(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    """What the rule makes of the rows within the quota; rejected clients have no vote."""
    kept = aggregator.screened(updates.squared_norms(), updates.dense.dtype)
    chosen, rule = updates.select(kept), replace(aggregator, quota=None)
    if not kept.any():
        return aggregate(updates, weights, rule)
    said = aggregator.within(chosen)
    found = aggregate(chosen.with_rows(said.within), weights[kept], rule)
    update = {**found.update, ITEM_TABLE: said.pushed_back(found.update[ITEM_TABLE])}
    rejected, frozen = _reasons(updates, kept), frozen_parameters(update, _by_parameter(chosen))
    everyone = spread(found.client_weights, kept)
    return Aggregated(update, kept, rejected, everyone, found.iterations, found.residual, frozen, said.memory)


def check_weights(weights: torch.Tensor) -> None:
    """Shares of a weight of zero in all, or of an infinite one, are NaN: the model's fault, one would think."""
    wrong = weights[~(weights.isfinite() & (weights > 0))]
    if len(wrong):
        raise ValueError(f"weights of clients must be positive numbers: found {float(wrong[0]):g}")


def _by_gram(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    if aggregator.linear:
        factors = aggregator.factors(weights)
        everyone = torch.ones_like(weights, dtype=torch.bool)
        return Aggregated(updates.weighted_sum(factors), everyone, {}, factors.double(), 0, 0.0)
    kept, found = aggregator.weighting(updates.gram(), weights, aggregator.places(weights), updates.dense.dtype)
    chosen = updates.select(kept)
    update = chosen.weighted_sum(found.client_weights[kept])
    rejected, frozen = _reasons(updates, kept), frozen_parameters(update, _by_parameter(chosen))
    return Aggregated(update, kept, rejected, found.client_weights, found.iterations, found.residual, frozen)


def _in_parts(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    kept = aggregator.screened(updates.squared_norms(), updates.dense.dtype)
    chosen, places, weights = updates.select(kept), aggregator.places(weights)[kept], weights[kept]
    by_part = _by_item if aggregator.by_item else _by_coordinate
    update, client_weights, iterations, residual = by_part(chosen, weights, places, aggregator)
    frozen = () if aggregator.linear else frozen_parameters(update, _by_parameter(chosen))
    rejected = _reasons(updates, kept)
    return Aggregated(update, kept, rejected, spread(client_weights, kept), iterations, residual, frozen)


Found = tuple[Update, torch.Tensor | None, int, float]
"""Update, weights of clients, iterations and residual."""


def _by_item(updates: ClientUpdates, weights: torch.Tensor, places: torch.Tensor, aggregator: Aggregator) -> Found:
    """The dense parts, and every item's rows among the clients that touched it."""
    touched, support = updates.without_zero_rows(), aggregator.support
    if support is not None:
        touched = replace(touched, rows=support.clipped(touched.rows, touched.client))
    dense = aggregator.apply(updates.dense, weights, places)
    table = updates.rows.new_zeros(updates.shapes[ITEM_TABLE])
    iterations, residual = dense.iterations, dense.residual
    for block in touched.item_blocks():
        of = weights[block.clients], places[block.clients]
        table[block.items], steps, distance = aggregator.rows(block.rows, *of)
        iterations, residual = max(iterations, steps), max(residual, distance)
    if support is not None:
        counts = torch.bincount(touched.item, minlength=len(table))
        touching = weights.new_zeros(len(table)).index_add_(0, touched.item, weights[touched.client])
        table *= support.shares(counts, touching, weights).to(table)[:, None]
    return updates.unflatten(dense.update, table), dense.client_weights, iterations, residual


def _by_coordinate(
    updates: ClientUpdates, weights: torch.Tensor, places: torch.Tensor, aggregator: Aggregator
) -> Found:
    """A rule on coordinates over all clients; mixed by the inner products of their whole updates."""
    matrix = None
    if aggregator.mixes and len(updates):
        matrix, weights = aggregator.mixture(updates.gram(), weights, places)
    rule = replace(aggregator, mixes=())
    dense = rule.apply(updates.dense if matrix is None else matrix.to(updates.dense) @ updates.dense, weights)
    table = updates.rows.new_zeros(updates.shapes[ITEM_TABLE])
    for block in updates.item_blocks(padded=True) if matrix is None else updates.mixed_blocks(matrix):
        table[block.items], _, _ = rule.rows(block.rows, weights[block.clients], places[block.clients])
    return updates.unflatten(dense.update, table), None, 0, 0.0


def _reasons(updates: ClientUpdates, kept: torch.Tensor) -> Mapping[str, int]:
    """Why the clients that are not ``kept`` (``[N]``) were left out, counted."""
    return {} if bool(kept.all()) else value_reasons(updates.select(~kept).is_finite())


def _by_parameter(updates: ClientUpdates) -> dict[str, torch.Tensor]:
    """What clients sent of every parameter, in any shape; no copy."""
    sizes = {name: shape.numel() for name, shape in updates.shapes.items() if name != ITEM_TABLE}
    return {**dict(zip(sizes, updates.dense.split(list(sizes.values()), dim=1), strict=True)), ITEM_TABLE: updates.rows}


def frozen_parameters(update: Update, sent: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Names of parameters whose aggregated update is zero though some client sent another."""
    moves = torch.stack([value.any() for value in update.values()]).tolist()
    return tuple(name for name, moved in zip(update, moves, strict=True) if not moved and sent[name].any())


def spread(client_weights: torch.Tensor | None, chosen: torch.Tensor) -> torch.Tensor | None:
    """Weights of chosen clients among those of all; the others have none."""
    if client_weights is None:
        return None
    return client_weights.new_zeros(len(chosen)).masked_scatter(chosen, client_weights)
