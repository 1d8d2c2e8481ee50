"""How the server combines client updates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense import AGGREGATORS

mean = AGGREGATORS["mean"].combine
NUMBERS = st.floats(-1e3, 1e3)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Updates of 1 to 6 clients over 1 to 4 parameters, and positive weights."""
    clients, parameters = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rows = draw(
        st.lists(st.lists(NUMBERS, min_size=parameters, max_size=parameters), min_size=clients, max_size=clients)
    )
    weights = draw(st.lists(st.floats(0.01, 100), min_size=clients, max_size=clients))
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-7)


def test_mean_of_three_clients_by_hand() -> None:
    updates = torch.tensor([[1.0, 0.0], [4.0, 3.0], [0.0, -6.0]])
    assert mean(updates, torch.ones(3)).tolist() == pytest.approx([5 / 3, -1.0])
    assert mean(updates, torch.tensor([2.0, 1.0, 1.0])).tolist() == pytest.approx([1.5, -0.75])


def test_sum_is_the_mean_times_the_weight() -> None:
    updates, weights = torch.tensor([[1.0, 0.0], [4.0, 3.0]]), torch.tensor([2.0, 1.0])
    assert AGGREGATORS["sum"].combine(updates, weights).tolist() == [6.0, 3.0]
    assert same(AGGREGATORS["sum"].combine(updates, weights), 3 * mean(updates, weights))


@given(rounds())
def test_mean_is_the_loop_over_clients(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    updates, weights = data
    expected = [
        sum(float(w) * float(row[p]) for w, row in zip(weights, updates, strict=True)) / float(sum(weights))
        for p in range(updates.shape[1])
    ]
    assert same(mean(updates, weights), torch.tensor(expected, dtype=torch.float64))


@given(rounds(), st.randoms(use_true_random=False))
def test_mean_does_not_depend_on_the_order(data: tuple[torch.Tensor, torch.Tensor], random: object) -> None:
    updates, weights = data
    order = list(range(len(weights)))
    random.shuffle(order)
    assert same(mean(updates[order], weights[order]), mean(updates, weights))


@given(rounds(), NUMBERS)
def test_mean_moves_along_when_all_updates_move(data: tuple[torch.Tensor, torch.Tensor], shift: float) -> None:
    updates, weights = data
    assert same(mean(updates + shift, weights), mean(updates, weights) + shift)


@given(rounds(), NUMBERS)
def test_mean_scales_with_the_updates(data: tuple[torch.Tensor, torch.Tensor], factor: float) -> None:
    updates, weights = data
    assert torch.allclose(mean(factor * updates, weights), factor * mean(updates, weights), rtol=1e-9, atol=1e-5)


@given(rounds(), st.floats(0.01, 100))
def test_mean_does_not_depend_on_the_scale_of_the_weights(
    data: tuple[torch.Tensor, torch.Tensor], factor: float
) -> None:
    updates, weights = data
    assert same(mean(updates, factor * weights), mean(updates, weights))


@given(rounds())
def test_mean_lies_between_the_smallest_and_the_largest_update(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    combined = mean(*data)
    assert (combined >= data[0].min(dim=0).values - 1e-7).all()
    assert (combined <= data[0].max(dim=0).values + 1e-7).all()
    assert combined.shape == data[0].shape[1:]
