"""Messages are one printable line of bounded length, whatever they quote."""

from __future__ import annotations

import pickle
from difflib import get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils.errors import (
    LONGEST_MESSAGE,
    LONGEST_NAME,
    ConfigError,
    DataError,
    TrainingError,
    did_you_mean,
)


@pytest.mark.parametrize("kind", [ConfigError, DataError, TrainingError])
@given(text=st.text())
def test_any_text_becomes_a_printable_line(kind, text):
    message = str(kind(text))
    assert message.isprintable()
    assert message == "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    assert str(kind(message)) == message == str(pickle.loads(pickle.dumps(kind(text))))


def test_a_long_message_keeps_its_ends():
    message = str(DataError("begin " + "x" * 50_000 + " end"))
    assert len(message) <= LONGEST_MESSAGE
    assert message.startswith("begin xxx") and " ... " in message and message.endswith("xxx end")


def test_names_are_compared_as_far_as_people_type_them():
    assert did_you_mean("dvfrs", ["ra", "dvfsr"]) == "; did you mean 'dvfsr'?"
    long = "a" * 200_000
    assert did_you_mean(long, [long + "b", "b" * 200_000]) == ""
    assert did_you_mean("a" * LONGEST_NAME + "b", ["a" * LONGEST_NAME]) == f"; did you mean '{'a' * LONGEST_NAME}'?"
    assert get_close_matches("dvfrs", ["ra", "dvfsr"]) == ["dvfsr"]
