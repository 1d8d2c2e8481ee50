"""What a parameter may be made of, and what becomes of any value of any parameter."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.config.values import MAX_TEXT, MAX_VALUES, plain_values
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.files import write_yaml

LOOP: list = []
LOOP.append(LOOP)
BOMB: list = ["x"]
for _ in range(60):
    BOMB = [BOMB, BOMB]
WIDE = ["x"] * 9
for _ in range(6):
    WIDE = [WIDE] * 9


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2.5, "x")), [1, [2.5, "x"]]),
        (np.float32(1.5), 1.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array(["a"], dtype=object), ["a"]),
        (np.longdouble(0.5), 0.5),
        ({"a": (np.int64(1), None)}, {"a": [1, None]}),
        (-(2**63), -(2**63)),
    ],
    ids=str,
)
def test_numpys_values_and_tuples_become_pythons(value, expected):
    found = plain_values({"key": value})["key"]
    assert (found, type(found)) == (expected, type(expected))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime.date(2020, 1, 1), "found datetime.date"),
        (b"x", "(bytes)"),
        ({1}, "(set)"),
        (1j, "(complex)"),
        (..., "(ellipsis)"),
        (Path("x"), "(PosixPath)"),
        (np.datetime64("2020-01-01"), "(datetime64)"),
        (np.array(["2020"], dtype="datetime64[ns]"), "(ndarray)"),
        (torch.tensor(1), "(Tensor)"),
        (int, "(type)"),
        (float("nan"), "found nan"),
        (float("inf"), "found inf"),
        (np.array([np.nan]), "found nan"),
        (10**400, "an integer of 1329 bits"),
        (2**63, r"from -2**63 to 2**63 - 1: found an integer of 64 bits"),
        ({1: 2}, "a key of key must be text: found 1"),
        ({("a",): 2}, "a key of key must be text"),
        ("\ud800", "a file can hold"),
        ("a\0b", "a file can hold"),
        (LOOP, "holds too much"),
        (BOMB, "holds too much"),
        (WIDE, "holds too much"),
        (["x"] * MAX_VALUES, "holds too much"),
        ("x" * MAX_TEXT, "holds too much"),
        (np.zeros(10**6), "found array"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("deep", [False, True])
def test_what_no_file_can_hold_is_refused_in_one_line(value, words, deep):
    with pytest.raises(ConfigError) as error:
        plain_values({"key": [value] if deep else value})
    assert words in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_only_texts_name_parameters_and_a_model_may_be_a_class():
    with pytest.raises(ConfigError, match="a parameter's name must be text: found 5"):
        plain_values({5: 1})
    assert plain_values({"model": int}) == {"model": int}


BASES = [
    {"dataset": "tiny"},
    {"dataset": "tiny", "attack": "pea", "platform": "prompt_tune"},
    {"dataset": "ml-100k", "model": "BERT4Rec", "attack": "c_fsr", "aggregator": "mixed_rfa"},
    {"dataset": "synthetic", "model": "NARM", "scenario": "central"},
]
KEYS = [(base, key) for base in BASES for key in AttackConfig(config_dict=base).to_dict()]
WORDS = [
    "1e5",
    "012",
    "null",
    "None",
    "~",
    "[a]",
    "{'a': 1}",
    "inf",
    "true",
    "[0,inf)",
    "(1,5];[7,9]",
    "a,b",
    "'a",
    "*",
]
WORDS += ["{'inter':'*'}", "9" * 5000, "(" * 3000, "popular:" + "9" * 50, "count<" + "9" * 5000, "{1,2}", "b'x'", "1j"]
WORDS += [
    "../x",
    "gender=M & 'x",
    " " * 40_000,
    "a" * 40_000,
    "[1," * 9000,
    "\t",
    r"\t",
    "first",
    "UTF-8",
    "error",
    "ER@10",
]
NAMES = st.sampled_from(["inter", "user", "LS", "mode", "split", "max_norm", "users", "method", "rating", "1e5"])
TEXT = st.text(max_size=8) | st.sampled_from(WORDS)
ODD = [
    datetime.date(2020, 1, 1),
    b"x",
    {1},
    1j,
    ...,
    object(),
    np.float32(1.5),
    np.array(["a"]),
    np.datetime64("2020"),
    LOOP,
]
SCALARS = st.none() | st.booleans() | st.integers(-2, 9) | st.integers() | st.floats() | TEXT | st.sampled_from(ODD)
VALUES = st.recursive(
    SCALARS | st.sampled_from([10**400, 2**63, 2**62, 2**31, 0.5, 1]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXT, inner, max_size=3) | st.tuples(inner, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KEYS), VALUES)
def test_any_value_of_any_parameter_is_refused_in_a_line_or_survives_being_written(tmp_path_factory, where, value):
    base, key = where
    try:
        values = AttackConfig(config_dict={**base, key: value}).to_dict()
    except (ConfigError, DataError) as error:
        assert "\n" not in str(error) and len(str(error)) < 3000
        return
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    write_yaml(path, values)
    for again in (AttackConfig(config_file_list=[str(path)]), AttackConfig(config_dict=values)):
        assert sorted(map(repr, again.to_dict().items())) == sorted(map(repr, values.items()))


def test_too_much_is_not_blamed_on_one_parameter():
    with pytest.raises(ConfigError, match="the configuration holds too much"):
        plain_values({f"k{i}": 1 for i in range(MAX_VALUES + 1)})
