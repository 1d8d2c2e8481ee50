"""Each client's own gradient, many clients in one backward pass.

The gradient of a layer's parameters is a sum over positions of what went in and what comes back: ``out^T in`` of a
linear layer, for example (Goodfellow, "Efficient Per-Example Gradient Computations", arXiv:1510.01799). A plain
batched forward and backward pass has both for all clients, so only the sum has to stop at the client. What comes back
to the item embeddings stays a list of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from recbole_attack.data.batches import length_chunks
from recbole_attack.federated.client_updates import ITEM_LAYER, ITEM_TABLE, ClientUpdates, concatenate, sum_rows
from recbole_attack.federated.layer_gradients import RULES, has_rule
from recbole_attack.federated.updates import LossFunction, looped_updates


def client_gradients(
    model: nn.Module,
    losses: LossFunction,
    lengths: torch.Tensor,
    chunk_tokens: int,
    memory: torch.Tensor | None = None,
) -> tuple[ClientUpdates, torch.Tensor]:
    """Gradients of ``N`` clients by one backward pass per chunk of clients of similar length.

    The passes are those of :func:`~recbole_attack.federated.updates.summed_gradient`: with the same chunks, they draw
    the same dropout.

    Args:
        model: The global model, made of layers that :func:`is_supported` knows; not changed.
        losses: The clients' losses. Every layer must be called on one row a client, in the order of the clients.
        lengths: ``[N]`` length of each client's sequence, on the CPU.
        chunk_tokens: At most about this many padded tokens are in memory at once; no effect on the result.
        memory: ``[N or more, P]`` tensor to overwrite with the dense part; fresh if None. It saves the operating
            system from handing out the same memory again every round.

    Returns:
        The gradients and the ``[N]`` losses, on the model's device.

    Raises:
        ValueError: A parameter is used where its gradient cannot be told apart by client.
    """
    if not is_supported(model):
        known = ", ".join(layer.__name__ for layer in RULES)
        found = f"{type(model).__name__} has no {ITEM_TABLE}, layers with parameters other than {known}"
        raise ValueError(f"{found}, or shared parameters")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    sizes = {name: shape.numel() for name, shape in shapes.items() if name != ITEM_TABLE}
    like = next(model.parameters())
    dense = like.new_empty(len(lengths), sum(sizes.values())) if memory is None else memory[: len(lengths)]
    columns = dict(zip(sizes, dense.split(list(sizes.values()), dim=1), strict=True))
    values = like.new_zeros(len(lengths))
    none = torch.empty(0, dtype=torch.int64, device=like.device)
    touched = [_Rows(none, none, like.new_empty(0, shapes[ITEM_TABLE][1]))]
    for clients in length_chunks(lengths, chunk_tokens):
        clients = clients.to(like.device)
        values[clients], calls = _backward(model, losses, clients)
        touched += [_item_rows(clients, call) for call in calls if call.name == ITEM_LAYER]
        _write(columns, clients, (call for call in calls if call.name != ITEM_LAYER))
    rows = _coalesce(_Rows(*(torch.cat(field) for field in zip(*touched, strict=True))), shapes[ITEM_TABLE][0])
    return ClientUpdates(shapes, dense, *rows), values


def looped_client_updates(
    model: nn.Module, losses: LossFunction, n_clients: int, local_epochs: int, local_learning_rate: float
) -> tuple[ClientUpdates, torch.Tensor]:
    """The same for any losses and any number of local steps, a client at a time.

    One client's whole update is in memory at a time; its rows of zeros are left out of the result.

    Args:
        model: The global model; not changed.
        losses: The clients' losses.
        n_clients: Clients ``0..n_clients-1`` of ``losses``, at least one.
        local_epochs: Local steps E, at least 1.
        local_learning_rate: Rate of the local SGD steps; unused when E is 1.

    Returns:
        The gradients (E = 1) or parameter differences, and the ``[N]`` first losses, on the CPU.
    """
    parts, values = [], []
    for update, loss in looped_updates(model, losses, n_clients, local_epochs, local_learning_rate):
        parts.append(ClientUpdates.from_stacked({name: value[None] for name, value in update.items()}))
        values.append(loss)
    return concatenate(parts), torch.tensor(values)


def is_supported(model: nn.Module) -> bool:
    """Whether the model has item embeddings, and every parameter one layer :func:`client_gradients` has a rule for."""
    layers = _layers(model)
    owned = [p for layer in layers.values() for p in layer.parameters(recurse=False)]
    shared = len(owned) > len(list(model.parameters()))
    known = all(has_rule(layer) for layer in layers.values())
    return isinstance(layers.get(ITEM_LAYER), nn.Embedding) and known and not shared


class _Call(NamedTuple):
    """One use of a layer by ``B`` clients: ``inputs [B, ...]`` and the ``gradient [B, ...]`` of its outputs."""

    name: str
    layer: nn.Module
    inputs: torch.Tensor
    gradient: torch.Tensor


class _Rows(NamedTuple):
    """Gradients of item embeddings: ``client [M]``, ``item [M]``, ``rows [M, H]``."""

    client: torch.Tensor
    item: torch.Tensor
    rows: torch.Tensor


def _backward(model: nn.Module, losses: LossFunction, clients: torch.Tensor) -> tuple[torch.Tensor, list[_Call]]:
    """The clients' losses, and what every layer was called with and got back."""
    with _recorded(model) as record:
        loss = losses(model, clients, 0)
    for name, _, inputs, _ in record:
        if len(inputs) != len(clients):
            raise ValueError(f"{name} was called on {len(inputs)} rows for {len(clients)} clients")
    edges = [edge for _, _, _, edge in record]
    names, parameters = zip(*model.named_parameters(), strict=True)
    edges += [get_gradient_edge(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(loss.sum(), edges, allow_unused=True)
    outside = [name for name, g in zip(names, gradients[len(record) :], strict=True) if g is not None]
    if outside:
        raise ValueError(f"{outside} are used outside the layers they belong to")
    calls = [
        _Call(name, layer, inputs.detach(), gradient)
        for (name, layer, inputs, _), gradient in zip(record, gradients, strict=False)
        if gradient is not None
    ]
    return loss.detach(), calls


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, torch.Tensor, GradientEdge]]]:
    """List the calls of all layers: name, layer, inputs and where the gradient of the outputs will be.

    Inside its layer a parameter counts as a constant. A gradient that still reaches it comes from elsewhere.
    """
    record: list[tuple[str, nn.Module, torch.Tensor, GradientEdge]] = []
    names = {layer: name for name, layer in _layers(model).items()}

    def before(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        layer.requires_grad_(False)

    def after(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> Any:
        layer.requires_grad_(True)
        main = output[0] if isinstance(output, tuple) else output  # recurrent layers give their last state as well
        main.requires_grad_(True)
        record.append((names[layer], layer, inputs[0], get_gradient_edge(main)))
        return output

    handles = [layer.register_forward_pre_hook(before) for layer in names]
    handles += [layer.register_forward_hook(after) for layer in names]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
        model.requires_grad_(True)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that own parameters, by name."""
    return {name: module for name, module in model.named_modules() if list(module.parameters(recurse=False))}


def _write(columns: dict[str, torch.Tensor], clients: torch.Tensor, calls: Iterable[_Call]) -> None:
    """Write the clients' rows of all ``columns``: gradients summed over the uses of a layer, one layer at a time."""
    unused = set(columns)
    for call in calls:
        for name, gradient in RULES[type(call.layer)](call.layer, call.inputs, call.gradient).items():
            key, value = f"{call.name}.{name}", gradient.flatten(1)
            columns[key][clients] = value if key in unused else columns[key][clients] + value
            unused.discard(key)
    for key in unused:
        columns[key][clients] = 0.0


def _item_rows(clients: torch.Tensor, call: _Call) -> _Rows:
    """One row a position, without padding."""
    item = call.inputs.flatten()
    client = clients.repeat_interleave(call.inputs[0].numel())
    rows = call.gradient.reshape(len(item), -1)
    padding: Any = call.layer.padding_idx
    if padding is None:
        return _Rows(client, item, rows)
    real = (item != padding).nonzero().squeeze(1)
    return _Rows(client[real], item[real], rows[real])


def _coalesce(rows: _Rows, n_items: int) -> _Rows:
    """Sorted by client, then item, each pair once."""
    keys, place = torch.unique(rows.client * n_items + rows.item, return_inverse=True)
    return _Rows(keys // n_items, keys % n_items, sum_rows(place, rows.rows, len(keys)))
