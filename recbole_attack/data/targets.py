"""Which items the attacker promotes: tokens, or a selector such as ``least_popular:1``.

``<selector>:<count>:<number>`` is one of the items that ``<selector>:<count>`` selects, counted from 1: a run for each
number studies targets one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.names import as_names
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean, shown

Selector = Callable[[NDArray[Any], int, np.random.Generator], NDArray[Any]]
_SELECTOR = re.compile(r"([a-z_]+):(\d+)(?::(\d+))?")
_DIGITS = 9
"""Digits of the largest count."""

MOST_EACH = 10_000
"""The most targets that are studied one at a time."""


def _least_popular(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """The items with the fewest training interactions, none included; the least popular first."""
    return ranking[:count]


def _popular(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """The items with the most training interactions, the most popular first."""
    return ranking[::-1][:count]


def _random(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Items drawn uniformly, in the order they are drawn."""
    return rng.choice(ranking, size=count, replace=False)


def _stratified(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Items evenly spaced over the popularity ranking, the least popular first."""
    return ranking[((np.arange(count) + 0.5) / count * len(ranking)).astype(int)]


def _random_stratified(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """An item drawn uniformly from each of so many strata of the popularity ranking, the least popular first."""
    bounds = np.arange(count + 1) * len(ranking) // count
    return ranking[rng.integers(bounds[:-1], bounds[1:])]


SELECTORS: dict[str, Selector] = {
    "least_popular": _least_popular,
    "popular": _popular,
    "random": _random,
    "stratified": _stratified,
    "random_stratified": _random_stratified,
}


_DRAWN = ("random", "random_stratified")
"""Selectors that draw."""


def as_tokens(value: Any) -> list[str] | None:
    """The item tokens ``value`` lists, or ``None`` when it is a selector.

    Args:
        value: Tokens separated by commas (in brackets or not, in quotes where a token holds a comma), or a sequence of
            tokens; a whole number stands for its digits. A selector is a text of its own: in a sequence it is a token.

    Raises:
        ConfigError: The selector or its count is not valid, or something is no token.
    """
    if isinstance(value, str) and (match := _SELECTOR.fullmatch(value)):
        _check_selector(value, *match.groups())
        return None
    tokens = as_names([value] if isinstance(value, Integral) else value)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ConfigError(
            "target_items must be item tokens, such as [012, 'a, b'], or a selector such as popular:5, and a token "
            f"with a point or an exponent in quotes: found {shown(value)}"
        )
    if not tokens or not all(tokens):
        raise ConfigError(f"target_items is empty: expected item tokens or a selector, found {shown(value)}")
    return list(dict.fromkeys(tokens))


def _check_selector(value: str, name: str, count: str, number: str | None) -> None:
    if name not in SELECTORS or len(count) > _DIGITS or int(count) < 1:
        raise ConfigError(
            f"unknown target selector {shown(value)}: expected item tokens or one of "
            f"{', '.join(f'{known}:<count>' for known in SELECTORS)}{did_you_mean(name, SELECTORS)}"
        )
    if number is not None and (len(number) > _DIGITS or not 1 <= int(number) <= int(count)):
        raise ConfigError(f"target selector {shown(value)} ends in the number of an item: expected 1 to {count}")


def draws_targets(value: Any) -> bool:
    """Whether a value of ``target_items`` depends on a seed.

    >>> draws_targets("random:3:1"), draws_targets("stratified:3"), draws_targets("012")
    (True, False, False)
    """
    return as_tokens(value) is None and value.split(":")[0] in _DRAWN


def each_target(value: Any) -> list[Any]:
    """Values of ``target_items`` with one target each, which together are the targets of ``value``.

    Args:
        value: A value of ``target_items``.

    Raises:
        ConfigError: It is not valid.

    >>> each_target("stratified:3")
    ['stratified:3:1', 'stratified:3:2', 'stratified:3:3']
    >>> each_target("[012, i7]")
    [['012'], ['i7']]
    """
    tokens = as_tokens(value)
    if tokens is not None:
        return [[token] for token in tokens]
    name, count, *number = value.split(":")
    if int(count) > MOST_EACH and not number:
        raise ConfigError(f"expected at most {MOST_EACH} targets one at a time, found {count}")
    return [value] if number else [f"{name}:{count}:{place}" for place in range(1, int(count) + 1)]


def resolve_targets(
    value: Any, tokens: NDArray[Any], popularity: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Ids of the target items, ascending.

    Items of equal popularity are ranked by token, so the choice does not depend on the order of the file's rows.

    Args:
        value: The ``target_items`` parameter.
        tokens: ``[n_items]`` item tokens by id, the padding token first.
        popularity: ``[n_items]`` training interactions of every item.
        rng: Used by ``random`` and ``random_stratified`` only.

    Raises:
        DataError: A token is not in the dataset, or more items are asked for than there are.
    """
    wanted = as_tokens(value)
    names = np.array([str(t) for t in tokens])
    if wanted is None:
        name, count, *number = value.split(":")
        ranking = np.lexsort((names[1:], popularity[1:])) + 1
        if int(count) > len(ranking):
            raise DataError(f"target_items '{value}' asks for {count} items: the dataset has {len(ranking)}")
        selected = SELECTORS[name](ranking, int(count), rng)
        return np.sort(selected[[int(place) - 1 for place in number]] if number else selected).astype(np.int64)
    ids = {token: i for i, token in enumerate(names) if i > 0}
    for token in wanted:
        if token not in ids:
            raise DataError(f"target item '{token}' is not in the dataset{did_you_mean(token, ids)}")
    return np.sort(np.array([ids[token] for token in wanted], dtype=np.int64))
