"""Which client updates may reach a rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense import gram_matrix, refusal, screen, squared_norms, value_reasons

ENTRIES = st.sampled_from([0.0, 1.0, -5.0, 1e18, 1e19, 3e19, 1e30, 3.4e38, float("nan"), float("inf"), float("-inf")])


@given(st.lists(st.lists(ENTRIES, min_size=3, max_size=3), min_size=1, max_size=6))
def test_clients_stay_whose_squared_norm_is_a_number_of_their_type(rows: list[list[float]]) -> None:
    updates = torch.tensor(rows)
    expected = [sum(float(x) ** 2 for x in row) <= torch.finfo(torch.float32).max for row in updates.tolist()]
    assert screen(squared_norms(updates)).tolist() == expected
    assert screen(gram_matrix(updates).diagonal()).tolist() == expected


@pytest.mark.parametrize("columns", [1, 3, 100])
def test_norms_do_not_depend_on_the_parts_they_are_summed_in(columns: int) -> None:
    updates = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(squared_norms(updates, columns), updates.double().square().sum(dim=1), rtol=1e-12)


def test_doubles_may_be_longer() -> None:
    assert screen(torch.tensor([1e60], dtype=torch.float64), torch.float64).all()


def test_an_empty_update_has_norm_zero() -> None:
    assert squared_norms(torch.zeros(2, 0)).tolist() == [0, 0]


def test_an_update_that_fits_is_not_refused() -> None:
    """Every case that does not is in ``tests/federated/test_server.py``, where the server meets it."""
    parameters = {"a": torch.zeros(2, 3), "b": torch.zeros(())}
    honest = {"b": torch.tensor(1.0), "a": torch.zeros(1).expand(2, 3)}
    assert refusal(honest, parameters) is None
    assert refusal({"a": torch.zeros(2, 3)}, parameters) == "missing parameters"


@given(st.lists(st.booleans(), max_size=9))
def test_reasons_count_every_client_once(finite: list[bool]) -> None:
    reasons = value_reasons(torch.tensor(finite, dtype=torch.bool))
    assert reasons["not finite"] == finite.count(False) and reasons["too large"] == finite.count(True)
    assert all(reasons.values()) and reasons.total() == len(finite)
