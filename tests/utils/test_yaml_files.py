"""YAML reads back as itself, an id is the text it is written as, and no file is read without end."""

from __future__ import annotations

from itertools import pairwise

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import write_yaml
from recbole_attack.utils.yaml_files import MAX_BYTES, YamlLoader, dump_yaml, load_yaml, parse_yaml

ODD = [
    "1e5",
    "1E5",
    "012",
    "0x1F",
    "1_0",
    "1:30",
    ".5",
    "1.",
    "-.inf",
    ".nan",
    "~",
    "null",
    "yes",
    "No",
    "on",
    "=",
    "<<",
]
ODD += [
    "2020-01-01",
    "2020-99-99",
    "",
    " ",
    "-",
    "?",
    ":",
    "a: b",
    "a #b",
    "&x",
    "*x",
    "!x",
    "%",
    "@",
    "`",
    "'",
    '"',
    "\\",
]
ODD += ["\r", "\n", "a\nb", "\x85", "\u2028", "\ufeff", " a", "a ", "\t", "[a]", "{a}", "Ä", "\U0001f600", "\x07"]
TEXT = st.text(max_size=10) | st.sampled_from(ODD) | st.text("0123456789eE+-._:", max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class TextLoader(YamlLoader):
    text_keys = frozenset({"ids"})


def same(one, other):
    """Equal, and of the same types: 1 is neither 1.0 nor True."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(TEXT, PLAIN, max_size=4))
def test_what_is_written_reads_back_as_itself_here_and_elsewhere(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    write_yaml(path, values)
    assert same(load_yaml(path), values)
    assert same(yaml.safe_load(path.read_text(encoding="utf-8")), values)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_read_back_as_values_keys_and_ids(tmp_path, text):
    values = {text: text, "list": [text, {text: [text]}], "ids": [text]}
    write_yaml(tmp_path / "values.yaml", values)
    assert same(load_yaml(tmp_path / "values.yaml"), values)
    assert same(load_yaml(tmp_path / "values.yaml", TextLoader), values)


def test_values_that_are_shared_are_written_in_full():
    shared = [1, {"a": "b"}]
    assert yaml.safe_load(dump_yaml({"one": shared, "two": shared})) == {"one": shared, "two": shared}
    assert "&" not in dump_yaml({"one": shared, "two": shared})


UNQUOTED = ["012", "1e5", "x", "y", "no", "null", "~", "2020-01-01", "0x1F"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ids: 012", "012"),
        ("ids: 1e5", "1e5"),
        ("ids: [012, 1e5, 'x', \"y\", no, null, ~, 2020-01-01, 0x1F]", UNQUOTED),
        ("ids:\n- 012\n- 1_0\n", ["012", "1_0"]),
        ("ids: {1: [2, .5]}", {"1": ["2", ".5"]}),
        ("ids: ~", None),
        ("ids:", None),
        ("ids: '~'", "~"),
    ],
)
def test_ids_are_the_text_they_are_written_as(tmp_path, text, expected):
    (tmp_path / "a.yaml").write_text(text)
    assert same(load_yaml(tmp_path / "a.yaml", TextLoader), {"ids": expected})


def test_other_keys_keep_yamls_types_and_dates_are_text(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1e-3\nb: [1, yes, ~, 0x1F]\nc: 2020-01-01\nd: 2020-99-99\non: {1: 2}\n")
    found = load_yaml(tmp_path / "a.yaml", TextLoader)
    assert same(found, {"a": 0.001, "b": [1, True, None, 31], "c": "2020-01-01", "d": "2020-99-99", "on": {"1": 2}})


@pytest.mark.parametrize("text", ["012", "-012", "1:30", "1:30.5", "0_7", "0o17"])
def test_a_number_that_could_be_read_in_two_ways_is_text(tmp_path, text):
    """YAML 1.1 reads 012 as 10 and 1:30 as 90; YAML 1.2 reads them as 12 and as text."""
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    assert load_yaml(tmp_path / "a.yaml") == {"a": text}


@given(st.integers() | st.floats())
def test_numbers_are_read_as_pyyaml_reads_those_it_writes(number):
    text = yaml.safe_dump(number)
    assert repr(parse_yaml(text)) == repr(yaml.safe_load(text)) == repr(number)


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "aliases are not supported"),
        ("a: &a [*a]\n", "aliases are not supported"),
        ("a: &a {x: 1}\nb: {<<: *a}\n", "aliases are not supported"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: " + "{b: " * 3000 + "}" * 3000, "nested too deeply"),
        ("\n".join(f"key{i}: 1" for i in range(1_000_000)), f"too long: expected at most {MAX_BYTES} bytes"),
        ("a: 1\nb: 2\na: 3\n", "'a' is given twice"),
        ("a: {b: 1, b: 2}\n", "'b' is given twice"),
        ("a: !!int x\n", "not valid YAML"),
        ("a: !!float x\n", "not valid YAML"),
        ("a: !!bool x\n", "not valid YAML"),
        ("a: !!timestamp 2020-99-99\n", "not valid YAML"),
        ("a: !!timestamp x\n", "not valid YAML"),
        ("a: !!binary 'é'\n", "not valid YAML"),
        ("a: !!python/none x\n", "not valid YAML"),
        ("? [a, b]\n: 1\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        (f"a: {'9' * 5000}\n", "not valid YAML"),
        ("[a]\n", "must hold 'key: value' lines: found list"),
        ("5\n", "must hold 'key: value' lines: found int"),
        ("", "must hold 'key: value' lines: found NoneType"),
    ],
    ids=lambda text: text[:24],
)
def test_files_that_are_no_plain_mapping_are_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        load_yaml(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


@settings(derandomize=True, deadline=None)
@given(st.text("ab:- \n[]{},&*!|>'\"#?%@~0.e\t", max_size=40))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        assert all(isinstance(key, str) for key in load_yaml(path))
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "missing.yaml", ""])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="not found"):
        load_yaml(tmp_path / name)
