"""Scores of clients against readings of whole updates, which detectors never see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense import CLIENT_DETECTORS
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.suspicion import client_scores

HIDDEN, ITEMS = 3, 6
rounds = given(n=st.integers(1, 9), seed=st.integers(0, 10**6), zero=st.booleans())


def stacked(n: int, seed: int, zero: bool) -> dict[str, torch.Tensor]:
    """Updates of ``n`` clients of which each touched some items; the first may be zero."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    table = torch.randn(n, ITEMS, HIDDEN, generator=generator, dtype=torch.float64)
    table[torch.rand(n, ITEMS, generator=generator) < 0.5] = 0
    dense[0], table[0] = dense[0] * (not zero), table[0] * (not zero)
    return {"dense": dense, ITEM_TABLE: table}


def literal(whole: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Every detector's scores, client by client from its whole update."""
    table = whole[ITEM_TABLE].numpy()
    flat = np.concatenate([whole["dense"].numpy(), table.reshape(len(table), -1)], axis=1)
    lengths = np.linalg.norm(flat, axis=1)
    found: dict[str, list[float]] = {"top_row": [], "clone": [], "norm": []}
    for i, update in enumerate(flat):
        rows = [row @ row for row in table[i]]
        others = [
            update @ flat[j] / (lengths[i] * lengths[j]) if lengths[i] * lengths[j] else 0.0
            for j in range(len(flat))
            if j != i
        ]
        found["top_row"].append(max(rows) / (update @ update) if lengths[i] else 0.0)
        found["clone"].append(max(others, default=0.0))
        found["norm"].append(lengths[i] / np.median(lengths) if np.median(lengths) else 0.0)
    centred = flat - flat.mean(axis=0)
    squared = (centred @ np.linalg.svd(centred)[2][0]) ** 2
    spectral = squared / squared.sum() if len(flat) > 1 else np.zeros(1)
    return {**{name: np.array(values) for name, values in found.items()}, "spectral": spectral}


@rounds
def test_scores_are_those_of_whole_updates(n: int, seed: int, zero: bool) -> None:
    whole = stacked(n, seed, zero)
    found, expected = client_scores(ClientUpdates.from_stacked(whole), CLIENT_DETECTORS), literal(whole)
    assert set(found) == set(CLIENT_DETECTORS) == set(expected)
    for name, scores in found.items():
        np.testing.assert_allclose(scores.numpy(), expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


@rounds
def test_the_order_of_clients_does_not_matter(n: int, seed: int, zero: bool) -> None:
    whole = stacked(n, seed, zero)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    here = client_scores(ClientUpdates.from_stacked(whole), CLIENT_DETECTORS)
    there = client_scores(ClientUpdates.from_stacked({k: v[order] for k, v in whole.items()}), CLIENT_DETECTORS)
    for name, scores in here.items():
        torch.testing.assert_close(there[name], scores[order], rtol=1e-6, atol=1e-9)


def test_each_finds_what_it_is_for() -> None:
    whole = stacked(8, 3, False)
    whole["dense"][5], whole[ITEM_TABLE][5] = 0, 0
    whole[ITEM_TABLE][5, 2] = 0.1
    scores = client_scores(ClientUpdates.from_stacked(whole), CLIENT_DETECTORS)
    assert scores["top_row"].argmax() == 5 and scores["top_row"][5] == 1
    whole = {name: torch.cat([value, value[:1] * 2]) for name, value in stacked(8, 4, False).items()}
    clones = client_scores(ClientUpdates.from_stacked(whole), ["clone"])["clone"]
    assert clones[[0, 8]] == pytest.approx([1.0, 1.0]) and (clones[1:8] < 0.99).all()
    whole = {
        name: value * torch.tensor([1.0] * 7 + [50.0]).view(-1, *[1] * (value.dim() - 1))
        for name, value in stacked(8, 5, False).items()
    }
    far = client_scores(ClientUpdates.from_stacked(whole), ["norm", "spectral"])
    assert far["norm"].argmax() == far["spectral"].argmax() == 7 and far["spectral"][7] > 0.8


def test_an_update_of_one_row_scores_one_whatever_its_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.zeros(400, 2, 37)
    table[:, 1] = torch.randn(400, 37, generator=generator) * 10 ** torch.linspace(-6, 6, 400)[:, None]
    whole = {"dense": torch.zeros(400, 5), ITEM_TABLE: table}
    assert (client_scores(ClientUpdates.from_stacked(whole), ["top_row"])["top_row"] == 1).all()
    whole["dense"][:, 0] = 1e-4 * table[:, 1].norm(dim=1)
    assert (client_scores(ClientUpdates.from_stacked(whole), ["top_row"])["top_row"] < 1).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_copies_are_clones_to_the_last_bit_and_what_is_only_alike_is_not(kind: torch.dtype) -> None:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        whole = {"dense": torch.randn(200, 333, generator=generator, dtype=kind)}
        whole[ITEM_TABLE] = torch.randn(200, 4, HIDDEN, generator=generator, dtype=kind)
        whole["dense"][199], whole[ITEM_TABLE][199] = whole["dense"][0], whole[ITEM_TABLE][0]
        whole["dense"][150], whole[ITEM_TABLE][150] = 3 * whole["dense"][7], 3 * whole[ITEM_TABLE][7]
        whole["dense"][151] = whole["dense"][8] * (1 + 0.01 * torch.randn(333, generator=generator, dtype=kind))
        whole[ITEM_TABLE][151] = whole[ITEM_TABLE][8]
        clones = client_scores(ClientUpdates.from_stacked(whole), ["clone"])["clone"].float()
        assert (clones >= 1.0).nonzero().flatten().tolist() == [0, 7, 150, 199]
        assert clones.max() == 1.0 and 0.9999 < clones[8] == clones[151] < 1.0


def test_what_no_rule_looks_at_is_most_suspicious_and_hides_nobody() -> None:
    whole = stacked(6, 1, False)
    broken = {name: torch.cat([value, value[:2]]).float() for name, value in whole.items()}
    broken["dense"][6, 0], broken["dense"][7] = torch.nan, 1e30
    found = client_scores(ClientUpdates.from_stacked(broken), CLIENT_DETECTORS)
    alone = client_scores(ClientUpdates.from_stacked({k: v.float() for k, v in whole.items()}), CLIENT_DETECTORS)
    for name, scores in found.items():
        torch.testing.assert_close(scores[:6], alone[name])
        assert scores[6:].isinf().all()
    everyone = {name: value[6:] for name, value in broken.items()}
    assert client_scores(ClientUpdates.from_stacked(everyone), ["spectral", "norm"])["norm"].isinf().all()


def test_nothing_is_asked_where_no_detector_is() -> None:
    assert client_scores(ClientUpdates.from_stacked(stacked(3, 0, False)), {}) == {}
