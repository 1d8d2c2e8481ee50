"""Anybody's own file of interactions, comma- or otherwise separated, to an atomic file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from recbole_attack.data.convert.rows import Layout, Row
from recbole_attack.data.convert.table import Counts, Table, Unreadable, is_number, write_table
from recbole_attack.data.names import check_free
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean
from recbole_attack.utils.files import write_folder

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def convert_csv(
    file: Path,
    out: Path,
    name: str,
    user: str,
    item: str,
    time: str,
    rating: str | None = None,
    separator: str | None = None,
) -> dict[str, Counts]:
    """Write ``<out>/<name>/<name>.inter``, or nothing.

    Ids are the text they are written as. Times are seconds: numbers stay as they are, and ISO 8601 is counted from
    1970, in UTC where it names no zone; a file has times of one of the two kinds.

    Args:
        file: UTF-8 text whose first line names the columns.
        out: The folder to put the dataset's folder in.
        name: The dataset.
        user: Column of users.
        item: Column of items.
        time: Column of times.
        rating: Column of ratings, which are numbers.
        separator: What stands between two fields; by default a tab in a ``.tsv`` file and a comma elsewhere. Fields
            may be quoted where it is a comma or a semicolon.

    Returns:
        The atomic file's name -> rows written and read.

    Raises:
        ConfigError: A column is named twice, or a folder of this name would not be read.
        DataError: The file is missing or damaged, lacks a column or holds a value that is not what it should be; the
            message names the line. Or the dataset's folder exists already.
    """
    columns = [user, item, time, *([rating] if rating else [])]
    if len(set(columns)) < len(columns):
        raise ConfigError(f"users, items, times and ratings need columns of their own: found {', '.join(columns)}")
    check_free(name)
    if not file.is_file():
        near = did_you_mean(file.name, [path.name for path in file.parent.glob("*")])
        raise DataError(f"{file} not found: expected a file{near}")
    default = "\t" if file.suffix == ".tsv" else ","
    table = _table(file.name, columns, {r"\t": "\t"}.get(separator or "", separator) or default)
    target = f"{name}.inter"
    return write_folder(out / name, lambda folder: {target: write_table(table, file, folder / target)})


def _table(raw: str, columns: Sequence[str], delimiter: str) -> Table:
    """The conversion of a file by its columns of users, items and times, and of ratings if there are any."""
    user, item, time, *rating = columns
    seconds = " and ".join((*columns, "in seconds"))  # longer than any of them: no column has that name
    fields = {"user_id:token": user, "item_id:token": item}
    if rating:
        fields["rating:float"] = rating[0]
    return Table(
        raw=raw,
        suffix="inter",
        columns=tuple(columns),
        fields={**fields, "timestamp:float": seconds},
        layout=Layout(delimiter),
        derived=(seconds,),
        derive=lambda rows: _with_seconds(rows, time),
    )


def _with_seconds(rows: Iterator[Row], column: str) -> Iterator[Row]:
    """Rows with their time in seconds behind them."""
    numeric = None
    for row in rows:
        text = row[2].strip()
        number = is_number(text)
        numeric = number if numeric is None else numeric
        seconds = text if number else _seconds(text)
        if seconds is None or number is not numeric:
            form = "a number" if numeric else "ISO 8601, such as 2024-05-31T18:30:00, or numbers throughout"
            raise Unreadable(f"expected {form} as '{column}', found {row[2][:60]!r}")
        yield [*row, seconds]


def _seconds(text: str) -> str | None:
    """Seconds from 1970 of an ISO 8601 date or time, exact to the microsecond; ``None`` if it is none."""
    try:
        time = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return None
    since = (time if time.tzinfo else time.replace(tzinfo=timezone.utc)) - _EPOCH
    return f"{(Decimal(since // timedelta(microseconds=1)) / 10**6).normalize():f}"
