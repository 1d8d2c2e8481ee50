"""Streams are functions of their key, and torch's global state is only borrowed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.utils.rng import stream, torch_stream, without_dropout

KEY = st.tuples(
    st.integers(0, 2**40),
    st.sampled_from(["negatives", "batches", "candidates"]),
    st.lists(st.integers(0, 5), max_size=3),
)
CPU = torch.device("cpu")


def draws(seed, purpose, keys):
    return stream(seed, purpose, *keys).integers(0, 2**63, size=4).tolist()


@settings(derandomize=True, deadline=None)
@given(KEY)
def test_same_key_draws_the_same_whatever_was_drawn_before(key):
    first = draws(*key)
    np.random.random(3)  # noqa: NPY002 - the global generator must not matter
    stream(*key[:2], 99).random(7)
    assert draws(*key) == first


@settings(derandomize=True, deadline=None, max_examples=300)
@given(KEY, KEY)
def test_other_keys_draw_something_else(one, other):
    assert (draws(*one) == draws(*other)) == (one == other)


@pytest.mark.parametrize(
    "other", [(8, "x", [1, 2]), (7, "y", [1, 2]), (7, "x", [2, 1]), (7, "x", [1, 3]), (7, "x", [1]), (7, "x", [])]
)
def test_every_part_of_the_key_counts(other):
    assert draws(7, "x", [1, 2]) != draws(*other)


def test_a_key_of_zero_is_not_a_missing_key():
    assert draws(7, "x", [1, 0]) != draws(7, "x", [1])
    assert draws(7, "x", [0]) != draws(7, "x", [])


def test_numpy_integers_are_keys_too():
    assert draws(np.int64(3), "x", [np.int32(4)]) == draws(3, "x", [4])


def test_torch_stream_gives_the_callers_state_back():
    torch.manual_seed(5)
    undisturbed = torch.rand(6)
    torch.manual_seed(5)
    head = torch.rand(2)
    with torch_stream(CPU, 1, "dropout", 0):
        torch.rand(11)
    assert torch.equal(torch.cat([head, torch.rand(4)]), undisturbed)


def test_torch_stream_gives_the_state_back_after_an_error():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with pytest.raises(KeyError), torch_stream(CPU, 1, "dropout"):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state)


def test_torch_stream_depends_on_its_key_only():
    def drawn(state, *key):
        torch.manual_seed(state)
        with torch_stream(CPU, *key):
            return torch.rand(4).tolist()

    first = drawn(0, 1, "dropout", 2)
    assert drawn(17, 1, "dropout", 2) == first
    others = [(2, "dropout", 2), (1, "noise", 2), (1, "dropout", 3)]
    assert all(drawn(0, *other) != first for other in others)


@pytest.mark.parametrize("training", [True, False])
def test_without_dropout_a_model_evaluates_and_cudnn_rests_until_the_block_ends(training):
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2)).train(training)
    before = torch.backends.cudnn.enabled
    with pytest.raises(KeyError), without_dropout(model):
        assert not any(module.training for module in model.modules())
        assert not torch.backends.cudnn.enabled, "its recurrent layers have no gradients in evaluation mode"
        raise KeyError
    assert all(module.training == training for module in model.modules())
    assert torch.backends.cudnn.enabled == before
