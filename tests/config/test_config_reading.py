"""One language for values: what a file says, the command line says; what was Python before still is."""

from __future__ import annotations

import ast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.config.reading import config_loader, read_text
from recbole_attack.data.targets import as_tokens
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.yaml_files import load_yaml

WORDS = "1 -1 1e-3 0.5 012 1:30 yes No on ~ null None True Hit NDCG 'x' \"y\" '' 1_0 0x1F 0o17 .inf 2020-01-01 i#5 | -"
SCALARS = st.sampled_from([*WORDS.split(), "a b", "a # b", "&a 5", "!!int 5"])
FLOWS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(st.tuples(SCALARS, inner), max_size=2).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=5,
)
TEXTS = FLOWS | st.text("ab01:- []{},&*!|>'\"#?%~.e\t\n", max_size=12)
ODD = ["[Hit,NDCG]", "{split: {LS: valid_and_test}}", "[5, 10]", "a: b", "- a", "1\nother: 2", "# c", "5 # c"]
ODD += ["[a", "{a:1}"]


def of_file(folder, key, text):
    """What a configuration file holds that says ``key: text``; ``DataError`` where it is none."""
    path = folder / "one.yaml"
    path.write_text(f"{key}: {text}\n", encoding="utf-8", newline="")
    values = load_yaml(path, config_loader())
    if list(values) != [key]:
        raise DataError("more than one parameter")
    return values[key]


def before(text):
    """How the command line read a text when it knew Python's literals alone, written out."""
    words = {"true": True, "false": False, "null": None, "~": None}
    if text.lower() in words:
        return True, words[text.lower()]
    try:
        return True, ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False, text


def every_odd_text(test):
    for text in ODD:
        test = example(text)(test)
    return test


@settings(deadline=None, max_examples=300)
@given(TEXTS)
@every_odd_text
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("key", ["topk", "load_col"])
def test_a_text_is_what_a_file_makes_of_it(tmp_path_factory, key, text):
    """``topk`` holds values, ``load_col`` names; neither has a reading of its own of a plain text."""
    found = read_text(key, text)
    literal, value = before(text)
    if literal:
        assert repr(found) == repr(value)
        return
    try:
        written = of_file(tmp_path_factory.getbasetemp(), key, text)
    except DataError:
        assert found == text
        return
    plain = written is None or (isinstance(written, str) and text[:1] not in ("'", '"'))
    assert repr(found) == repr(text if plain else written)
    if plain and not set(text) & set("#&!|>\t\n") and text == text.strip() and text:
        assert found == written


@pytest.mark.parametrize("key", ["target_items", "prompt_fields", "target_group", "dataset"])
@given(TEXTS)
def test_names_and_what_has_a_language_of_its_own_stay_as_they_are_written(key, text):
    assert read_text(key, text) == text


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("metrics", "[Hit, NDCG]", ["Hit", "NDCG"]),
        ("metrics", "['Hit','NDCG']", ["Hit", "NDCG"]),
        ("topk", "[5,10]", [5, 10]),
        ("topk", "10", [10]),
        ("clip_grad_norm", "{max_norm: 5}", {"max_norm": 5}),
        ("clip_grad_norm", "{'max_norm': 5}", {"max_norm": 5}),
        ("clip_grad_norm", "None", None),
        ("load_col", "{inter: [user_id, item_id, timestamp]}", {"inter": ["user_id", "item_id", "timestamp"]}),
        ("val_interval", "{rating: '[3,inf)'}", {"rating": "[3,inf)"}),
        ("val_interval", "{zip: [012, 1e5]}", {"zip": ["012", "1e5"]}),
        ("target_items", "012", "012"),
        ("target_items", "[012, 'a, b']", "[012, 'a, b']"),
        ("mask_history", "no", False),
    ],
)
def test_the_command_line_and_a_file_make_the_same_configuration(small, tmp_path, key, text, value):
    (tmp_path / "one.yaml").write_text(f"{key}: {text}\n")
    line = AttackConfig(config_dict=small(**{key: text}))
    file = AttackConfig(config_file_list=[str(tmp_path / "one.yaml")], config_dict=small())
    assert line[key] == value
    same = as_tokens if key == "target_items" else lambda found: found
    assert same(file[key]) == same(value)
