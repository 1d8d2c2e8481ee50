"""Next-item losses against their formulas, a position at a time in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from recbole_attack.model.parts import NEXT_ITEM_LOSSES, next_item_losses

N_ITEMS, HIDDEN = 7, 3


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def bce(state, table, positive, negative):
    """DV-FSR, eq. 2, over 2: -1/2 (log s(x+) + log(1 - s(x-)))."""
    return -(math.log(sigmoid(state @ table[positive])) + math.log(sigmoid(-(state @ table[negative])))) / 2


def bpr(state, table, positive, negative):
    """Rendle et al. 2009: -log s(x+ - x-)."""
    return -math.log(sigmoid(state @ table[positive] - state @ table[negative]))


def ce(state, table, positive, negative):
    """Minus the logarithm of the softmax's entry, the padding item among the classes as in RecBole."""
    return -math.log(math.exp(state @ table[positive]) / sum(math.exp(state @ row) for row in table))


FORMULAS = {"BCE": bce, "BPR": bpr, "CE": ce}
NUMBERS = st.floats(-2, 2, width=32)


@st.composite
def rows(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    hidden = draw(hnp.arrays(np.float32, (*shape, HIDDEN), elements=NUMBERS))
    table = draw(hnp.arrays(np.float32, (N_ITEMS, HIDDEN), elements=NUMBERS))
    positives, negatives = (draw(hnp.arrays(np.int64, shape, elements=st.integers(0, N_ITEMS - 1))) for _ in range(2))
    return hidden, table, positives, negatives


def embedding(table):
    return nn.Embedding.from_pretrained(torch.from_numpy(table), freeze=False, padding_idx=0)


@pytest.mark.parametrize("loss_type", FORMULAS)
@given(rows())
def test_losses_are_their_formulas(loss_type, given):
    hidden, table, positives, negatives = given
    expected = []
    for states, row, others in zip(hidden.astype(float), positives, negatives, strict=True):
        terms = [
            FORMULAS[loss_type](state, table.astype(float), positive, negative)
            for state, positive, negative in zip(states, row, others, strict=True)
            if positive
        ]
        expected.append(sum(terms) / max(len(terms), 1))
    tensors = (torch.from_numpy(values) for values in (positives, negatives))
    losses = next_item_losses(torch.from_numpy(hidden), embedding(table), *tensors, loss_type)
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("loss_type", NEXT_ITEM_LOSSES)
def test_where_no_item_follows_nothing_is_learned(loss_type):
    items = embedding(np.random.default_rng(0).normal(size=(N_ITEMS, HIDDEN)).astype(np.float32))
    hidden = torch.randn(2, 3, HIDDEN, requires_grad=True)
    positives = torch.tensor([[2, 3, 0], [0, 0, 0]])
    next_item_losses(hidden, items, positives, torch.full((2, 3), 5), loss_type).sum().backward()
    assert torch.equal(hidden.grad.abs().sum(-1) > 0, positives != 0)
    assert set(FORMULAS) == set(NEXT_ITEM_LOSSES)
