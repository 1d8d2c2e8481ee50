"""RecBole's choice of columns and rows, held against what the files have.

RecBole passes over a field it does not find, and takes a filter that does not go with a field's type for none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from recbole.utils.enum_type import FeatureType

from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.data.groups import parse_group
from recbole_attack.utils.errors import DataError, did_you_mean


def answered_elsewhere(config: Any) -> set[str]:
    """Fields that another parameter than ``load_col`` names, which says so itself when they are missing."""
    groups = parse_group(config["target_group"] or "all")
    return {config["category_field"], *(config["prompt_fields"] or ()), *(condition.field for condition in groups)}


def columns_to_load(
    asked: set[str], answered: set[str], filtered: Iterable[str], keys: set[str], file: AtomicFile
) -> set[str]:
    """The fields to load from a file: those that were asked for, and those that rows are chosen by.

    Args:
        asked: ``load_col`` of the file.
        answered: What may be missing here, see :func:`answered_elsewhere`.
        filtered: Fields of any file that rows are chosen by.
        keys: The file's id fields, which any other field goes with.
        file: The file.

    Raises:
        DataError: The file lacks a field that was asked for.
    """
    fields = file.fields
    for field in sorted(asked - answered):
        if field not in fields:
            found = f"found {', '.join(fields)}{did_you_mean(field, fields)}"
            raise DataError(f"{file.path} has no field '{field}': {found}")
    more = {field for field in filtered if field in fields and field not in keys}  # the interactions have those
    return asked | more | (keys if more else set())


def check_row_filters(
    val_interval: Mapping[str, Any], types: Mapping[str, FeatureType], found: Collection[str]
) -> None:
    """Hold ``val_interval`` against the types of the loaded fields.

    Args:
        val_interval: Field -> an interval as text, or a list of tokens.
        types: Type of every loaded field.
        found: All fields of the files, loaded or not.

    Raises:
        DataError: A field is not there, or its type and the filter do not go together.
    """
    for field, kept in val_interval.items():
        if field not in types and field in found:
            raise DataError(
                f"val_interval: expected '{field}' to be loaded: found it left out by load_col or unload_col"
            )
        if field not in types:
            raise DataError(f"val_interval: no field '{field}': found {', '.join(found)}{did_you_mean(field, found)}")
        expected = {FeatureType.FLOAT: "an interval such as '[3,inf)'", FeatureType.TOKEN: "a list of tokens"}
        if types[field] not in expected:
            raise DataError(
                f"val_interval: '{field}' must be a field of type float or token: found {types[field].value}"
            )
        if isinstance(kept, str) != (types[field] == FeatureType.FLOAT):
            raise DataError(
                f"val_interval: '{field}' of type {types[field].value} needs {expected[types[field]]}: found {kept!r}"
            )
