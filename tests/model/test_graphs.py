"""The graphs of RecBole's graph models, edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from recbole_attack.model.graphs import GRAPH_MODELS, normalised_graph

counts = arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 2))


@given(counts, st.sampled_from([(-0.5, -0.5), (-1.0, 0.0), (0.0, 0.0)]))
def test_every_edge_is_scaled_by_the_degrees_of_its_ends(interactions, powers):
    n_users, n_items = interactions.shape
    neighbours = [{n_users + i for i in range(n_items) if interactions[u, i]} for u in range(n_users)]
    neighbours += [{u for u in range(n_users) if interactions[u, i]} for i in range(n_items)]
    expected = np.zeros((len(neighbours), len(neighbours)))
    for node, others in enumerate(neighbours):
        for other in others:
            left, right = ((len(neighbours[n]) + 1e-7) ** power for n, power in zip((node, other), powers, strict=True))
            expected[node, other] = left * right
    found = normalised_graph(sparse.coo_matrix(interactions), *powers).to_dense().numpy()
    assert np.allclose(found, expected, rtol=1e-6, atol=0)


def test_a_repeated_interaction_is_one_edge():
    twice = sparse.coo_matrix(([1.0, 1.0], ([0, 0], [1, 1])), shape=(1, 2))
    once = sparse.coo_matrix(([1.0], ([0], [1])), shape=(1, 2))
    assert torch.equal(normalised_graph(twice, -0.5, -0.5).to_dense(), normalised_graph(once, -0.5, -0.5).to_dense())


@pytest.mark.parametrize("name", GRAPH_MODELS)
def test_a_repaired_model_is_recboles_but_for_one_method(name):
    model = GRAPH_MODELS[name]
    (host,) = model.__bases__
    assert host.__module__.startswith("recbole.model.general_recommender") and host.__name__ == model.__name__ == name
    changed = {key for key in vars(model) if not key.startswith("__")}
    assert len(changed) == 1 and changed <= set(vars(host))


def test_spectral_filters_get_the_laplacian_of_the_graph():
    """``I - D^-1 A``: every row sums to 0 where a node has neighbours, and to 1 where it has none."""

    class Model:
        n_users, n_items = 2, 3
        interaction_matrix = sparse.coo_matrix(np.array([[0, 1, 1], [0, 1, 0]]))
        get_eye_mat = GRAPH_MODELS["SpectralCF"].get_eye_mat

    laplacian = GRAPH_MODELS["SpectralCF"].get_laplacian_matrix(Model()).to_dense()
    assert torch.allclose(laplacian.sum(dim=1), torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]), atol=1e-6)
    assert torch.equal(laplacian.diagonal(), torch.ones(5))
