"""What the server makes of the updates of a round: hostile ones are left out, the others aggregated.

:func:`aggregate` works on sparse item rows, a bounded piece at a time. :func:`aggregate_one_by_one` takes updates as
they arrive, anything a client may send, and is the slow and obvious reading of the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from recbole_attack.defense import Aggregate, Aggregator, refusal, squared_norms, value_reasons
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.updates import Update
from recbole_attack.utils.errors import ConfigError


class Aggregated(NamedTuple):
    """What the server makes of ``N`` updates.

    Attributes:
        update: The aggregated update by parameter name; zero if every client's was rejected.
        kept: ``[N]``, False for clients whose update was rejected.
        rejected: How many were rejected, by reason.
        client_weights: ``[N]`` in float64, the update being their weighted sum of updates (of all parameters but the
            item embeddings, where these are aggregated per item); ``None`` for rules on coordinates.
        iterations: Steps of an iterative rule, the most of any part.
        residual: How far an iterative rule was from its fixed point, at worst.
        saved: ``[V, H]`` what the rule's bank holds after this round; ``None`` if it has none, or nothing came.
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
    _check_weights(weights)
    if aggregator.judge is not None:
        return _by_judgement(updates, weights, aggregator)
    in_parts = aggregator.weigh is None or aggregator.by_item
    return _banked((_in_parts if in_parts else _by_gram)(updates, weights, aggregator), aggregator)


def _banked(found: Aggregated, aggregator: Aggregator) -> Aggregated:
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
    rejected, frozen = _reasons(updates, kept), _frozen(update, _by_parameter(chosen))
    return Aggregated(update, kept, rejected, _spread(found.client_weights, kept), 0, 0.0, frozen)


def _check_weights(weights: torch.Tensor) -> None:
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
    rejected, frozen = _reasons(updates, kept), _frozen(update, _by_parameter(chosen))
    return Aggregated(update, kept, rejected, found.client_weights, found.iterations, found.residual, frozen)


def _in_parts(updates: ClientUpdates, weights: torch.Tensor, aggregator: Aggregator) -> Aggregated:
    kept = aggregator.screened(updates.squared_norms(), updates.dense.dtype)
    chosen, places, weights = updates.select(kept), aggregator.places(weights)[kept], weights[kept]
    by_part = _by_item if aggregator.by_item else _by_coordinate
    update, client_weights, iterations, residual = by_part(chosen, weights, places, aggregator)
    frozen = () if aggregator.linear else _frozen(update, _by_parameter(chosen))
    rejected = _reasons(updates, kept)
    return Aggregated(update, kept, rejected, _spread(client_weights, kept), iterations, residual, frozen)


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


def _frozen(update: Update, sent: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    moves = torch.stack([value.any() for value in update.values()]).tolist()
    return tuple(name for name, moved in zip(update, moves, strict=True) if not moved and sent[name].any())


def aggregate_one_by_one(
    sent: Sequence[Any], weights: torch.Tensor, aggregator: Aggregator, parameters: Mapping[str, torch.Tensor]
) -> Aggregated:
    """Aggregate whole updates as they arrive: the server's door, and the oracle of :func:`aggregate`.

    An update that is no mapping from every parameter's name to a dense floating-point tensor of its shape is rejected
    whatever the rule (:func:`~recbole_attack.defense.refusal`). What is left is converted to the parameters' own type,
    where a number too large for it becomes infinite, and screened for its values unless the rule is linear.

    Args:
        sent: What each of ``N`` clients sent.
        weights: ``[N]``, positive.
        aggregator: The rule.
        parameters: The server's, by name.

    Raises:
        ConfigError: The rule is per item, and the parameters hold no item embeddings.
        ValueError: A weight is not a positive number.
    """
    _check_weights(weights)
    if aggregator.by_item and ITEM_TABLE not in parameters:
        what = "per_item" if aggregator.per_item else "a rule for rows of items"
        raise ConfigError(f"{what} needs item embeddings: expected {ITEM_TABLE}, found {', '.join(parameters)}")
    reasons = [refusal(update, parameters) for update in sent]
    rejected = Counter(reason for reason in reasons if reason)
    readable = torch.tensor([reason is None for reason in reasons], dtype=torch.bool, device=weights.device)
    if not readable.any():
        return Aggregated({n: torch.zeros_like(p) for n, p in parameters.items()}, readable, rejected, None, 0, 0.0)
    read = [_flat(update, parameters) for update, reason in zip(sent, reasons, strict=True) if reason is None]
    updates = torch.stack(read)
    rule = _item_by_item if aggregator.by_item else _whole if aggregator.judge is None else _judged
    found = rule(updates, weights[readable], aggregator.places(weights)[readable], aggregator, parameters)
    rejected += value_reasons(updates[~found.kept].isfinite().all(dim=1))
    sizes = [p.numel() for p in parameters.values()]
    update = {n: u.view_as(p) for (n, p), u in zip(parameters.items(), found.update.split(sizes), strict=True)}
    kept, client_weights = readable.masked_scatter(readable, found.kept), _spread(found.client_weights, readable)
    columns = dict(zip(parameters, updates[found.kept].split(sizes, dim=1), strict=True))
    frozen = () if aggregator.linear else _frozen(update, columns)
    whole = Aggregated(update, kept, rejected, client_weights, found.iterations, found.residual, frozen)
    return _banked(whole, aggregator)


def _flat(update: Mapping[str, torch.Tensor], parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([update[name].detach().to(parameter).flatten() for name, parameter in parameters.items()])


def _whole(
    updates: torch.Tensor,
    weights: torch.Tensor,
    places: torch.Tensor,
    aggregator: Aggregator,
    parameters: Mapping[str, torch.Tensor],
) -> Aggregate:
    return aggregator.apply(updates, weights, places)


def _judged(
    updates: torch.Tensor,
    weights: torch.Tensor,
    places: torch.Tensor,
    aggregator: Aggregator,
    parameters: Mapping[str, torch.Tensor],
) -> Aggregate:
    kept = aggregator.screened(squared_norms(updates), updates.dtype)
    columns = updates[kept].split([p.numel() for p in parameters.values()], dim=1)
    named = {n: value.unflatten(1, p.shape) for (n, p), value in zip(parameters.items(), columns, strict=True)}
    given = aggregator.judged(ClientUpdates.from_stacked(named), weights[kept]).client_weights
    return Aggregate(given.to(updates) @ updates[kept], _spread(given, kept), kept)


def _item_by_item(
    updates: torch.Tensor,
    weights: torch.Tensor,
    places: torch.Tensor,
    aggregator: Aggregator,
    parameters: Mapping[str, torch.Tensor],
) -> Aggregate:
    """The rule applied to the dense parameters, and then to each item's rows that are not zero, one by one."""
    kept = aggregator.screened(squared_norms(updates), updates.dtype)
    sizes = [p.numel() for p in parameters.values()]
    columns = dict(zip(parameters, updates[kept].split(sizes, dim=1), strict=True))
    tables = columns[ITEM_TABLE].unflatten(1, parameters[ITEM_TABLE].shape)
    others = [value for name, value in columns.items() if name != ITEM_TABLE]
    weights, places = weights[kept], places[kept]
    dense = aggregator.apply(torch.cat(others, dim=1), weights, places)
    table, found = torch.zeros_like(parameters[ITEM_TABLE]), [dense]
    touched, support, rule = tables.any(dim=2), aggregator.support, aggregator.items or aggregator
    if support is not None:
        tables = tables.masked_scatter(touched[..., None], support.clipped(tables[touched], touched.nonzero()[:, 0]))
    for item, (rows, touching) in enumerate(zip(tables.unbind(1), touched.unbind(1), strict=True)):
        if touching.any():
            found.append(rule.apply(rows[touching], weights[touching], places[touching]))
            table[item] = found[-1].update
            if support is not None:
                table[item] *= support.shares(touching.sum(), weights[touching].sum(), weights).to(table)
    pieces = iter(dense.update.split([value.shape[1] for value in others]))
    update = torch.cat([table.flatten() if name == ITEM_TABLE else next(pieces) for name in parameters])
    iterations, residual = max(part.iterations for part in found), max(part.residual for part in found)
    return Aggregate(update, _spread(dense.client_weights, kept), kept, iterations, residual)


def _spread(client_weights: torch.Tensor | None, chosen: torch.Tensor) -> torch.Tensor | None:
    """Weights of chosen clients among those of all; the others have none."""
    if client_weights is None:
        return None
    return client_weights.new_zeros(len(chosen)).masked_scatter(chosen, client_weights)
