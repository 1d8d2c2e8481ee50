"""Records, stores and notes with any part of them changed: read, or refused in one line."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
SETTINGS = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = [None, True, 0, -1, 1.5, 10**400, 2**63, "", "x", "full", "é\x1b\n", [], {}, [1], ["a"], {"a": 1}, [{}], "1e5"]
ODD += [float("nan"), float("inf"), "popular:1", {"er@10": None}, [[]], {"a": {}}]
NAMES = ["x", "", "é\n", "er@x", "seed", "attacked"]


def paths(value, path=()):
    """The way to every part of a value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from paths(part, (*path, name))


def changed(data, value):
    """A value with one part of it lost, renamed or replaced."""
    path = data.draw(st.sampled_from(list(paths(value))))
    how = data.draw(st.sampled_from(["lose", "rename", "replace", "replace"]))
    if not path:
        return deepcopy(data.draw(st.sampled_from(ODD)))
    at = value
    for name in path[:-1]:
        at = at[name]
    if how == "lose":
        del at[path[-1]]
    elif how == "rename" and isinstance(at, dict):
        at[data.draw(st.sampled_from(NAMES))] = at.pop(path[-1])
    else:
        at[path[-1]] = deepcopy(data.draw(st.sampled_from(ODD)))
    return value


def changed_text(data, text):
    value = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        value = changed(data, value) if isinstance(value, (dict, list)) else value
    return json.dumps(value).encode()


@pytest.mark.parametrize("name", ["records/federated", "records/pretrain", "data_notes/same"])
@SETTINGS
@given(data=st.data())
def test_a_changed_object_is_read_or_refused(harness, name, data):
    run = harness(f"parsers.{name.split('/')[0]}").run
    assert run(changed_text(data, (CORPUS / name).read_bytes()))


@SETTINGS
@given(data=st.data())
def test_a_changed_line_of_a_store_is_read_or_refused(harness, data):
    files = [file.splitlines() for file in (CORPUS / "stores" / "trained").read_bytes().split(b"\x1e")]
    file = data.draw(st.sampled_from(files))
    place = data.draw(st.integers(0, len(file) - 1))
    file[place] = changed_text(data, file[place])
    assert harness("parsers.stores").run(b"\x1e".join(b"".join(line + b"\n" for line in lines) for lines in files))
