"""What a server knows of its own in a round, for rules that hold against it what clients sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from recbole_attack.attack.states import pool_of
from recbole_attack.data.histories import Profile, sampled_histories, training_batch
from recbole_attack.defense import Aggregator, Known
from recbole_attack.federated.rounds import ClientGroup, summed_updates
from recbole_attack.federated.updates import Update
from recbole_attack.utils.rng import stream, torch_stream


def informed(rule: Aggregator, model: Any, config: Any, optimizer: torch.optim.Optimizer | None = None) -> Aggregator:
    """The rule of a round with what it asks the server for; as it is, if it asks for nothing.

    Args:
        rule: With the ``key`` of the round, or another's who simulates it.
        model: The global model; not changed.
        config: The run's configuration.
        optimizer: The server's; who does not know it takes plain steps of ``learning_rate``.
    """
    if not rule.asks:
        return rule
    table = model.item_embedding.weight
    steps = torch.optim.SGD([table], lr=config["learning_rate"]) if optimizer is None else optimizer
    root = None if rule.root is None else root_update(model, config, rule.root, rule.key)
    items, longest = table.detach()[: model.n_items], model.max_seq_length
    return replace(rule, known=Known(items, partial(stepped, steps, table), root, partial(answers, model), longest))


def answers(model: Any, items: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``[S, H]`` states after histories, ``[S, L]`` items and ``[S]`` lengths, and the ``[S, V]`` scores of items that
    are not in them, minus infinity of those that are; without dropout and without gradients."""
    pool = pool_of(model, Profile(items, lengths))
    return pool.states, pool.scores


def root_update(model: Any, config: Any, root: tuple[int, int], key: tuple[int, ...]) -> Update:
    """The mean of what clients would send that had histories sampled from the model, by parameter name.

    Args:
        model: The global model; not changed.
        config: ``local_epochs``, ``local_learning_rate`` and ``chunk_tokens``.
        root: How many histories, and how long.
        key: Seed, epoch and round.
    """
    seed, *keys = key
    count, length = root
    nobody = torch.zeros(0, dtype=torch.int64, device=model.item_embedding.weight.device)
    histories = sampled_histories(model, count, length, nobody, stream(seed, "root histories", *keys))
    group = training_group(model, histories, config["local_epochs"], seed, "root", keys)
    with torch_stream(nobody.device, seed, "root dropout", *keys):
        update, _ = summed_updates(model, [group], group.weights / count, config)
    return {name: value.detach() for name, value in update.items()}


def training_group(
    model: Any, histories: Profile, local_epochs: int, seed: int, purpose: str, keys: Sequence[int]
) -> ClientGroup:
    """Honest clients of equal weight with these histories, whatever ``client_defense`` they would have.

    Args:
        model: The model they train.
        histories: ``B`` of them.
        local_epochs: Their steps.
        seed: The run's seed.
        purpose: What tells their draws from those of others.
        keys: What tells those of this time from those of others.
    """
    rows = range(len(histories.item_seq))
    batches = []
    for step in range(local_epochs):
        own = [(*keys, step, row, 0) for row in rows]  # malicious clients repeat themselves; others have the first turn
        batches.append(training_batch(histories, model.n_items, model.needs_draws, seed, purpose, own))

    def losses(local: Any, chosen: torch.Tensor, step: int) -> torch.Tensor:
        return local.client_losses(batches[step].rows(chosen))

    weights = torch.ones(len(rows), device=histories.item_seq.device)
    return ClientGroup(weights, model.tokens(batches[0].lengths.cpu()), losses, batches)


def stepped(
    optimizer: torch.optim.Optimizer, table: nn.Parameter, items: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """``[M, H]`` what rows of a parameter become after one step of its optimiser along these gradients.

    Optimisers treat every number by itself, so a row may stand there as often as it is asked for, with what the
    optimiser remembers of it; clipping of the whole gradient is left out.

    Args:
        optimizer: Not changed.
        table: ``[V, H]``, one of its parameters; not changed.
        items: ``[M]`` rows of it.
        rows: ``[M, H]`` their gradients.
    """
    (settings,) = [group for group in optimizer.param_groups if any(p is table for p in group["params"])]
    trial = nn.Parameter(table.detach()[items])
    remade: Callable[..., torch.optim.Optimizer] = type(optimizer)
    alone = remade([{**settings, "params": [trial]}])
    for name, value in optimizer.state.get(table, {}).items():
        whole = isinstance(value, torch.Tensor) and value.shape == table.shape
        alone.state[trial][name] = value[items] if whole else value.clone() if torch.is_tensor(value) else value
    trial.grad = rows.to(trial)
    alone.step()
    return trial.detach()
