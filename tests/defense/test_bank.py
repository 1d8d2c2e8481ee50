"""HiCS against a literal reading over several rounds, on sparse rows and one by one."""

from __future__ import annotations

import doctest
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from item_rows import PARAMETERS, H, V, fast, slow, stacked

from recbole_attack.config import AttackConfig
from recbole_attack.defense import Aggregator, bank, configured_aggregator
from recbole_attack.federated.client_updates import ITEM_TABLE


def rule(**options: Any) -> Aggregator:
    return configured_aggregator(AttackConfig(config_dict={"aggregator": "hics", **options}).final_config_dict)


def cut(row: np.ndarray, most: float) -> np.ndarray:
    return row * min(1.0, most / float(np.linalg.norm(row))) if row.any() else row


class Literal:
    """A server, item by item."""

    def __init__(self, per_item: bool, first: float, second: float | None, share: float) -> None:
        self.per_item, self.first, self.second, self.share = per_item, first, second, share
        self.bank = [np.zeros(H) for _ in range(V)]

    def round(self, table: np.ndarray, weights: np.ndarray) -> np.ndarray:
        averages = {}
        for item in range(V):
            touching = [c for c in range(len(weights)) if table[c, item].any()]
            if touching:
                total = sum(weights[c] * cut(table[c, item], self.first) for c in touching)
                averages[item] = total / (sum(weights[touching]) if self.per_item else sum(weights))
        lengths = [float(np.linalg.norm(row)) for row in averages.values()]
        most = self.second if self.second is not None else statistics.median_low(lengths) if lengths else 1.0
        for item, row in averages.items():
            self.bank[item] = self.bank[item] + cut(row, most)
        ranked = sorted(range(V), key=lambda item: (-round(float(np.linalg.norm(self.bank[item])) / most, 5), item))
        found = np.zeros((V, H))
        for item in ranked[: max(int(self.share * V), 1)]:
            found[item], self.bank[item] = self.bank[item], np.zeros(H)
        return found


@pytest.mark.parametrize("per_item", [False, True], ids=["whole", "per item"])
@settings(max_examples=25)
@given(
    n=st.integers(1, 7),
    share=st.sampled_from([0.3, 0.7, 1.0]),
    seed=st.integers(0, 10**6),
    first=st.sampled_from([0.5, 100.0]),
    second=st.sampled_from([None, 0.3]),
    paid=st.sampled_from([0.01, 0.3, 1.0]),
)
def test_it_is_the_definition_round_after_round(
    per_item: bool, n: int, share: float, seed: int, first: float, second: float | None, paid: float
) -> None:
    aggregator = rule(per_item=per_item, client_row_norm=first, mean_row_norm=second, paid_share=paid)
    server = Literal(per_item, first, second, paid)
    saved: list[torch.Tensor | None] = [None, None]
    for index in range(3):
        updates, weights = stacked(n, share, seed + index)
        expected = server.round(updates[ITEM_TABLE].double().numpy(), weights.double().numpy())
        for way, backend in enumerate((fast, slow)):
            found = backend(updates, weights, aggregator.in_round(0, index, saved[way]))
            assert np.allclose(found.update[ITEM_TABLE], expected, atol=1e-4)
            body = (weights / weights.sum()) @ updates["body"]
            torch.testing.assert_close(found.update["body"], body, rtol=1e-4, atol=1e-5)
            assert found.saved is not None
            assert np.allclose(found.saved, np.stack(server.bank), atol=1e-4)
            saved[way] = found.saved


def test_by_default_bounds_are_the_rounds_medians() -> None:
    """Three clients with a row each, of length 1, 2 and 50, on items of their own."""
    updates = {name: torch.zeros(3, *p.shape) for name, p in PARAMETERS.items()}
    for client, length in enumerate((1.0, 2.0, 50.0)):
        updates[ITEM_TABLE][client, 1 + client, 0] = length
    found = fast(updates, torch.ones(3), rule(per_item=True, paid_share=1.0))
    assert found.update[ITEM_TABLE][:5, 0].tolist() == pytest.approx([0, 1, 2, 2, 0])
    whole = fast(updates, torch.ones(3), rule(paid_share=1.0))
    assert whole.update[ITEM_TABLE][:5, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 0])


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_the_longest_rows_are_paid_however_short_all_of_them_are(scale: float) -> None:
    """A bound far above all rows clips none, and says nothing of which is longer."""
    lengths = torch.rand(200, generator=torch.Generator().manual_seed(1)) + 0.5
    update, left = bank.Bank(bound=3.0, share=0.25).paid((scale * lengths)[:, None], torch.zeros(200, 1))
    longest = lengths.argsort(descending=True)[:50]
    assert sorted(update[:, 0].nonzero().flatten().tolist()) == sorted(longest.tolist())
    assert int((left != 0).sum()) == 150
    nothing, _ = bank.Bank(bound=3.0, share=0.25).paid(torch.zeros(4, 1), torch.zeros(4, 1))
    assert not nothing.any() and bool(nothing.isfinite().all())


def test_nothing_is_lost_in_the_bank() -> None:
    """What is paid out and what is left are all that was ever aggregated."""
    aggregator, everything = rule(paid_share=0.3, mean_row_norm=0.2), rule(paid_share=1.0, mean_row_norm=0.2)
    saved, paid, due = None, torch.zeros(V, H), torch.zeros(V, H)
    for index in range(5):
        updates, weights = stacked(6, 0.5, index)
        found = fast(updates, weights, aggregator.in_round(0, index, saved))
        saved, paid = found.saved, paid + found.update[ITEM_TABLE]
        due += fast(updates, weights, everything).update[ITEM_TABLE]
        assert int(found.update[ITEM_TABLE].any(dim=1).sum()) <= 2
    torch.testing.assert_close(paid + saved, due)


@pytest.mark.parametrize("backend", [fast, slow])
def test_a_round_without_a_client_leaves_the_bank_as_it_is(backend: Any) -> None:
    updates, weights = stacked(2, 1.0, 0)
    updates["body"][:] = float("nan")
    found = backend(updates, weights, rule().in_round(0, 0, torch.ones(V, H)))
    assert found.saved is None and not found.update[ITEM_TABLE].any()


def test_the_documented_example_holds() -> None:
    failed, tried = doctest.testmod(bank)
    assert (failed, tried > 0) == (0, True)
