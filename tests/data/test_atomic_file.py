"""Atomic files that go wrong elsewhere: each gives the right data, or one line that says what is wrong with it."""

from __future__ import annotations

import logging
from decimal import Decimal

import numpy as np
import pytest

from recbole_attack import AttackConfig
from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import DataError

HEADER = ("user_id:token", "item_id:token", "timestamp:float", "rating:float")
ROWS = [(f"u{n % 20}", f"i{n * 5 % 13}", str(1000 + n), str(n % 5 + 1)) for n in range(120)]
"""120 interactions of 20 users with 13 items; no two at the same time."""


def text_of(rows, header=HEADER, separator="\t", end="\n"):
    return "".join(separator.join(row) + end for row in [header, *rows])


@pytest.fixture
def load(tmp_path, small):
    """The dataset made of some files' texts, by suffix."""

    def load_texts(inter, user=None, item=None, encoding=None, **changes):
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        for suffix, text in (("inter", inter), ("user", user), ("item", item)):
            if text is not None:
                (folder / f"made.{suffix}").write_text(text, encoding=encoding or "utf-8", newline="")
        place = {"data_path": str(tmp_path), "dataset": "made", **({"encoding": encoding} if encoding else {})}
        return create_dataset(AttackConfig(config_dict=small(**place, **changes)))

    return load_texts


def sequences_of(dataset):
    dataset.build()
    full, users = dataset.split.full, dataset.field2id_token["user_id"]
    return {str(users[u]): dataset.tokens("item_id", full[u]) for u in range(1, full.n_users)}


def in_file_order(rows):
    expected: dict[str, list[str]] = {}
    for user, item, *_ in rows:
        expected.setdefault(user, []).append(item)
    return expected


def columns(suffix, *fields):
    return {"inter": ["user_id", "item_id", "timestamp"], suffix: list(fields)}


@pytest.mark.parametrize(
    "text",
    [
        text_of(ROWS),
        text_of(ROWS, end="\t\n"),
        text_of(ROWS, end="\t\t\r\n"),
        text_of([HEADER], HEADER).split("\n")[0] + "\n" + text_of(ROWS, ROWS[0], end="\t\n").split("\n", 1)[1],
        "\ufeff" + text_of(ROWS),
        "\n\n".join(text_of(ROWS).split("\n")),
        text_of(ROWS).rstrip("\n") + "\n  \n",
        text_of(ROWS, end="\r"),
    ],
    ids=["plain", "trailing", "two trailing", "trailing in rows", "mark", "blank lines", "white space", "old Mac"],
)
def test_the_same_data_in_other_clothes(load, text):
    dataset = load(text)
    assert (dataset.user_num - 1, dataset.item_num - 1, len(dataset.inter_feat)) == (20, 13, 120)
    assert sequences_of(dataset) == in_file_order(ROWS)


@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_their_marks(load, encoding):
    rows = [("é", "ü", "1", "1"), ("é", "x", "2", "1")]
    assert sequences_of(load(text_of(rows), encoding=encoding)) == {"é": ["ü", "x"]}


@pytest.mark.parametrize("suffix", ["inter", "user", "item"])
@pytest.mark.parametrize(("row", "found"), [("a\tb\t1\t2\t3", 5), ("a\tb\t1", 3), ("a\tb\t1\t2\t\t3", 6), ("a", 1)])
def test_a_ragged_row_is_named(load, suffix, row, found):
    files = {
        "inter": text_of(ROWS),
        "user": text_of(
            [(u, "1", "2", "3") for u in in_file_order(ROWS)], ("user_id:token", "a:float", "b:float", "c:float")
        ),
        "item": text_of(
            [(f"i{n}", "1", "2", "3") for n in range(13)], ("item_id:token", "d:float", "e:float", "f:float")
        ),
    }
    lines = files[suffix].split("\n")
    lines.insert(7, row)
    files[suffix] = "\n".join(lines)
    loaded = {**columns("user", "user_id", "a"), "item": ["item_id", "d"]}
    with pytest.raises(
        DataError, match=rf"made\.{suffix}, line 8: expected 4 values, one for each field, found {found}$"
    ):
        load(**files, load_col=loaded)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("user_id:token\titem_id:token\ttimestamp:token\tr:float", "'timestamp' with type float, found token$"),
        ("user_id:token\titem_id:token\ttimestamp:token_seq\tr:float", "'timestamp' with type float, found token_seq$"),
        ("user_id:token\titem_id:token\ttimestamp:float_seq\tr:float", "'timestamp' with type float, found float_seq$"),
        ("user_id:token\titem_id:token_seq\ttimestamp:float\tr:float", "'item_id' with type token, found token_seq$"),
        ("user_id:float\titem_id:token\ttimestamp:float\tr:float", "'user_id' with type token, found float$"),
        ("user_id:token\titem_id:float_seq\ttimestamp:float\tr:float", "'item_id' with type token, found float_seq$"),
        ("user_id:token\titem_id:token\ttimestamp:float\tuser_id:token", "every field once, found 'user_id' twice$"),
        (
            "user_id:token\titem_id:token\ttimestamp:float\ttimestamp:token",
            "every field once, found 'timestamp' twice$",
        ),
        ("user_id:token\titem_id:token\ttimestamp:flaot\tr:float", "found 'timestamp:flaot'; did you mean 'float'"),
        ("user_id:token\titem_id:token\ttimestamp:float\t:float", "found ':float'"),
        ("user_id:token\titem_id:token\t\ttimestamp:float", "found ''"),
        ("", "expected a header of <field>:<type>, .*found ''$"),
    ],
)
def test_a_header_of_other_types_is_refused(load, header, words):
    with pytest.raises(DataError, match=rf"made\.inter.*{words}"):
        load(header and header + "\n" + text_of(ROWS, ROWS[0]))


@pytest.mark.parametrize(
    ("suffix", "header", "fields", "words"),
    [
        ("user", "user_id:float\tage:float", ("user_id", "age"), "'user_id' with type token, found float$"),
        ("user", "user:token\tage:float", ("user_id", "age"), "has no field 'user_id': found user, age; did you mean"),
        ("item", "item_id:token_seq\tkind:token", ("item_id", "kind"), "'item_id' with type token, found token_seq$"),
        ("item", "item_id:token\tuser_id:token", ("item_id", "user_id"), "no other loaded file has, found 'user_id'"),
        ("user", "user_id:token\titem_id:token", ("user_id", "item_id"), "no other loaded file has, found 'item_id'"),
        (
            "item",
            "item_id:token\ttimestamp:float",
            ("item_id", "timestamp"),
            "no other loaded file has, found 'timestamp'",
        ),
        ("item", "item_id:token\tkind:token\tkind:token", ("item_id",), "every field once, found 'kind' twice"),
    ],
)
def test_headers_of_users_and_items_are_checked_too(load, suffix, header, fields, words):
    rows = "".join(f"{n}{chr(9)}1{chr(9) + '1' if header.count(':') == 3 else ''}\n" for n in range(3))
    with pytest.raises(DataError, match=rf"made\.{suffix}.*{words}"):
        load(text_of(ROWS), **{suffix: header + "\n" + rows}, load_col=columns(suffix, *fields))


MADE = ("item_id_list", "item_length", "history_length", "neg_item_id")


@pytest.mark.parametrize("field", MADE)
@pytest.mark.parametrize("suffix", ["user", "item"])
def test_no_field_of_users_or_items_replaces_a_column_of_rows(load, suffix, field):
    """RecBole joins such fields to every batch by name: histories would be masked as the file says."""
    text = f"{suffix}_id:token\t{field}:token\n" + "".join(f"{n}\t1\n" for n in range(3))
    with pytest.raises(DataError, match=rf"made\.{suffix}: expected fields with other names .*, found '{field}'"):
        load(text_of(ROWS), **{suffix: text}, load_col=columns(suffix, f"{suffix}_id", field))
    load(text_of(ROWS), **{suffix: text})


def test_those_are_all_columns_of_evaluation_rows(load):
    dataset = load(text_of(ROWS))
    dataset.build()
    columns = dataset.evaluation_rows(dataset.split.test, 5).interaction
    assert columns.keys() - {"user_id", "item_id"} == {*MADE} - {"neg_item_id"}


def test_a_key_is_read_though_load_col_leaves_it_out(load):
    users = text_of([(user, user[1:]) for user in in_file_order(ROWS)], ("user_id:token", "age:float"))
    dataset = load(text_of(ROWS), users, load_col=columns("user", "age"))
    assert dataset.user_fields["age"][1:].tolist() == [float(u[1:]) for u in dataset.field2id_token["user_id"][1:]]


def test_a_discretised_time_still_orders(load):
    """RecBole replaces the numbers by buckets: order is taken from what the file says."""
    changes = {"numerical_features": ["timestamp"], "discretization": {"timestamp": {"method": "ED", "bucket": 2}}}
    dataset = load(text_of(ROWS[::-1]), **changes)
    assert sequences_of(dataset) == in_file_order(ROWS)
    with pytest.raises(DataError, match="exact_time_order=False needs 'timestamp' as a number"):
        load(text_of(ROWS), exact_time_order=False, **changes).build()


@pytest.mark.parametrize("changes", [{"normalize_all": True}, {"threshold": {"timestamp": 1050.0}}], ids=str)
def test_what_recbole_makes_of_times_changes_no_order(load, changes):
    rows = [(u, i, f"1{'0' * 17}{t}", r) for u, i, t, r in ROWS]
    assert sequences_of(load(text_of(rows[::-1]), **changes)) == in_file_order(ROWS)


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("time", [lambda n: "5", lambda n: str(5 - n % 2)], ids=["all equal", "two times"])
def test_equal_times_keep_file_order_after_every_filter(load, keep, time):
    """More rows than any sort handles by insertion, which would hide that the sort is not stable."""
    rng = np.random.default_rng(3)
    rows = [(f"u{rng.integers(9)}", f"i{rng.integers(60)}", time(n), str(n % 5)) for n in range(900)]
    ordered = sorted(rows, key=lambda row: row[2])
    pairs = [row[:2] for row in ordered]
    place = pairs.index if keep == "first" else (lambda pair: len(pairs) - 1 - pairs[::-1].index(pair))
    kept = [ordered[n] for n in sorted(place(pair) for pair in set(pairs))]
    kept = [row for row in kept if int(row[3]) > 0]
    filters = {"val_interval": {"rating": "[1,inf)"}, "rm_dup_inter": keep, "item_inter_num_interval": "[2,inf)"}
    loaded = {"inter": ["user_id", "item_id", "timestamp", "rating"]}
    items = [row[1] for row in kept]
    kept = [row for row in kept if items.count(row[1]) >= 2]
    assert 0 < len(kept) < 500
    assert sequences_of(load(text_of(rows), load_col=loaded, **filters)) == in_file_order(kept)


def test_quotes_are_text(load):
    rows = [list(row) for row in ROWS]
    rows[8][1] = '"opened'
    rows[28][1] = 'closed"'
    rows[50][1] = '""'
    dataset = load(text_of(rows))
    assert len(dataset.inter_feat) == 120
    assert sequences_of(dataset) == in_file_order(rows)


def test_ids_that_pandas_takes_for_missing_are_ids(load):
    names = ["NA", "None", "null", "nan", "N/A", "NaN", "#N/A", "NULL", "n/a", "<NA>", "-nan", "1.#IND"]
    rows = [(user, item, str(n), "1") for n, (user, item) in enumerate((u, i) for u in names for i in names)]
    users = text_of([(name, name) for name in names], ("user_id:token", "job:token"))
    dataset = load(text_of(rows), users, load_col=columns("user", "user_id", "job"))
    assert sequences_of(dataset) == in_file_order(rows)
    assert dataset.user_fields["job"].tolist() == [None, *names]


def test_only_rows_with_an_empty_id_are_left_out_and_a_warning_counts_them(load, caplog):
    rows = [("", "x", "1", "1"), ("a", "", "2", "1"), ("a", "y", "3", "1"), ("", "", "4", "1"), ("a", "z", "5", "1")]
    with caplog.at_level(logging.WARNING):
        assert sequences_of(load(text_of(rows))) == {"a": ["y", "z"]}
    assert "made.inter: 2 rows without 'user_id' are left out, the first in line 2" in caplog.text
    assert "made.inter: 1 rows without 'item_id' are left out, the first in line 3" in caplog.text


@pytest.mark.parametrize("time", ["inf", "-inf", "1e400", "nan", "NA", "noon", "2020-01-01", "0x10", "1,5", "1 2"])
def test_a_time_that_is_no_finite_number_is_named(load, time):
    rows = [*ROWS[:5], ("u1", "i1", time, "1"), *ROWS[5:]]
    words = f"made\\.inter, line 7: expected a finite number as 'timestamp', found '{time}'$"
    with pytest.raises(DataError, match=words):
        load(text_of(rows))


@pytest.mark.parametrize("kind", ["float", "float_seq"])
def test_numbers_of_users_are_checked_too(load, kind):
    users = [("u0", "1"), ("u1", ""), ("u2", "2 inf" if kind == "float_seq" else "inf")]
    found = users[2][1].split()[-1]
    words = f"made\\.user, line 4: expected a finite number as 'age', found '{found}'"
    with pytest.raises(DataError, match=words):
        load(
            text_of(ROWS), text_of(users, ("user_id:token", f"age:{kind}")), load_col=columns("user", "user_id", "age")
        )


@pytest.mark.parametrize(
    "times",
    [
        [1_700_000_000_000_000_000 + n for n in range(60)],
        [2**63 - 30 + n for n in range(60)],
        [10**40 + n for n in range(60)],
        [Decimal(1_700_000_000) + Decimal(n) / 10**12 for n in range(60)],
        [Decimal(n - 30) / 3 for n in range(60)],
    ],
    ids=["nanoseconds", "around 64 bits", "huge", "picoseconds", "fractions"],
)
def test_times_order_exactly_whatever_their_digits(load, times):
    rows = [
        ("a", f"i{n}", format(time, "f" if isinstance(time, Decimal) else "d"), "1") for n, time in enumerate(times)
    ]
    shuffled = [rows[n] for n in np.random.default_rng(0).permutation(60)]
    assert sequences_of(load(text_of(shuffled))) == in_file_order(rows)


def test_an_exponent_beyond_reckoning_is_refused(load):
    rows = [("a", "x", "1e-99999999999999999999", "1"), ("a", "y", "1e-99999999999999999998", "1")]
    with pytest.raises(DataError, match="expected 'timestamp' with exponents of at most 18 digits"):
        load(text_of(rows))


def test_text_that_is_none_is_named(tmp_path):
    def reader(name):
        return AtomicFile(tmp_path / name, "\t", " ", "utf-8")

    file = tmp_path / "a.inter"
    file.write_bytes(b"user_id:token\titem_id:token\na\tx\nb\t\xff\n")
    with pytest.raises(DataError, match=r"a\.inter, line 3: expected utf-8 text, found other bytes"):
        reader("a.inter").read(["user_id"])
    file.write_bytes(b"user_id:token\titem_id:token\na\tx\nb\0\ty\n")
    with pytest.raises(DataError, match=r"a\.inter, line 3: expected text, found a NUL character"):
        reader("a.inter").read(["item_id"])
    with pytest.raises(DataError, match=r"b\.inter cannot be read: No such file"):
        reader("b.inter").read(["user_id"])


USERS = [(user, "F" if n % 2 else "M", str(n)) for n, user in enumerate(in_file_order(ROWS))]
ABOUT_USERS = ("user_id:token", "gender:token", "age:float")


@pytest.mark.parametrize("other", [("u1", "M", "1"), ("u1", "F", "2"), ("u1", "", "1"), ("u1", "F", "")])
@pytest.mark.parametrize("suffix", ["user", "item"])
def test_rows_that_contradict_each_other_are_refused(load, suffix, other):
    def rows(*more):
        rename = str.maketrans("u", "i") if suffix == "item" else {}
        table = [(name.translate(rename), *rest) for name, *rest in (*USERS[:13], *more)]
        return {suffix: text_of(table, (f"{suffix}_id:token", *ABOUT_USERS[1:]))}

    loaded = columns(suffix, f"{suffix}_id", "gender", "age")
    agreed = load(
        text_of(ROWS), **rows(USERS[1], ("u2", "M", "2.0")), load_col=loaded, filter_inter_by_user_or_item=True
    )
    assert len(agreed.user_feat if suffix == "user" else agreed.item_feat) == 13 + 1
    field = "gender" if other[1] != "F" else "age"
    with pytest.raises(
        DataError, match=rf"made\.{suffix}, lines 3 and 15: expected one '{field}' for {suffix}_id '.1'"
    ):
        load(text_of(ROWS), **rows(other), load_col=loaded)
    unread = load(text_of(ROWS), **rows(other), load_col=columns(suffix, f"{suffix}_id"))
    assert len(unread.inter_feat) > 0


@pytest.mark.parametrize(
    ("inter", "users"),
    [("", USERS), ("\tx\t1\t1\n", USERS), (None, [])],
    ids=["no rows", "no ids", "no users"],
)
def test_a_file_without_rows_is_named(load, inter, users):
    text = text_of(ROWS) if inter is None else text_of([]) + inter
    suffix = "user" if inter is None else "inter"
    with pytest.raises(DataError, match=rf"made\.{suffix}: expected rows with user_id.* below the header, found none"):
        load(text, text_of(users, ABOUT_USERS), load_col=columns("user", "user_id", "age"))


def test_filters_that_leave_nothing_are_named(load):
    with pytest.raises(DataError, match=r"nothing of \.inter: .*user_inter_num_interval='\[7,inf\)'"):
        load(text_of(ROWS), user_inter_num_interval="[7,inf)")
    strangers = text_of([("v1", "F", "1")], ABOUT_USERS)
    with pytest.raises(DataError, match=r"nothing of \.inter: .*filter_inter_by_user_or_item=True"):
        load(text_of(ROWS), strangers, load_col=columns("user", "user_id", "age"))


def test_people_without_interactions_are_no_users(load):
    more = [*USERS, *((f"v{n}", "X", "99") for n in range(40))]
    dataset = load(text_of(ROWS), text_of(more, ABOUT_USERS), load_col=columns("user", "user_id", "gender", "age"))
    assert dataset.user_num - 1 == 20
    assert dataset.tokens("user_id", np.arange(1, 21)) == list(in_file_order(ROWS))
    assert sorted(set(dataset.user_fields["gender"][1:])) == ["F", "M"]
    assert np.nanmax(dataset.user_fields["age"]) == 19


def test_items_of_the_item_file_can_be_recommended(load):
    """As RecBole has it: the catalogue is what loaded files list."""
    items = text_of([(f"i{n}", "k") for n in range(30)], ("item_id:token", "kind:token"))
    assert load(text_of(ROWS), item=items).item_num - 1 == 13
    assert load(text_of(ROWS), item=items, load_col=columns("item", "item_id", "kind")).item_num - 1 == 30
