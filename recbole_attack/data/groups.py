"""Target groups of users, chosen by what the ``.user`` file says about them.

An expression is one condition, or several joined by ``&``:

- ``all``
- ``gender=M``: the field holds this token, or this number
- ``age=20..30``: the field holds a number in this range, both ends included; tokens count by the number they spell, so
  that ML-1M's age 25, which stands for 25 to 34, is in ``20..30``
- ``occupation in [artist, writer]``: the field holds one of these

A user without a value in a field meets no condition on it. Values hold no ``&``, comma or bracket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.errors import ConfigError, DataError, did_you_mean

_FIELD, _NUMBER = r"\s*([^\s=&\[\]]+)\s*", r"\s*([+-]?\d+(?:\.\d+)?)\s*"
_RANGE = re.compile(rf"{_FIELD}={_NUMBER}\.\.{_NUMBER}")
_EQUAL = re.compile(rf"{_FIELD}=([^=\[\],&]+)")
_ONE_OF = re.compile(rf"{_FIELD}\s+in\s*\[([^\[\]&]*)\]")

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
        raise ConfigError(f"target group must be an expression such as 'gender=M' or 'all': found {expression!r}")
    parsed = [_condition(part) for part in expression.split("&")]
    return tuple(condition for condition in parsed if condition is not None)


def _condition(part: str) -> Condition | None:
    """One condition, ``None`` for ``all``."""
    part = part.strip()
    if part == "all":
        return None
    if match := _RANGE.fullmatch(part):
        low, high = float(match[2]), float(match[3])
        if low > high:
            raise ConfigError(f"target group: expected a range from low to high, found '{part}'")
        return Between(match[1], low, high)
    if match := _ONE_OF.fullmatch(part):
        values = tuple(value.strip(" '\"") for value in match[2].split(","))
        if all(values):
            return OneOf(match[1], values)
    elif (match := _EQUAL.fullmatch(part)) and match[2].strip() and ".." not in match[2]:
        return OneOf(match[1], (match[2].strip(" '\""),))
    raise ConfigError(
        "target group: expected 'all', <field>=<value>, <field>=<low>..<high> or <field> in [<value>, ...], "
        f"joined by '&'; found '{part}'"
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
