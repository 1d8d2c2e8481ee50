"""RecBole's models that would not run or would not do what they say, each with one method replaced.

Graph models fill the matrix of the graph through ``dok_matrix._update``, which SciPy no longer has. Pop counts an item
once a batch, however often the batch has it. Random ranks all users of a batch alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.model.general_recommender import GCMC, NGCF, LightGCN, Pop, Random, SpectralCF
from scipy import sparse

_EPSILON = 1e-7
"""What RecBole adds to each degree, so that a node without a neighbour has one too."""


def normalised_graph(interactions: Any, left: float, right: float) -> torch.Tensor:
    """``D^left A D^right`` of the graph of users and items, A its adjacency matrix and D its degrees.

    Args:
        interactions: ``[n_users, n_items]`` sparse matrix; a repeated interaction is one edge.
        left: Power of a node's degree by which its row is scaled.
        right: The same for its column.

    Returns:
        ``[n_users + n_items, n_users + n_items]`` sparse, users first.
    """
    edges = sparse.csr_matrix(interactions).astype(bool).astype(float)
    graph = sparse.bmat([[None, edges], [edges.T, None]])
    degrees = np.asarray(graph.sum(axis=1)).ravel() + _EPSILON
    scaled = sparse.coo_matrix(sparse.diags(degrees**left) @ graph @ sparse.diags(degrees**right))
    index = torch.from_numpy(np.stack([scaled.row, scaled.col]).astype(np.int64))
    return torch.sparse_coo_tensor(index, torch.from_numpy(scaled.data).float(), scaled.shape, check_invariants=False)


def _symmetric(model: Any) -> torch.Tensor:
    return normalised_graph(model.interaction_matrix, -0.5, -0.5)


def _laplacian(model: Any) -> torch.Tensor:
    return model.get_eye_mat(model.n_users + model.n_items) - normalised_graph(model.interaction_matrix, -1.0, 0.0)


def _count(model: Any, interaction: Any) -> torch.Tensor:
    """Pop's ``calculate_loss``: count every row of the batch."""
    items = interaction[model.ITEM_ID]
    model.item_cnt.index_add_(0, items, torch.ones_like(items)[:, None])
    model.max_cnt = model.item_cnt.max(dim=0)[0]
    return model.fake_loss.sum() * 0.0


def _repaired(host: type[Any], name: str, method: Callable[..., torch.Tensor]) -> type[Any]:
    return type(host.__name__, (host,), {name: method, "__doc__": host.__doc__, "__module__": __name__})


REPAIRED: dict[str, type[Any]] = {
    "GCMC": _repaired(GCMC, "get_norm_adj_mat", _symmetric),
    "LightGCN": _repaired(LightGCN, "get_norm_adj_mat", _symmetric),
    "NGCF": _repaired(NGCF, "get_norm_adj_mat", _symmetric),
    "Pop": _repaired(Pop, "calculate_loss", _count),
    # RecBole's trainer then asks for one pair of user and item after the other.
    "Random": _repaired(Random, "full_sort_predict", AbstractRecommender.full_sort_predict),
    "SpectralCF": _repaired(SpectralCF, "get_laplacian_matrix", _laplacian),
}
"""The repaired models by RecBole's name."""
