"""Generated atomic files against a plain reading of the same text: ragged, quoted, odd ids, ties, types."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import DataError

ODD = ["NA", "None", "null", "nan", "N/A", "#N/A", "-", "012", "1e5", '"', '"a', 'b"', "'", "#x", "[PAD]", "\\t", " a"]
ODD += ["a b", "é", "é", "中", "\u2028", "\x85", "\x0b", "{", ";", "True", "a/b", "%", "\u00a0", "\ufeff"]
TOKEN = st.sampled_from(ODD) | st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=3)
START = 1_700_000_000
TIME = {
    "seconds": st.integers(-2, 3).map(lambda n: str(START + n)),
    "nanoseconds": st.integers(-2, 3).map(lambda n: str(START * 10**9 + n)),
    "beyond 64 bits": st.integers(-2, 3).map(lambda n: str(START * 10**20 + n)),
    "fractions": st.integers(0, 4).map(lambda n: f"{START}.{n:09d}"),
    "spellings": st.sampled_from(["1", "1.0", "1e0", "2", "0.2e1", "-3", "+2.00", "1000e-3", ".5", "9007199254740993"]),
}
FIELDS = {"user_id": "token", "item_id": "token", "timestamp": "float", "note": "token", "rating": "float"}
SEPARATORS = ["\t", ",", "::"]
SETTINGS = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixtures are functions without state."""


@pytest.fixture
def configured(small, tmp_path_factory):
    """The configuration of the dataset ``made``, and its folder."""

    @cache
    def configure(separator="\t", columns=(), **filters):
        base = tmp_path_factory.getbasetemp() / "reading"
        (base / "made").mkdir(parents=True, exist_ok=True)
        place = {"data_path": str(base), "dataset": "made", "field_separator": separator}
        if columns:
            place["load_col"] = {"inter": list(FIELDS)[:3], "user": list(columns)}
        return AttackConfig(config_dict=small(**place, **filters)), base / "made"

    return configure


@st.composite
def inter_texts(draw, separator):
    """An ``.inter`` file's text, in every form that means the same; or ``(text, line)``, where a line is wrong."""
    clean = TOKEN.filter(lambda token: separator not in token and ":" not in token)
    users, items = (st.sampled_from([*draw(st.lists(clean, min_size=1, max_size=n)), ""]) for n in (3, 5))
    time = TIME[draw(st.sampled_from(sorted(TIME)))]
    values = {"user_id": users, "item_id": items, "timestamp": time, "note": clean | st.just(""), "rating": clean}
    fields = draw(st.permutations(list(FIELDS)))
    rows = draw(st.lists(st.tuples(*(values[field] for field in fields)), min_size=1, max_size=14))
    ends = st.sampled_from(["", "", separator, separator * 2])
    lines = [separator.join(f"{field}:{FIELDS[field]}" for field in fields) + draw(ends)]
    for row in rows:
        lines += [""] * draw(st.sampled_from([0, 0, 0, 1]))
        lines.append(separator.join(row) + draw(ends))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    wrong = draw(st.sampled_from(["", "", "", "long", "short", "time"]))
    number = draw(st.integers(1, len(lines) - 1)) if wrong else 0
    if wrong:
        row = dict.fromkeys(fields, "x") | {"timestamp": "noon" if wrong == "time" else "1"}
        change = {"long": [*row.values(), "y"], "short": list(row.values())[:-1]}
        lines[number] = separator.join(change.get(wrong, list(row.values())))
    text = draw(st.sampled_from(["", "\ufeff"])) + newline.join(lines) + draw(st.sampled_from(["", newline]))
    return text, number + 1 if wrong else None


def plain_rows(text, separator):
    """Every row with both ids as a mapping, in file order."""
    header, *lines = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))
    names = [column.split(":")[0] for column in header.split(separator)]
    rows = [dict(zip(names, line.split(separator), strict=False)) for line in lines if line]
    return [row for row in rows if row["user_id"] and row["item_id"]]


def filtered(rows, keep, least):
    """Triples of user, item and time in time order, less repeated pairs and users with fewer than ``least`` rows."""
    rows = [(row["user_id"], row["item_id"], Fraction(row["timestamp"])) for row in rows]
    rows.sort(key=lambda row: row[2])
    if keep:
        kept = {row[:2]: row for row in (rows if keep == "last" else rows[::-1])}
        rows = [row for row in rows if kept[row[:2]] is row]
    users = [row[0] for row in rows]
    return [row for row in rows if users.count(row[0]) >= least]


def sequences_of(dataset):
    dataset.build()
    full, users = dataset.split.full, dataset.field2id_token["user_id"]
    return {str(users[u]): dataset.tokens("item_id", full[u]) for u in range(1, full.n_users)}


@SETTINGS
@given(data=st.data(), keep=st.sampled_from([None, None, "first", "last"]), least=st.sampled_from([0, 2]))
def test_interactions_are_what_a_plain_reading_finds(configured, data, keep, least):
    separator = data.draw(st.sampled_from(SEPARATORS))
    text, wrong = data.draw(inter_texts(separator))
    config, folder = configured(separator, rm_dup_inter=keep, user_inter_num_interval=f"[{least},inf)")
    (folder / "made.inter").write_text(text, encoding="utf-8", newline="")
    if wrong:
        with pytest.raises(DataError, match=rf"made\.inter, line {wrong}: expected .* found"):
            create_dataset(config)
        return
    expected: dict[str, list[str]] = {}
    for user, item, _ in filtered(plain_rows(text, separator), keep, least):
        expected.setdefault(user, []).append(item)
    if not expected:
        with pytest.raises(DataError, match="found"):
            create_dataset(config)
        return
    assert sequences_of(create_dataset(config)) == expected


NUMBERS = st.sampled_from(["", "1", "1.0", "-2.5e3", "7"])
SEQUENCES = st.sampled_from(["", "a", "a b", " b  a", '"a b"'])


@SETTINGS
@given(data=st.data())
def test_users_are_what_a_plain_reading_finds(configured, data):
    """Whoever has interactions has the values of their row; two rows must agree; others are nobody."""
    clean = TOKEN.filter(lambda token: "\t" not in token)
    known = data.draw(st.lists(clean, min_size=1, max_size=5, unique=True))
    active = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    row = st.tuples(st.sampled_from(known), st.sampled_from(ODD) | st.just(""), NUMBERS, SEQUENCES)
    rows = data.draw(st.lists(row, max_size=3)) + [(user, "NA", "1", "a") for user in active]
    rows = data.draw(st.permutations(rows))
    config, folder = configured(columns=("user_id", "job", "age", "tags"))
    inter = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{user}\tx\t1" for user in active)]
    users = ["user_id:token\tjob:token\tage:float\ttags:token_seq", *map("\t".join, rows)]
    for name, lines in (("made.inter", inter), ("made.user", users)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    said = [(user, job, float(age) if age else None, tags) for user, job, age, tags in rows]
    if len(set(said)) > len({user for user, *_ in said}):
        with pytest.raises(DataError, match=r"made\.user, lines \d+ and \d+: expected one"):
            create_dataset(config)
        return
    dataset = create_dataset(config)
    dataset.build()
    names = [str(name) for name in dataset.field2id_token["user_id"]]
    assert names[1:] == active
    for user, job, age, tags in said:
        if user in active:
            place = len(names) - 1 - names[::-1].index(user)  # an id may be called as RecBole calls the padding
            number = dataset.user_fields["age"][place]
            assert dataset.user_fields["job"][place] == (job or None)
            assert number == age or (age is None and number != number)
            loaded = dataset.user_feat["tags"][place]
            assert dataset.tokens("tags", loaded[loaded > 0]) == tags.split()
