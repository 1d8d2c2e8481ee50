"""Rules on single coordinates, against SciPy and NumPy and a slow reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from recbole_attack.defense.coordinates import median, trimmed_mean

SHAPES = st.tuples(st.integers(1, 11), st.integers(1, 5), st.integers(0, 2**31))


def values(shape: tuple[int, int, int]) -> torch.Tensor:
    n, p, seed = shape
    return (
        torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(3).round(decimals=1)
    )


@given(SHAPES)
def test_median_is_numpys(shape: tuple[int, int, int]) -> None:
    data = values(shape)
    assert np.allclose(median(data, torch.ones(len(data))), np.median(data.numpy(), axis=0))


@given(SHAPES, st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.45, 0.49]))
def test_trimmed_mean_is_scipys(shape: tuple[int, int, int], ratio: float) -> None:
    data = values(shape)
    assert np.allclose(
        trimmed_mean(data, torch.ones(len(data)), ratio), trim_mean(data.numpy(), ratio, axis=0), atol=1e-12
    )


@given(SHAPES, st.floats(0, 0.5))
def test_trimmed_mean_removes_the_smallest_and_largest_one_by_one(shape: tuple[int, int, int], ratio: float) -> None:
    data = values(shape)
    for column, found in zip(data.T.tolist(), trimmed_mean(data, torch.ones(len(data)), ratio), strict=True):
        kept = sorted(column)
        for _ in range(int(ratio * len(data) + 1e-9)):
            if len(kept) > 2:
                kept.remove(min(kept))
                kept.remove(max(kept))
        assert float(found) == pytest.approx(sum(kept) / len(kept), abs=1e-9)


def test_a_share_that_floating_point_makes_too_small_still_cuts_whole_clients() -> None:
    assert 0.29 * 100 < 29
    data = torch.zeros(100, 1)
    data[:29] = 1e6
    assert trimmed_mean(data, torch.ones(100), 0.29).item() == 0


def test_weights_are_ignored() -> None:
    data = values((7, 3, 0))
    for rule in (median, lambda v, w: trimmed_mean(v, w, 0.2)):
        assert torch.equal(rule(data, torch.ones(7)), rule(data, torch.arange(1.0, 8.0)))


def test_the_largest_numbers_do_not_overflow_in_the_middle_of_two() -> None:
    assert median(torch.tensor([[3e38], [3e38]]), torch.ones(2)).isfinite().all()


@given(SHAPES, st.sampled_from([torch.float32, torch.float64]))
def test_coordinates_may_have_any_shape_and_stay_as_they_are(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    data = values(shape).to(dtype)
    n, p, _ = shape
    for rule in (median, lambda v, w: trimmed_mean(v, w, 0.2)):
        flat = rule(data, torch.ones(n))
        before = data.clone()
        assert flat.dtype == dtype and torch.equal(data, before)
        wide = data[:, None, :, None].expand(n, 2, p, 3)
        assert torch.allclose(rule(wide, torch.ones(n, 1, 1, 1)), flat[None, :, None].expand(2, p, 3))
        turned = data.T.contiguous().T
        assert torch.equal(rule(turned, torch.ones(n)), flat) and torch.equal(turned, before)
