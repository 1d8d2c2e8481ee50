"""Target groups of users, chosen by what the ``.user`` file says about them.

An expression is one condition, or several joined by ``&``:

- ``all``
- ``gender=M``: the field holds this token, or this number
- ``age=20..30``: the field holds a number in this range, both ends included; tokens count by the number they spell, so
  that ML-1M's age 25, which stands for 25 to 34, is in ``20..30``
- ``occupation in [artist, writer]``: the field holds one of these

A user without a value in a field meets no condition on it. Values that hold ``&``, ``=``, a comma, a bracket or ``..``
are written in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.names import take_name
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean, shown

_FIELD, _NUMBER, _END = r"\s*([^\s=&\[\]]+)\s*", r"\s*([+-]?\d+(?:\.\d+)?)\s*", r"\s*(?=&|\Z)"
_ALL = re.compile(rf"\s*all{_END}")
_RANGE = re.compile(rf"{_FIELD}={_NUMBER}\.\.{_NUMBER}{_END}")
_EQUAL = re.compile(rf"{_FIELD}=\s*")
_ONE_OF = re.compile(r"\s*([^\s=&\[\]]+)\s+in\s*\[")
_CLOSED = re.compile(rf"\]{_END}")

Values = NDArray[Any]
"""``[n_users]`` values of one field: text, ``None`` where missing, or floats, NaN where missing."""


@dataclass(frozen=True)
class OneOf:
    """The field holds one of the values."""

    field: str
    values: tuple[str, ...]

    def mask(self, values: Values) -> NDArray[np.bool_]:
        """``[n_users]`` which users meet the condition.

        Raises:
            DataError: No user has one of the values.
        """
        known = set(values.tolist())
        wanted: dict[str, Any] = {text: text for text in self.values}
        if values.dtype.kind == "f":
            wanted = {text: _as_number(text) for text in self.values}
        for text, value in wanted.items():
            if value not in known:
                found = sorted(str(v) for v in known if v is not None and v == v)
                raise DataError(
                    f"target group: no user has {self.field} '{text}'; found {', '.join(found[:20])}"
                    f"{', ...' if len(found) > 20 else ''}{did_you_mean(text, found)}"
                )
        return np.isin(values, list(wanted.values()))


@dataclass(frozen=True)
class Between:
    """The field holds a number from ``low`` to ``high``."""

    field: str
    low: float
    high: float

    def mask(self, values: Values) -> NDArray[np.bool_]:
        """``[n_users]`` which users meet the condition.

        Raises:
            DataError: No user has a number in the field.
        """
        numbers = values if values.dtype.kind == "f" else np.array([_as_number(text) for text in values], dtype=float)
        if np.isnan(numbers).all():
            found = sorted({str(text) for text in values.tolist() if text is not None})
            raise DataError(f"target group: '{self.field}' holds no numbers; found {', '.join(found[:20])}")
        return (numbers >= self.low) & (numbers <= self.high)


Condition = OneOf | Between


def _as_number(text: str | None) -> float:
    """The number a token spells, NaN if none."""
    return float(text) if text is not None and re.fullmatch(_NUMBER, text) else nan


def parse_group(expression: Any) -> tuple[Condition, ...]:
    """The conditions of an expression; none for ``all``.

    Raises:
        ConfigError: The expression is not valid.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise ConfigError(f"target group must be an expression such as 'gender=M' or 'all': found {shown(expression)}")
    conditions, position = [], -1
    while position < len(expression):
        try:
            condition, position = _condition(expression, position + 1)
        except ConfigError as error:
            raise ConfigError(f"target group: {error}; found {shown(expression)}") from error
        conditions += [condition] if condition else []
    return tuple(conditions)


def _condition(text: str, start: int) -> tuple[Condition | None, int]:
    """The condition that starts somewhere, ``None`` for ``all``, and the position of the ``&`` or the end behind it."""
    if match := _ALL.match(text, start):
        return None, match.end()
    if match := _RANGE.match(text, start):
        low, high = float(match[2]), float(match[3])
        if low > high:
            raise ConfigError("expected a range from low to high")
        return Between(match[1], low, high), match.end()
    if match := _ONE_OF.match(text, start):
        values: list[str] = []
        end = match.end() - 1
        while not values or text[end : end + 1] == ",":
            value, end = take_name(text, end + 1, ",[]&")
            values.append(value)
        closed = _CLOSED.match(text, end)
        if closed and all(values):
            return OneOf(match[1], tuple(values)), closed.end()
    elif match := _EQUAL.match(text, start):
        value, end = take_name(text, match.end(), "&")
        quoted = text[match.end() : match.end() + 1] in ("'", '"')
        if value and (quoted or not re.search(r"[=\[\],]|\.\.", value)):
            return OneOf(match[1], (value,)), end
    raise ConfigError(
        "expected 'all', <field>=<value>, <field>=<low>..<high> or <field> in [<value>, ...], joined by '&'"
    )


def user_group(expression: Any, fields: Mapping[str, Values], n_users: int) -> NDArray[np.bool_]:
    """Which users are in the group; the padding user 0 never is.

    Args:
        expression: The ``target_group`` parameter.
        fields: User fields by name, as :attr:`RaggedSequentialDataset.user_fields` gives them.
        n_users: Number of user ids, the padding user 0 included.

    Returns:
        ``[n_users]`` mask.

    Raises:
        ConfigError: The expression is not valid.
        DataError: The dataset has no such field or value, or no user is in the group.
    """
    group = np.ones(n_users, dtype=bool)
    group[0] = False
    for condition in parse_group(expression):
        if condition.field not in fields:
            raise DataError(
                f"target group: no user field '{condition.field}' is loaded; found "
                f"{', '.join(fields) or 'none'}{did_you_mean(condition.field, fields)}"
            )
        group &= condition.mask(fields[condition.field])
    if not group.any():
        raise DataError(f"target group '{expression}' holds no user")
    return group
