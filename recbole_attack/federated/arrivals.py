"""Updates as they arrive at the server, anything a client may send, aggregated by the slow and obvious reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from recbole_attack.defense import Aggregate, Aggregator, refusal, squared_norms, value_reasons
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import Aggregated, banked, check_weights, frozen_parameters, spread
from recbole_attack.utils.errors import ConfigError


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
    check_weights(weights)
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
    places = aggregator.places(weights)[readable]
    found = _rule_of(aggregator)(updates, weights[readable], places, aggregator, parameters)
    rejected += value_reasons(updates[~found.kept].isfinite().all(dim=1))
    sizes = [p.numel() for p in parameters.values()]
    update = _shaped(found.update, parameters)
    kept, client_weights = readable.masked_scatter(readable, found.kept), spread(found.client_weights, readable)
    columns = dict(zip(parameters, updates[found.kept].split(sizes, dim=1), strict=True))
    frozen = () if aggregator.linear else frozen_parameters(update, columns)
    numbers = found.iterations, found.residual
    return banked(Aggregated(update, kept, rejected, client_weights, *numbers, frozen, found.saved), aggregator)


def _shaped(update: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By parameter name, each in its own type: side by side they are in one that holds all."""
    pieces = update.split([p.numel() for p in parameters.values()])
    return {name: piece.view_as(p).to(p.dtype) for (name, p), piece in zip(parameters.items(), pieces, strict=True)}


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


def _rule_of(aggregator: Aggregator) -> Callable[..., Aggregate]:
    if aggregator.quota is not None:
        return _within_quota
    if aggregator.by_item:
        return _item_by_item
    return _whole if aggregator.judge is None else _judged


def _within_quota(
    updates: torch.Tensor,
    weights: torch.Tensor,
    places: torch.Tensor,
    aggregator: Aggregator,
    parameters: Mapping[str, torch.Tensor],
) -> Aggregate:
    kept, rule = aggregator.screened(squared_norms(updates), updates.dtype), replace(aggregator, quota=None)
    if not kept.any():
        return _rule_of(rule)(updates, weights, places, rule, parameters)
    sent = _named(updates[kept], parameters)
    said = aggregator.within(sent)
    rest = sent.with_rows(said.within).to_dense()
    found = _rule_of(rule)(rest, weights[kept], places[kept], rule, parameters)
    update = _shaped(found.update, parameters)
    update[ITEM_TABLE] = said.pushed_back(update[ITEM_TABLE])
    flat, everyone = torch.cat([value.flatten() for value in update.values()]), spread(found.client_weights, kept)
    return replace(found, update=flat, client_weights=everyone, kept=kept, saved=said.memory)


def _judged(
    updates: torch.Tensor,
    weights: torch.Tensor,
    places: torch.Tensor,
    aggregator: Aggregator,
    parameters: Mapping[str, torch.Tensor],
) -> Aggregate:
    kept = aggregator.screened(squared_norms(updates), updates.dtype)
    given = aggregator.judged(_named(updates[kept], parameters), weights[kept]).client_weights
    return Aggregate(given.to(updates) @ updates[kept], spread(given, kept), kept)


def _named(updates: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> ClientUpdates:
    columns = updates.split([p.numel() for p in parameters.values()], dim=1)
    named = {n: value.unflatten(1, p.shape) for (n, p), value in zip(parameters.items(), columns, strict=True)}
    return ClientUpdates.from_stacked(named)


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
    dense = aggregator.apply(torch.cat([updates.new_zeros(len(weights), 0), *others], dim=1), weights, places)
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
    return Aggregate(update, spread(dense.client_weights, kept), kept, iterations, residual)
