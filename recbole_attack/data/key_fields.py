"""What the fields that everything hangs on must be like: ids of users and items, and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger

import pandas as pd
from recbole.utils.enum_type import FeatureType

from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.utils.errors import DataError, did_you_mean


def check_types(file: AtomicFile, keys: Mapping[str, FeatureType]) -> None:
    """Refuse a file that lacks a key field, or has one of another type.

    Args:
        file: The file.
        keys: The type every key field must have.

    Raises:
        DataError: Names the field.
    """
    for field, kind in keys.items():
        if field not in file.fields:
            raise DataError(
                f"{file.path} has no field '{field}': found {', '.join(file.fields)}{did_you_mean(field, file.fields)}"
            )
        if file.fields[field] != kind:
            raise DataError(
                f"{file.path}: expected field '{field}' with type {kind.value}, found {file.fields[field].value}"
            )


def rows_with_ids(file: AtomicFile, rows: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """The rows that lack no id; a warning counts the others.

    Args:
        file: The file.
        rows: What :meth:`AtomicFile.read` gave.
        ids: Fields that hold ids.

    Raises:
        DataError: No row is left.
    """
    for field in ids:
        missing = rows.index[rows[field].isna()]
        if len(missing):
            getLogger().warning(
                f"{file.path}: {len(missing)} rows without '{field}' are left out, the first in line {missing[0]}"
            )
            rows = rows.drop(missing)
    if rows.empty:
        raise DataError(f"{file.path}: expected rows with {' and '.join(ids) or 'values'} below the header, found none")
    return rows


def check_times(file: AtomicFile, times: pd.Series) -> None:
    """Refuse interactions without a time.

    Raises:
        DataError: Counts them and names the first one's line.
    """
    missing = times.index[times.isna()]
    if len(missing):
        raise DataError(
            f"{file.path} needs every interaction's time: {len(missing)} have no '{times.name}', "
            f"the first in line {missing[0]}"
        )


def check_agreement(file: AtomicFile, rows: pd.DataFrame, key: str) -> None:
    """Refuse rows about the same user or item that say different things.

    Args:
        file: The file.
        rows: Its rows, indexed by line.
        key: The field that holds the id.

    Raises:
        DataError: Names the lines and what they say.
    """
    different = rows[rows[key].duplicated(keep=False)].drop_duplicates()
    again = different.index[different[key].duplicated()]
    if not len(again):
        return
    token, line = different.at[again[0], key], again[0]
    first = different.index[different[key] == token][0]
    pair = different.loc[[first, line]].astype(object).where(lambda values: values.notna(), "")
    field = next(field for field in pair if pair.at[first, field] != pair.at[line, field])
    raise DataError(
        f"{file.path}, lines {first} and {line}: expected one '{field}' for {key} '{token}', "
        f"found '{pair.at[first, field]}' and '{pair.at[line, field]}'"
    )
