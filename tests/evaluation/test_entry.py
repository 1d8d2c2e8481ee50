"""Entries that somebody changed: a board is made of them, or they are refused in one line."""

from __future__ import annotations

from copy import deepcopy

from entries import entry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack.evaluation.board import board_files, read_entries
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.yaml_files import dump_yaml

ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    "",
    "x",
    "<b>é\x1b",
    [],
    {},
    ["a"],
    {"a": 1},
    {"x": {}},
    float("inf"),
    float("nan"),
]


def paths(value, path=()):
    """The way to every part of a value but itself."""
    for name, part in value.items() if isinstance(value, dict) else ():
        yield (*path, name)
        yield from paths(part, (*path, name))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_entry_is_shown_or_refused_in_one_line(data, tmp_path):
    made = deepcopy(entry("rule", 0.2, flags=["starved"]))
    *way, last = data.draw(st.sampled_from(list(paths(made))))
    at = made
    for name in way:
        at = at[name]
    how = data.draw(st.sampled_from(["lose", "rename", "replace", "replace"]))
    value = at.pop(last)
    if how != "lose":
        at["x" if how == "rename" else last] = value if how == "rename" else data.draw(st.sampled_from(ODD))
    (tmp_path / "entry.yaml").write_text(dump_yaml(made), encoding="utf-8")
    try:
        files = board_files(read_entries(tmp_path), tmp_path / "board.md")
    except (ConfigError, DataError) as error:
        assert str(error).isprintable()
    else:
        assert "<b>" not in files[tmp_path / "board.html"] + files[tmp_path / "board.md"]
