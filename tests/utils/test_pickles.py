"""Pickles of any protocol become protocol 2, and build the same."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.pickles import as_protocol_2

texts = st.text(max_size=300)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(plain, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back_whatever_the_protocol(value, protocol):
    written = as_protocol_2(pickle.dumps([value, value, {"again": value}], protocol))
    assert pickle.loads(written) == [value, value, {"again": value}]
    assert written[:2] == b"\x80\x02"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_names_are_written_out_and_remembered_ones_stay(protocol):
    names = [
        "collections",
        "OrderedDict",
        OrderedDict(a=1),
        OrderedDict,
        torch.Size([2]),
        "collections",
        OrderedDict(b=2),
    ]
    written = as_protocol_2(pickle.dumps((names, names), protocol))
    first, second = pickle.loads(written)
    assert first == names and second is first
    operations = list(pickletools.genops(written))
    assert {"collections OrderedDict", "torch Size"} == {
        str(arg) for code, arg, _ in operations if code.name == "GLOBAL"
    }
    assert max(code.proto for code, _, _ in operations) <= 2


def test_frames_between_a_name_and_its_use_do_not_matter():
    value = [OrderedDict([(str(n) * 1000, OrderedDict)]) for n in range(300)]
    assert pickle.loads(as_protocol_2(pickle.dumps(value, 4))) == value


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pytorchs_safe_reader_needs_it():
    value, content = {"a": [1, "two", None], "b": (True, 2.5)}, io.BytesIO()
    torch.save(value, content, pickle_protocol=4)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand"):
        torch.load(io.BytesIO(content.getvalue()), weights_only=True)


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04K\x01K\x02\x93.",  # two numbers for a name
        b"\x80\x04\x93.",
        b"\x80\x04\x8c\x02os\x8c\x08sys\nexit\x93.",
        b"\x80\x04\x8c\x02os\x8c\x00\x93.",
        b"\x80\x04\x8c\xc9" + b"o" * 201 + b"\x8c\x01x\x93.",
        b"\x80\x04\x8c\x02os\x94" + b"\x8c\x06system\x94\x93" + b"0h\x00" * 100_000 + b".",
    ],
    ids=["numbers", "nothing", "a line break", "an empty name", "a long name", "a name repeated"],
)
def test_what_asks_by_no_name_or_repeats_one_is_refused_or_stays_small(pickled):
    try:
        written = as_protocol_2(pickled)
    except DataError as error:
        assert "by no name" in str(error) or "too often" in str(error)
    else:
        assert len(written) <= 8 * len(pickled) + 200 and b"os" in written


def test_a_pickle_beyond_any_models_is_refused():
    with pytest.raises(DataError, match="at most 16777216 bytes, found"):
        as_protocol_2(b"\x80\x02" + b"N" * 2**24 + b".")


def test_bytes_are_nothing():
    assert pickle.loads(as_protocol_2(pickle.dumps([b"abc", 1], 4))) == [None, 1]


@pytest.mark.parametrize(
    "name", [b"c_codecs\nencode\n", b"\x8c\x07_codecs\x8c\x06encode\x93"], ids=["GLOBAL", "STACK_GLOBAL"]
)
def test_what_encodes_is_asked_for_by_a_name_of_nothing(name):
    written = as_protocol_2(b"\x80\x04" + name + b".")
    assert [arg for code, arg, _ in pickletools.genops(written) if code.name == "GLOBAL"] == ["recbole._codecs encode"]
