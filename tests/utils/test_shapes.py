"""Shapes of values: what fits, and where what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils.shapes import misfit

PAIRS = {
    "a number or nothing": ((float, None), [1, 1.5, None, float("nan")], ["1", True, [], 2**63]),
    "an integer": (int, [0, -(2**63), 2**63 - 1], [1.0, None, False, 2**63]),
    "a truth value": (bool, [True, False], [0, None, "yes"]),
    "a text": (str, ["", "a"], [1, None]),
    "one of two texts": (frozenset({"full", "sampled"}), ["full"], ["ful", 1, None, []]),
    "an object": ({"a": int, "?b": str}, [{"a": 1}, {"a": 1, "b": "", "c": []}], [{}, {"a": ""}, {"a": 1, "b": 1}, []]),
    "any names": ({str: [int]}, [{}, {"x": []}, {"x": [1, 2]}], [{"x": [1, "2"]}, {"x": 1}, []]),
    "one of two objects": (({"a": int}, [int]), [{"a": 1}, [1], []], [{"a": ""}, ["x"], None]),
    "anything": (object, [None, 1, "", [], {}, True], []),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_fits_and_what_does_not(name):
    shape, right, wrong = PAIRS[name]
    assert [misfit(value, shape) for value in right] == [None] * len(right)
    assert all(misfit(value, shape) for value in wrong)


@pytest.mark.parametrize(
    ("value", "shape", "words"),
    [
        ({"arms": {"clean": {}}}, {"arms": {str: str}}, "'arms.clean' as a text, found a mapping"),
        ({}, {"seed": int}, "'seed' as an integer of 64 bits, found none"),
        (
            {"x": [{"epoch": 0}, {"epoch": "1"}]},
            {"x": [{"epoch": int}]},
            "'x.1.epoch' as an integer of 64 bits, found '1'",
        ),
        ({"m": {"er": "high"}}, {"m": ({str: (float, None)}, None)}, "'m.er' as a number or nothing, found 'high'"),
        ([], {"a": int}, "it as a mapping, found a list"),
        ("ful", frozenset({"full"}), "it as one of full, found 'ful'; did you mean 'full'?"),
    ],
)
def test_the_deepest_part_that_does_not_fit_is_named(value, shape, words):
    assert misfit(value, shape) == words


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def own_shape(value):
    """The shape that says of a value all a shape can say."""
    if isinstance(value, dict):
        return {key: own_shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [tuple(map(own_shape, value)) or object]
    return None if value is None else type(value)


@given(PLAIN.filter(lambda value: "?" not in str(value)))
def test_every_value_fits_its_own_shape(value):
    assert misfit(value, own_shape(value)) is None
