"""What one layer's parameters get back from each client: the sum over positions stops at the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from recbole_attack.federated.client_updates import sum_rows

Gradients = dict[str, torch.Tensor]
"""Parameter name -> ``[B, ...]``."""


def has_rule(layer: nn.Module) -> bool:
    """Whether there is a rule for the layer, of exactly this type; of recurrent ones, for a single GRU layer."""
    if isinstance(layer, nn.GRU) and (layer.num_layers > 1 or layer.bidirectional or not layer.batch_first):
        return False
    return type(layer) in RULES


def linear(layer: Any, inputs: torch.Tensor, gradient: torch.Tensor) -> Gradients:
    """Of ``out = in W^T + b``: ``W`` gets ``out'^T in``."""
    inputs, gradient = (value.reshape(len(value), -1, value.shape[-1]) for value in (inputs, gradient))
    result = {"weight": gradient.transpose(1, 2) @ inputs}
    return result if layer.bias is None else {**result, "bias": gradient.sum(1)}


def layer_norm(layer: Any, inputs: torch.Tensor, gradient: torch.Tensor) -> Gradients:
    """Of ``out = W * norm(in) + b``."""
    product = gradient * F.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
    between = list(range(1, inputs.dim() - len(layer.normalized_shape)))
    result = {"weight": product.sum(between) if between else product}
    return result if layer.bias is None else {**result, "bias": gradient.sum(between) if between else gradient}


def embedding(layer: Any, inputs: torch.Tensor, gradient: torch.Tensor) -> Gradients:
    """Of a table that is looked up: a table a client, so for small ones."""
    n, size = len(inputs), layer.num_embeddings
    number = torch.arange(n, device=inputs.device).repeat_interleave(inputs[0].numel())
    summed = sum_rows(number * size + inputs.flatten(), gradient.reshape(-1, gradient.shape[-1]), n * size)
    summed = summed.view(n, size, -1)
    if layer.padding_idx is not None:
        summed[:, layer.padding_idx] = 0.0
    return {"weight": summed}


def gru(layer: Any, inputs: torch.Tensor, gradient: torch.Tensor) -> Gradients:
    """Of a GRU that starts from zero: both of its linear maps, from what comes back to their outputs at every step.

    With ``i = x W_ih^T + b_ih`` and ``g = h_before W_hh^T + b_hh``, each in parts r, z and n: ``r = s(i_r + g_r)``,
    ``z = s(i_z + g_z)``, ``n = tanh(i_n + r g_n)`` and ``h = (1 - z) n + z h_before``, the last step first.
    """
    w_ih, w_hh = layer.weight_ih_l0, layer.weight_hh_l0
    b_ih, b_hh = (layer.bias_ih_l0, layer.bias_hh_l0) if layer.bias else (None, None)
    with torch.no_grad():
        before = F.pad(layer(inputs)[0][:, :-1], (0, 0, 1, 0))
        i_r, i_z, i_n = F.linear(inputs, w_ih, b_ih).chunk(3, dim=-1)
        g_r, g_z, g_n = F.linear(before, w_hh, b_hh).chunk(3, dim=-1)
        r, z = torch.sigmoid(i_r + g_r), torch.sigmoid(i_z + g_z)
        n = torch.tanh(i_n + r * g_n)
        to_n, to_z, to_r = (1 - z) * (1 - n * n), (before - n) * z * (1 - z), g_n * r * (1 - r)
        back_i, back_g = gradient.new_empty(2, *gradient.shape[:2], 3 * layer.hidden_size)
        carried = torch.zeros_like(gradient[:, 0])
        for step in reversed(range(inputs.shape[1])):
            back = gradient[:, step] + carried
            back_n = back * to_n[:, step]
            shared = torch.cat([back_n * to_r[:, step], back * to_z[:, step]], dim=-1)
            back_i[:, step] = torch.cat([shared, back_n], dim=-1)
            back_g[:, step] = torch.cat([shared, back_n * r[:, step]], dim=-1)
            carried = back * z[:, step] + back_g[:, step] @ w_hh
    result = {"weight_ih_l0": back_i.transpose(1, 2) @ inputs, "weight_hh_l0": back_g.transpose(1, 2) @ before}
    return {**result, "bias_ih_l0": back_i.sum(1), "bias_hh_l0": back_g.sum(1)} if layer.bias else result


Rule = Callable[[Any, torch.Tensor, torch.Tensor], Gradients]
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.LayerNorm: layer_norm,
    nn.Embedding: embedding,
    nn.GRU: gru,
}
"""``(layer, inputs [B, ...], gradient of outputs [B, ...]) -> gradients`` by type of layer."""
