"""A CSV file that rows are only ever added to."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import naming

Value = int | float | None


class GrowingCSV:
    """Rows of numbers that are added to a file instead of writing all of them again.

    A crash may leave more than was told of elsewhere, or half a row. So what goes on from the file keeps a :attr:`mark`
    of it, and takes it :meth:`back_to` that.

    Args:
        path: The file; what is there already is replaced with the first rows, unless it was taken back to a mark.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._size, self._digest = 0, hashlib.sha256()

    @property
    def mark(self) -> dict[str, int | str]:
        """How long the file is, and the hash of it."""
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}

    def append(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Add rows, and wait until the disk has them.

        Args:
            rows: Column -> number; the first row of all says which columns there are, and what a later one lacks stays
                empty.

        Raises:
            ValueError: A row has another column.
        """
        rows, text = list(rows), io.StringIO()
        columns = self._columns or [column for row in rows[:1] for column in row]
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        if columns and not self._columns:
            writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode()
        with naming(self.path), self.path.open("r+b" if self._size else "wb") as file:
            file.seek(self._size)
            file.truncate()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._columns = columns
        self._size += len(content)
        self._digest.update(content)

    def back_to(self, mark: Mapping[str, Any]) -> list[dict[str, Value]]:
        """Go on from a mark, and cut off what came after it.

        Returns:
            The rows up to there.

        Raises:
            DataError: They are not those the mark was made of.
        """
        whole = self.path.read_bytes() if self.path.is_file() else b""
        content = whole[: mark["bytes"]]
        digest = hashlib.sha256(content)
        if {"bytes": len(content), "sha256": digest.hexdigest()} != dict(mark):
            raise DataError(f"{self.path} is damaged: it does not hold the rows that were written to it")
        if len(content) < len(whole):
            with naming(self.path):
                os.truncate(self.path, len(content))
        self._size, self._digest = len(content), digest
        header, *rows = csv.reader(io.StringIO(content.decode())) if content else [[]]
        self._columns = header
        return [dict(zip(header, map(_number, row), strict=True)) for row in rows]


def _number(text: str) -> Value:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)
