"""The rows of a raw file, read line by line: constant memory, a progress bar, errors that name file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from recbole_attack.utils.errors import DataError, did_you_mean

Row = Sequence[str]
_LINES_PER_UPDATE = 1 << 14


@dataclass(frozen=True)
class Layout:
    """How a publisher writes a file.

    Attributes:
        delimiter: What stands between two fields. Fields may be quoted where it is a comma or a semicolon.
        header: Whether the first line names the columns.
        encoding: Name of the text encoding.
    """

    delimiter: str = ","
    header: bool = True
    encoding: str = "utf-8"


class RawRows:
    """Iterates over the rows of one raw file; blank lines hold no row.

    Args:
        path: The file.
        columns: The columns wanted, in the order in which rows give them. Without a header they are all the columns
            the file has, in the file's order.
        layout: How the file is written.
        names: The file's columns in its own order, where they are not as published.

    Attributes:
        line: Number of the line read last, from 1; 0 before the first.
        count: Number of rows given so far.
    """

    def __init__(self, path: Path, columns: Sequence[str], layout: Layout, names: Sequence[str] | None = None) -> None:
        self.path, self.columns, self.layout, self.names = path, list(columns), layout, names
        self.line, self.count, self._last_line = 0, 0, b"\n"

    @property
    def cut(self) -> bool:
        """Whether the line read last has no line end."""
        return not self._last_line.endswith(b"\n")

    def error(self, problem: str) -> DataError:
        """The error to raise about the line read last."""
        end = "; the file ends in the middle of this line" if self.cut else ""
        return DataError(f"{self.path}, line {self.line}: {problem}{end}")

    def __iter__(self) -> Iterator[Row]:
        size = self.path.stat().st_size
        bar = tqdm(total=size, unit="B", unit_scale=True, desc=self.path.name, disable=None)
        with self.path.open("rb") as file, bar:
            lines = self._lines(file, bar)
            delimiter = self.layout.delimiter
            split = (line.rstrip("\r\n").split(delimiter) for line in lines)
            quoted = delimiter in (",", ";")
            try:
                yield from self._arranged(csv.reader(lines, strict=True, delimiter=delimiter) if quoted else split)
            except csv.Error as error:
                raise self.error(f"expected comma-separated fields, found damaged quotes ({error})") from error
            bar.update(size - bar.n)

    def _lines(self, file: BinaryIO, bar: tqdm) -> Iterator[str]:
        for self.line, content in enumerate(file, start=1):
            self._last_line = content
            if self.line % _LINES_PER_UPDATE == 0:
                bar.update(file.tell() - bar.n)
            try:
                text = content.decode(self.layout.encoding)
            except UnicodeDecodeError as error:
                found = content[error.start : error.start + 4]
                raise self.error(f"expected {self.layout.encoding} text, found bytes {found!r}") from error
            yield text.removeprefix("\ufeff") if self.line == 1 else text

    def _arranged(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows with their fields in the order of ``columns``."""
        header = [name.strip() for name in next(rows, [])] if self.layout.header else list(self.names or self.columns)
        names = list(self.names or header)
        for column in self.columns:
            if column not in names:
                raise self.error(
                    f"expected a column '{column}', found {', '.join(names) or 'no line'}{did_you_mean(column, names)}"
                )
            if names.count(column) > 1:
                raise self.error(f"expected one column '{column}', found {', '.join(names)}")
        if len(names) != len(header):
            raise self.error(f"expected the columns {', '.join(names)}, found {', '.join(header)}")
        pick = itemgetter(*(names.index(column) for column in self.columns))
        for row in rows:
            if len(row) != len(names):
                if not any(row):
                    continue
                raise self.error(f"expected {len(names)} fields ({', '.join(names)}), found {len(row)}{_start(row)}")
            self.count += 1
            yield pick(row)


def _start(row: Iterable[str]) -> str:
    """The first characters of a row, for a message."""
    text = ",".join(row)
    return f": {text[:60]!r}{'...' if len(text) > 60 else ''}"
