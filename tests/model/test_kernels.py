"""Fast layers against the ones they stand for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.model.layers import FeedForward
from scipy.stats import binomtest
from torch import nn

from recbole_attack.model.kernels import Dropout, use_fast_kernels


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_drops_at_the_rate_asked_for_and_keeps_the_expectation(p):
    torch.manual_seed(0)
    values = torch.ones(400, 500)
    dropped = Dropout(p)(values)
    zeros = int((dropped == 0).sum())
    assert binomtest(zeros, values.numel(), p).pvalue > 1e-4
    assert torch.allclose(dropped[dropped != 0], torch.tensor(1 / (1 - p)), rtol=1e-4)


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 100))
def test_any_shape_and_the_gradient_is_the_mask(shape, seed):
    torch.manual_seed(seed)
    values = torch.randn(shape, requires_grad=True)
    result = Dropout(0.5)(values)
    result.sum().backward()
    assert result.shape == values.shape
    assert torch.equal(result, values * values.grad)
    assert set(values.grad.unique().tolist()) <= {0.0, 2.0}


def test_neighbouring_elements_are_independent():
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(200_000)) != 0).float()
    for lag in range(1, 9):
        together = int((kept[:-lag] * kept[lag:]).sum())
        assert binomtest(together, len(kept) - lag, 0.25).pvalue > 1e-4


def test_limits_and_evaluation_equal_pytorch():
    values = torch.randn(3, 4)
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(1.0)(values), nn.Dropout(1.0)(values))
    assert torch.equal(Dropout(0.5).eval()(values), values)


def test_replaces_every_dropout_and_no_parameter():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.7)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    use_fast_kernels(model)
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.3, 0.7]
    assert not any(type(m) is nn.Dropout for m in model.modules())
    assert before.keys() == model.state_dict().keys()


@pytest.mark.parametrize("activation", ["gelu", "relu", "swish"])
def test_feed_forward_layers_compute_the_same(activation):
    torch.manual_seed(0)
    layer = FeedForward(4, 8, 0.0, activation, 1e-12)
    values = torch.randn(5, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(values).pow(2).sum(), values)
    use_fast_kernels(nn.Sequential(layer))
    (found,) = torch.autograd.grad(layer(values).pow(2).sum(), values)
    assert torch.allclose(found, expected, atol=1e-5)
