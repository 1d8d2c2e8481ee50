"""Names in text, against Python's own quoting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data.names import as_name, as_names, split_names, take_name
from recbole_attack.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("[a, 'b']", ["a", "b"]),
        ('("a", b)', ["a", "b"]),
        ("['Half-Life, Episode 2']", ["Half-Life, Episode 2"]),
        ("'Half-Life, Episode 2', Portal", ["Half-Life, Episode 2", "Portal"]),
        ("Half-Life, Episode 2", ["Half-Life", "Episode 2"]),
        ("[\"Baldur's Gate\", O'Neil]", ["Baldur's Gate", "O'Neil"]),
        ("[012, 1e5, .5, null, no, a: b, &x, #y]", ["012", "1e5", ".5", "null", "no", "a: b", "&x", "#y"]),
        ("' a '", [" a "]),
        ("", [""]),
        ("a,,b,", ["a", "", "b", ""]),
        ("[]", [""]),
    ],
)
def test_names_are_separated_by_commas_outside_quotes(text, expected):
    assert split_names(text) == expected


@pytest.mark.parametrize("text", ["'a", "'a' b", "['a]", 'a, "b', "'it's'"])
def test_quotes_that_do_not_hold_a_whole_name_are_refused(text):
    with pytest.raises(ConfigError, match="wholly in quotes"):
        split_names(text)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.text("ab,[]()'= &012", max_size=6), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_names_in_double_quotes_come_back(names, brackets, spaces):
    text = (" , " if spaces else ",").join(f'"{name}"' for name in names)
    assert split_names(f"[{text}]" if brackets else text) == names


@settings(derandomize=True, deadline=None)
@given(st.text("ab ,'\"[]", max_size=20), st.integers(0, 20), st.text(",]&", min_size=1, max_size=3))
def test_a_name_ends_at_a_stop_or_the_end(text, start, stops):
    try:
        name, end = take_name(text, start, stops)
    except ConfigError:
        return
    assert text[end : end + 1] in ("", *stops)
    assert name in text


def test_whole_numbers_stand_for_their_digits_and_others_for_nothing():
    assert as_names([12, "x", 1e5, True, None]) == ["12", "x", 1e5, True, None]
    assert (as_name(7), as_name(7.0), as_name(True)) == ("7", 7.0, True)
    assert as_names(5) == 5


def test_long_texts_are_split_soon():
    assert split_names(" " * 50_000) == [""]
    assert len(split_names("[," * 20_000 + "]")) == 20_001
