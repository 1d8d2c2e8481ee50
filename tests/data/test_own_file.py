"""A file of one's own becomes an atomic file: its values against pandas, its mistakes by line and value."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.commands.main import main
from recbole_attack.data.convert import convert_csv
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import ConfigError, DataError

COLUMNS = {"user": "who", "item": "what", "time": "when"}
ZONES = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)
IDS = st.text("abz019 ,;'-é", min_size=1, max_size=6).filter(str.strip)


def converted(file, folder, **changes):
    convert_csv(file, folder, "mine", **{**COLUMNS, **changes})
    head, *rows = (folder / "mine" / "mine.inter").read_text(encoding="utf-8").splitlines()
    return head.split("\t"), [row.split("\t") for row in rows]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(IDS, IDS, TIMES, st.floats(0, 5).map(lambda x: round(x, 2))), min_size=1, max_size=5),
    separator=st.sampled_from([",", ";"]),
)
def test_what_pandas_writes_is_read_and_times_are_what_pandas_makes_of_them(tmp_path_factory, rows, separator):
    folder = tmp_path_factory.mktemp("csv")
    frame = pd.DataFrame(rows, columns=["what", "who", "when", "stars"])
    frame["when"] = [time.isoformat() for time in frame["when"]]
    frame["other"] = "x"
    frame.to_csv(folder / "raw.csv", sep=separator, index=False)
    head, found = converted(folder / "raw.csv", folder, rating="stars", separator=separator)
    assert head == ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    utc = [pd.Timestamp(text) for text in frame["when"]]
    nanoseconds = [(time.tz_localize("UTC") if time.tz is None else time).value for time in utc]
    assert [(item, user, float(stars)) for user, item, stars, _ in found] == [(a, b, d) for a, b, _, d in rows]
    assert [Decimal(time) * 10**9 for *_, time in found] == nanoseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", "0"),
        ("1970-01-01T00:00:01.5", "1.5"),
        ("2024-05-31T18:30:00Z", "1717180200"),
        ("2024-05-31 20:30:00+02:00", "1717180200"),
        ("1969-12-31T23:59:59.5", "-0.5"),
        (" 1717180200 ", "1717180200"),
        ("1717180200123", "1717180200123"),
        ("12.5", "12.5"),
    ],
)
def test_times(tmp_path, text, seconds):
    (tmp_path / "raw.csv").write_text(f"who,what,when\na,b,{text}\n")
    assert converted(tmp_path / "raw.csv", tmp_path)[1] == [["a", "b", seconds]]


def test_a_column_may_be_named_as_seconds(tmp_path):
    (tmp_path / "raw.csv").write_text("who,what,when,when in seconds\na,b,20,1\na,c,10,2\n")
    found = converted(tmp_path / "raw.csv", tmp_path, rating="when in seconds")[1]
    assert found == [["a", "b", "1", "20"], ["a", "c", "2", "10"]]


def test_tabs_and_semicolons_and_a_mark_at_the_start(tmp_path):
    (tmp_path / "raw.tsv").write_bytes("\ufeffwhen\twho\twhat\n1\t012\ta b\n\n2\tu\ti".encode())
    assert converted(tmp_path / "raw.tsv", tmp_path / "a")[1] == [["012", "a b", "1"], ["u", "i", "2"]]
    (tmp_path / "raw.csv").write_text("when|who|what\n1|012|a b\n")
    assert converted(tmp_path / "raw.csv", tmp_path / "b", separator="|")[1] == [["012", "a b", "1"]]


MISTAKES = {
    "no such column": ("who,wat,when\na,b,1\n", r"line 1: expected a column 'what', .*did you mean 'wat'"),
    "twice": ("who,what,when,who\na,b,1,c\n", "line 1: expected one column 'who', found who, what, when, who"),
    "no user": ("who,what,when\na,b,1\n,b,2\n", "line 3: expected a value of 'who', found ''"),
    "no time": ("who,what,when\na,b,\n", "line 2: expected ISO 8601, .* as 'when', found ''"),
    "ambiguous date": ("who,what,when\na,b,01/02/2024\n", "line 2: expected ISO 8601.*found '01/02/2024'"),
    "no date": ("who,what,when\na,b,2024-02-30\n", "line 2: expected ISO 8601.*found '2024-02-30'"),
    "date after number": ("who,what,when\na,b,5\na,b,2024-01-01\n", "line 3: expected a number as 'when', found"),
    "number after date": ("who,what,when\na,b,2024-01-01\na,b,5\n", "line 3: expected ISO 8601.*found '5'"),
    "infinite": ("who,what,when\na,b,1e999\n", "line 2: expected ISO 8601"),
    "too few": ("who,what,when\na,b\n", "line 2: expected 3 fields"),
    "quote": ('who,what,when\n"a,b,1\n', "line 2: expected comma-separated fields, found damaged quotes"),
    "tab in an id": ("who,what,when\na\tc,b,1\n", "line 2: expected plain text"),
    "no row": ("who,what,when\n", "expected at least one row"),
    "nothing": ("", "expected a column 'who', found no line"),
    "not text": (b"who,what,when\n\xff,b,1\n", "line 2: expected utf-8 text"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_line_and_value_and_nothing_is_left(tmp_path, capsys, mistake):
    content, words = MISTAKES[mistake]
    (tmp_path / "raw.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        converted(tmp_path / "raw.csv", tmp_path / "out")
    argv = ["convert", "csv", str(tmp_path / "raw.csv"), str(tmp_path / "out")]
    assert main([*argv, "--user=who", "--item=what", "--time=when"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_rating_is_a_number(tmp_path):
    (tmp_path / "raw.csv").write_text("who,what,when,stars\na,b,1,good\n")
    with pytest.raises(DataError, match="line 2: expected a number as 'stars', found 'good'"):
        converted(tmp_path / "raw.csv", tmp_path / "out", rating="stars")


def test_names_that_would_not_be_read_and_columns_named_twice(tmp_path):
    (tmp_path / "raw.csv").write_text("who,what,when\na,b,1\n")
    for name in ("ml-100k", "synthetic"):
        with pytest.raises(ConfigError, match=f"dataset name '{name}': expected another one"):
            convert_csv(tmp_path / "raw.csv", tmp_path / "out", name, **COLUMNS)
    with pytest.raises(ConfigError, match="columns of their own: found who, who, when"):
        converted(tmp_path / "raw.csv", tmp_path / "out", item="who")
    with pytest.raises(DataError, match=r"did you mean 'raw.csv'"):
        converted(tmp_path / "rwa.csv", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--user=who", "--item=what"], "expected --time=<column>, found none"),
        (["--user=who", "--item=what", "--time=when", "--columns=a=b"], "found --columns"),
        (["--user=who", "--item=what", "--time=when", "--name=a/b"], "dataset must be the name of a folder"),
        (["--usr=who"], "unknown option '--usr': .*did you mean '--user'"),
    ],
    ids=str,
)
def test_options_of_the_command(tmp_path, capsys, options, words):
    (tmp_path / "raw.csv").write_text("who,what,when\na,b,1\n")
    assert main(["convert", "csv", "raw.csv", "out", *options]) == 2
    err = capsys.readouterr().err
    assert re.search(words, err) and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_of_csv_are_for_csv_alone(capsys):
    assert main(["convert", "ml-1m", "raw", "out", "--user=who"]) == 2
    assert "--user is for 'convert csv'" in capsys.readouterr().err


def test_the_command_makes_a_dataset_that_is_read_in_the_order_of_its_times(tmp_path, capsys, config):
    lines = ["what,who,when"]
    for user in range(4):
        lines += [f"i{(user + step) % 6},u{user},2024-01-{20 - step:02d}T0{user}:00:00" for step in range(5)]
    (tmp_path / "shop.csv").write_text("\n".join(lines) + "\n")
    assert main(["convert", "csv", "shop.csv", "data", "--user=who", "--item=what", "--time=when"]) == 0
    assert capsys.readouterr().out == "data/shop/shop.inter: 20 rows from 20\n"
    dataset = create_dataset(config(dataset="shop", data_path=str(tmp_path / "data")))
    sequences = dataset.sequences()
    tokens = [dataset.tokens("item_id", sequences[user]) for user in range(1, 5)]
    assert sorted(tokens) == sorted([f"i{(user + step) % 6}" for step in (4, 3, 2, 1, 0)] for user in range(4))
