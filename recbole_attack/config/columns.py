"""Which columns of the atomic files an experiment reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.data import parse_group
from recbole_attack.utils.errors import ConfigError


def needed_columns(values: Mapping[str, Any], given: bool) -> dict[str, Any] | None:
    """``load_col`` with every field the other parameters ask for.

    RecBole's default leaves the time out, without which nothing can be ordered, and all fields of users and items.

    Args:
        values: All parameters, checked.
        given: Whether the user gave ``load_col``: then what is missing is an error.

    Raises:
        ConfigError: ``load_col`` lacks a needed field.
    """
    columns = values["load_col"]
    if columns is None:
        return None
    completed = dict(columns)
    for suffix, needed in _fields(values).items():
        loaded = columns.get(suffix) or []
        missing = [field for field in needed if field not in loaded and loaded != "*"]
        if missing and given:
            found = ", ".join(loaded) or "none"
            raise ConfigError(f"load_col must list {', '.join(needed)} for .{suffix}: found {found}")
        completed[suffix] = [*loaded, *missing] if missing else loaded
    return completed


def _fields(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """File suffix -> needed fields; no suffix of which nothing but ids is needed."""
    user, item, time = (values[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD"))
    about_users = [condition.field for condition in parse_group(values.get("target_group", "all"))]
    about_users += list(values.get("prompt_fields") or [])
    about_items = [values["category_field"]] if values.get("category_field") else []
    fields = {"inter": [user, item, time]}
    for suffix, key, about in (("user", user, about_users), ("item", item, about_items)):
        if about:
            fields[suffix] = list(dict.fromkeys([key, *about]))
    return fields
