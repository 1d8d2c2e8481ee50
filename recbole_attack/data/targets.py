"""Which items the attacker promotes: tokens, or a selector such as ``least_popular:1``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.errors import ConfigError, DataError, did_you_mean

Selector = Callable[[NDArray[Any], int, np.random.Generator], NDArray[Any]]
_SELECTOR = re.compile(r"([a-z_]+):(\d+)")


def _least_popular(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """The items with the fewest training interactions, none included."""
    return ranking[:count]


def _popular(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """The items with the most training interactions."""
    return ranking[::-1][:count]


def _random(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Items drawn uniformly with the run's seed."""
    return rng.choice(ranking, size=count, replace=False)


def _stratified(ranking: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Items evenly spaced over the popularity ranking."""
    return ranking[((np.arange(count) + 0.5) / count * len(ranking)).astype(int)]


SELECTORS: dict[str, Selector] = {
    "least_popular": _least_popular,
    "popular": _popular,
    "random": _random,
    "stratified": _stratified,
}


def as_tokens(value: Any) -> list[str] | None:
    """The item tokens ``value`` lists, or ``None`` when it is a selector.

    Args:
        value: One token, a comma-separated string (in brackets or not) or a sequence of tokens; numbers stand for
            their digits.

    Raises:
        ConfigError: The selector or its count is not valid.
    """
    if isinstance(value, str):
        match = _SELECTOR.fullmatch(value)
        if match:
            if match[1] not in SELECTORS or int(match[2]) < 1:
                raise ConfigError(
                    f"unknown target selector '{value}': expected item tokens or one of "
                    f"{', '.join(f'{name}:<count>' for name in SELECTORS)}{did_you_mean(match[1], SELECTORS)}"
                )
            return None
        inner = value[1:-1] if value[:1] + value[-1:] in ("[]", "()") else value
        value = [token.strip(" '\"") for token in inner.split(",")]
    tokens = [str(v) for v in value] if isinstance(value, Sequence) else [str(value)]
    if not tokens or not all(tokens):
        raise ConfigError(f"target_items is empty: expected item tokens or a selector, found {value!r}")
    return list(dict.fromkeys(tokens))


def resolve_targets(
    value: Any, tokens: NDArray[Any], popularity: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Ids of the target items, ascending.

    Items of equal popularity are ranked by token, so the choice does not depend on the order of the file's rows.

    Args:
        value: The ``target_items`` parameter.
        tokens: ``[n_items]`` item tokens by id, the padding token first.
        popularity: ``[n_items]`` training interactions of every item.
        rng: Used by ``random`` only.

    Raises:
        DataError: A token is not in the dataset, or more items are asked for than there are.
    """
    wanted = as_tokens(value)
    names = np.array([str(t) for t in tokens])
    if wanted is None:
        name, count = value.split(":")
        ranking = np.lexsort((names[1:], popularity[1:])) + 1
        if int(count) > len(ranking):
            raise DataError(f"target_items '{value}' asks for {count} items: the dataset has {len(ranking)}")
        return np.sort(SELECTORS[name](ranking, int(count), rng)).astype(np.int64)
    ids = {token: i for i, token in enumerate(names) if i > 0}
    for token in wanted:
        if token not in ids:
            raise DataError(f"target item '{token}' is not in the dataset{did_you_mean(token, ids)}")
    return np.sort(np.array([ids[token] for token in wanted], dtype=np.int64))
