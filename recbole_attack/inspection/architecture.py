"""What the shapes of a model's weights tell of its parameters, and what they do not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

Place = tuple[str, int] | str
"""Where a size is seen: a tensor and its dimension, or a pattern whose number counts layers from 0."""

_TABLE: dict[str, Place] = {"hidden_size": ("item_embedding.weight", 1)}
_TRANSFORMER: dict[str, Place] = {
    **_TABLE,
    "MAX_ITEM_LIST_LENGTH": ("position_embedding.weight", 0),
    "n_layers": r"trm_encoder\.layer\.(\d+)\.",
    "inner_size": ("trm_encoder.layer.0.feed_forward.dense_1.weight", 0),
}
_EMBEDDED: dict[str, Place] = {"embedding_size": ("item_embedding.weight", 1)}

SEEN: dict[str, dict[str, Place]] = {
    "SASRec": _TRANSFORMER,
    "BERT4Rec": _TRANSFORMER,
    "LightSANs": {
        **_TRANSFORMER,
        "k_interests": ("trm_encoder.layer.0.multi_head_attention.attpooling_key.theta", 1),
    },
    "GRU4Rec": {
        **_EMBEDDED,
        "hidden_size": ("gru_layers.weight_hh_l0", 1),
        "num_layers": r"gru_layers\.weight_hh_l(\d+)",
    },
    "NARM": {**_EMBEDDED, "hidden_size": ("gru.weight_hh_l0", 1), "n_layers": r"gru\.weight_hh_l(\d+)"},
    "SINE": {**_EMBEDDED, "prototype_size": ("C.weight", 0), "interest_size": ("w_k_1", 0)},
    "STAMP": _EMBEDDED,
}
"""Model -> parameter -> where the weights show it."""

_HEADS = ("n_heads", "hidden_act", "layer_norm_eps")
UNSEEN: dict[str, tuple[str, ...]] = {
    "SASRec": (*_HEADS, "position_alignment"),
    "BERT4Rec": (*_HEADS, "position_alignment"),
    "LightSANs": _HEADS,
    "GRU4Rec": ("MAX_ITEM_LIST_LENGTH",),
    "NARM": ("MAX_ITEM_LIST_LENGTH",),
    "SINE": ("MAX_ITEM_LIST_LENGTH", "layer_norm_eps", "tau_ratio"),
    "STAMP": ("MAX_ITEM_LIST_LENGTH",),
}
"""Model -> parameters that change its scores and no shape."""

OF_RECBOLE = {"position_alignment": "left"}
"""What RecBole's models do where this package has a parameter for it."""


def seen_sizes(model: str, weights: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """The parameters that the shapes of a model's weights tell, of those the weights have.

    Args:
        model: The model's name; of one that is not in :data:`SEEN` nothing is told.
        weights: Name -> tensor.
    """
    found = {name: _size(place, weights) for name, place in SEEN.get(model, {}).items()}
    return {name: size for name, size in found.items() if size is not None}


def _size(place: Place, weights: Mapping[str, torch.Tensor]) -> int | None:
    if isinstance(place, str):
        layers = [int(match[1]) for match in map(re.compile(place).match, weights) if match]
        return max(layers) + 1 if layers else None
    name, dimension = place
    return weights[name].shape[dimension] if name in weights and weights[name].dim() > dimension else None


def told_parameters(model: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that no shape shows and the file's configuration tells.

    Args:
        model: The model's name.
        config: The plain values of the file's configuration; one without parameters of this package's is RecBole's.
    """
    own = {**OF_RECBOLE, **config} if config else {}
    return {name: own[name] for name in UNSEEN.get(model, ()) if own.get(name) is not None}
