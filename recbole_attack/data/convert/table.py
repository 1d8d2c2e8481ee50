"""A conversion as a value: which raw file gives which atomic file, and column by column from what.

RecBole reads atomic files with ``"`` as a quote and takes some words, ``NULL`` among them, for a missing value; no
field written here holds a quote, a tab or a line end, and a missing attribute is an empty field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from recbole_attack.data.convert.rows import Layout, RawRows, Row
from recbole_attack.utils.errors import did_you_mean

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MISSING = {"", "NULL", "null", "\\N"}


class Keep(NamedTuple):
    """Rows to convert: those whose ``column`` holds ``value``, one of the ``known`` values of the publisher."""

    column: str
    value: str
    known: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One raw file and the atomic file made of it.

    Attributes:
        raw: The raw file's name.
        suffix: ``inter``, ``user`` or ``item``.
        columns: The raw columns needed; all of them, in order, where the file has no header.
        fields: Columns of the atomic file, ``name:type`` -> raw or derived column. Numbers must be numbers;
            ``user_id`` and ``item_id`` must not be empty, nor may anything in an ``inter`` file.
        layout: How the raw file is written.
        keep: Which rows to convert; all of them if absent.
        derived: Columns that ``derive`` adds to the right of each row.
        derive: From the kept rows to rows with the derived columns, not more than one for each row read.
    """

    raw: str
    suffix: str
    columns: tuple[str, ...]
    fields: Mapping[str, str]
    layout: Layout = field(default_factory=Layout)
    keep: Keep | None = None
    derived: tuple[str, ...] = ()
    derive: Callable[[Iterator[Row]], Iterator[Row]] = iter


class Counts(NamedTuple):
    """What one table gave.

    Attributes:
        written: Rows of the atomic file.
        read: Rows of the raw file.
        cut: Whether the raw file's last line has no line end, which can mean that the file is not complete.
    """

    written: int
    read: int
    cut: bool


class Unreadable(ValueError):
    """What a ``derive`` finds wrong with the row it was given last."""


def write_table(table: Table, raw: Path, target: Path, names: Sequence[str] | None = None) -> Counts:
    """Convert one raw file.

    Args:
        table: The conversion.
        raw: The raw file.
        target: The atomic file to write.
        names: The raw file's columns in its own order, where they are not as published.

    Raises:
        DataError: The raw file is damaged or is not what its publisher describes; names file and line.
    """
    rows = RawRows(raw, table.columns, table.layout, names)
    available = [*table.columns, *table.derived]
    select = itemgetter(*(available.index(source) for source in table.fields.values()))
    check = _checker(table, rows)
    written = 0
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(table.fields) + "\n")
        try:
            for row in table.derive(_kept(rows, table.keep)):
                file.write("\t".join(check(select(row))) + "\n")
                written += 1
        except Unreadable as error:
            raise rows.error(str(error)) from error
    if not written:
        what = f" with {table.keep.column} = {table.keep.value}" if table.keep else ""
        raise rows.error(f"expected at least one row{what}, found {rows.count or 'no'} row(s)")
    return Counts(written, rows.count, rows.cut)


def _kept(rows: RawRows, keep: Keep | None) -> Iterator[Row]:
    """The rows to convert, by the value of one of their columns."""
    if keep is None:
        yield from rows
        return
    column, wanted, known = keep
    at = rows.columns.index(column)
    for row in rows:
        if row[at] == wanted:
            yield row
        elif row[at] not in known:
            hint = did_you_mean(row[at], known)
            raise rows.error(f"expected {column} to be one of {', '.join(known)}, found {row[at]!r}{hint}")


def _checker(table: Table, rows: RawRows) -> Callable[[Sequence[str]], Sequence[str]]:
    """A function that returns the fields of one atomic row as they may be written."""
    headers = list(table.fields)
    numbers = [i for i, header in enumerate(headers) if header.endswith(":float")]
    inter = table.suffix == "inter"
    required = [i for i, header in enumerate(headers) if inter or header in {"user_id:token", "item_id:token"}]

    def check(values: Sequence[str]) -> Sequence[str]:
        if not inter:
            values = ["" if value in _MISSING else value for value in values]
        for i in required:
            if values[i] in _MISSING:
                raise rows.error(f"expected a value of '{table.fields[headers[i]]}', found {values[i]!r}")
        for i in numbers:
            if not (values[i].isdigit() and values[i].isascii()) and not is_number(values[i], empty=not inter):
                raise rows.error(f"expected a number as '{table.fields[headers[i]]}', found {values[i]!r}")
        text = "".join(values)
        if '"' in text or not text.isprintable():
            raise rows.error(f"expected plain text, found a quote or control character: {text[:60]!r}")
        return values

    return check


def is_number(text: str, empty: bool = False) -> bool:
    """Whether a text is a finite number, or may be and is empty."""
    return (empty and not text) or (_NUMBER.fullmatch(text) is not None and isfinite(float(text)))


def plain_text(text: str) -> str:
    """``text`` in one line, without double quotes and control characters."""
    return " ".join("".join(c for c in text.replace('"', "") if c.isprintable() or c.isspace()).split())
