"""RecBole's atomic files (``.inter``, ``.user``, ``.item``), read as the plain text they are.

The first line names the fields, ``<field>:<type>``; every other line holds a value for each of them. Only separators
and ends of lines mean anything: quotes are text, ``NA`` and ``null`` are ids, and nothing but an empty field is
missing. Empty values after the last field say nothing, so a separator may end every line. Lines of white space and a
byte-order mark are skipped.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from recbole.utils.enum_type import FeatureType

from recbole_attack.utils.errors import DataError, did_you_mean

_TYPES = [kind.value for kind in FeatureType]


@dataclass(frozen=True)
class AtomicFile:
    """One atomic file.

    Attributes:
        path: Where it is.
        separator: What stands between two values of a line.
        seq_separator: What stands between two elements of a sequence.
        encoding: Of its text.
    """

    path: Path
    separator: str
    seq_separator: str
    encoding: str

    @cached_property
    def fields(self) -> dict[str, FeatureType]:
        """Every field's type, in the order of the file.

        Raises:
            DataError: The file cannot be read, its header is not one, or a field is there twice.
        """
        with self._lines() as lines:
            columns = next(lines, "").removeprefix("\ufeff").rstrip("\n").split(self.separator)
        while len(columns) > 1 and not columns[-1]:
            columns.pop()
        fields: dict[str, FeatureType] = {}
        for column in columns:
            name, _, kind = column.partition(":")
            if not name or kind not in _TYPES:
                raise DataError(
                    f"{self.path} cannot be read: expected a header of <field>:<type>, types {', '.join(_TYPES)}, "
                    f"fields separated by {self.separator!r}; found {column[:80]!r}{did_you_mean(kind, _TYPES)}"
                )
            if name in fields:
                raise DataError(f"{self.path}: expected every field once, found '{name}' twice")
            fields[name] = FeatureType(kind)
        return fields

    def read(self, fields: Sequence[str]) -> pd.DataFrame:
        """Texts of some fields, ``None`` where empty; the index holds the numbers of their lines.

        Raises:
            DataError: The file cannot be read, or a line has too few or too many values.
        """
        width = len(self.fields)
        known: dict[str, str | None] = {"": None}  # equal texts share one object
        columns: dict[str, list[str | None]] = {field: [] for field in fields}
        wanted = [(i, columns[field].append) for i, field in enumerate(self.fields) if field in columns]
        numbers = array("q")
        with self._lines() as lines:
            next(lines)
            for number, line in enumerate(lines, start=2):
                values = line.rstrip("\n").split(self.separator)
                if len(values) != width or "\0" in line:
                    if not line.strip():
                        continue
                    self._check_line(number, values)
                for i, append in wanted:
                    append(known.setdefault(values[i], values[i]))
                numbers.append(number)
        index = np.array(numbers, dtype=np.int64)
        return pd.DataFrame({field: pd.Series(column, index, object) for field, column in columns.items()})

    def _check_line(self, number: int, values: Sequence[str]) -> None:
        width = len(self.fields)
        if len(values) < width or any(values[width:]):
            raise DataError(
                f"{self.path}, line {number}: expected {width} values, one for each field, found {len(values)}"
            )
        if any("\0" in value for value in values):
            raise DataError(f"{self.path}, line {number}: expected text, found a NUL character")

    def parse(self, texts: pd.Series, kind: FeatureType) -> pd.Series:
        """What the texts of a field stand for.

        Args:
            texts: A column of :meth:`read`.
            kind: The field's type.

        Returns:
            Tokens as they are; floats, NaN where missing; or arrays of tokens or floats, empty where missing.

        Raises:
            DataError: A text should be a finite number, and is not.
        """
        if kind == FeatureType.TOKEN:
            return texts
        if kind == FeatureType.FLOAT:
            return self._numbers(texts)
        parts = texts.map(lambda text: [part for part in (text or "").split(self.seq_separator) if part])
        if kind == FeatureType.TOKEN_SEQ:
            return parts.map(lambda part: np.array(part, dtype=str))
        self._numbers(parts.explode())
        return parts.map(lambda part: np.array(part, dtype=object).astype(np.float64))

    def _numbers(self, texts: pd.Series) -> pd.Series:
        try:
            numbers = texts.to_numpy(dtype=object).astype(np.float64)
        except ValueError:
            numbers = np.array([_number(text) for text in texts])
        wrong = ~np.isfinite(numbers) & texts.notna().to_numpy()
        if wrong.any():
            first = int(np.argmax(wrong))
            raise DataError(
                f"{self.path}, line {texts.index[first]}: expected a finite number as '{texts.name}', "
                f"found {texts.iloc[first][:80]!r}"
            )
        return pd.Series(numbers, texts.index)

    def ranks(self, texts: pd.Series) -> pd.Series:
        """Place of every number in ascending order, from 0; equal numbers in the order of their lines.

        Numbers are compared as they are written, whatever their size and number of digits.

        Args:
            texts: Finite numbers, none missing.
        """
        keys = self._exact(texts)
        ranks = np.empty(len(texts), dtype=np.int64)
        ranks[np.argsort(keys, kind="stable")] = np.arange(len(texts))
        return pd.Series(ranks, texts.index)

    def _exact(self, texts: pd.Series) -> Any:
        """Numbers that compare as the texts' do."""
        values = texts.to_numpy(dtype=object)
        try:
            return values.astype(np.int64)
        except (ValueError, OverflowError):  # some are not integers, or exceed 64 bits
            numbers = values.astype(np.float64)
        different = texts.unique()
        if len(different) == len(np.unique(numbers)):
            return numbers
        try:
            exact = {text: Decimal(text) for text in different}
        except InvalidOperation as error:
            raise DataError(f"{self.path}: expected '{texts.name}' with exponents of at most 18 digits") from error
        place = {number: i for i, number in enumerate(sorted(set(exact.values())))}
        return np.array([place[exact[text]] for text in values])

    @contextmanager
    def _lines(self) -> Iterator[TextIO]:
        """The lines of the file."""
        try:
            with self.path.open(encoding=self.encoding) as lines:
                yield lines
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeError as error:
            with self.path.open(encoding=self.encoding, errors="replace") as lines:
                line = next((number for number, line in enumerate(lines, start=1) if "\ufffd" in line), 1)
            raise DataError(f"{self.path}, line {line}: expected {self.encoding} text, found other bytes") from error


def _number(text: Any) -> float:
    """The number a text spells, NaN if none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return nan
