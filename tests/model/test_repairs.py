"""Repaired models: graphs edge by edge, counts one by one; the rest is RecBole's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from recbole_attack.model.repairs import REPAIRED, normalised_graph

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


@pytest.mark.parametrize("name", REPAIRED)
def test_a_repaired_model_is_recboles_but_for_one_method(name):
    model = REPAIRED[name]
    (host,) = model.__bases__
    assert host.__module__.startswith("recbole.model.general_recommender") and host.__name__ == model.__name__ == name
    changed = {key for key in vars(model) if not key.startswith("__")}
    assert len(changed) == 1 and changed <= set(vars(host))


def _bare(name, n_users=4, n_items=6):
    """A model of that size, without a dataset behind it."""

    class Sizes:
        def num(self, field):
            return n_users if field == "user_id" else n_items

    fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_", "device": "cpu", "seed": 1}
    return REPAIRED[name](fields, Sizes())


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=8), min_size=1, max_size=4))
def test_pop_counts_every_row_of_every_batch(batches):
    model = _bare("Pop")
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for batch in batches:
        loss = model.calculate_loss({"item_id": torch.tensor(batch)})
        loss.backward()
        optimiser.step()
        assert loss == 0.0
    items = [item for batch in batches for item in batch]
    counts = torch.tensor([float(items.count(item)) for item in range(6)], dtype=torch.float64)
    scores = model.full_sort_predict({"user_id": torch.tensor([1, 2])}).view(2, 6)
    assert torch.equal(scores, (counts / counts.max()).expand(2, 6))


def test_random_leaves_the_ranking_to_the_pairs():
    model = _bare("Random")
    with pytest.raises(NotImplementedError):
        model.full_sort_predict({"user_id": torch.tensor([1, 2])})


def test_spectral_filters_get_the_laplacian_of_the_graph():
    """``I - D^-1 A``: every row sums to 0 where a node has neighbours, and to 1 where it has none."""

    class Model:
        n_users, n_items = 2, 3
        interaction_matrix = sparse.coo_matrix(np.array([[0, 1, 1], [0, 1, 0]]))
        get_eye_mat = REPAIRED["SpectralCF"].get_eye_mat

    laplacian = REPAIRED["SpectralCF"].get_laplacian_matrix(Model()).to_dense()
    assert torch.allclose(laplacian.sum(dim=1), torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]), atol=1e-6)
    assert torch.equal(laplacian.diagonal(), torch.ones(5))
