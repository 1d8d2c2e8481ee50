"""What values from a file must be made of, said once and held against all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole_attack.utils.errors import did_you_mean, shown

Shape = Any
"""A type; a tuple of shapes, one of which it is; a frozenset of texts, one of which it is; a mapping from names to
shapes, with ``?`` before a name that may be missing; ``{str: shape}`` for any names; or a list of one shape, that of
every element. ``None`` stands for itself, ``object`` for anything. Integers have 64 bits, ``float`` takes them, too,
and a truth value is no number."""

_Misfit = tuple[tuple[str, ...], Shape, str]
"""Names on the way to a part of a value, the shape it should have, and what it is."""

_NAMES = {
    str: "a text",
    int: "an integer of 64 bits",
    float: "a number",
    bool: "True or False",
    dict: "a mapping",
    list: "a list",
}


def misfit(value: Any, shape: Shape) -> str | None:
    """Where a value is not of a shape, in words; ``None`` if it is.

    >>> misfit({"seed": 1, "arms": {"clean": {}}}, {"seed": int, "arms": {str: str}})
    "'arms.clean' as a text, found a mapping"
    >>> misfit({}, {"seed": int}), misfit({"epochs": [1, 1.5]}, {"epochs": [float]})
    ("'seed' as an integer of 64 bits, found none", None)
    """
    first = next(_misfits(value, shape, ()), None)
    if first is None:
        return None
    path, wanted, found = first
    called = f"'{'.'.join(path)}'" if path else "it"
    return f"{called} as {_words(wanted)}, found {found}"


def _misfits(value: Any, shape: Shape, path: tuple[str, ...]) -> Iterator[_Misfit]:
    if isinstance(shape, tuple):
        yield from _none_of(value, shape, path)
    elif not _is(value, shape):
        yield path, shape, _found(value, shape)
    elif isinstance(shape, list):
        for place, element in enumerate(value):
            yield from _misfits(element, shape[0], (*path, str(place)))
    elif isinstance(shape, Mapping):
        yield from _inside(value, shape, path)


def _none_of(value: Any, shapes: tuple[Shape, ...], path: tuple[str, ...]) -> Iterator[_Misfit]:
    """What keeps a value from being of the shape it comes nearest to, if it is of none."""
    tried = [next(_misfits(value, shape, path), None) for shape in shapes]
    wrong = [found for found in tried if found]
    if len(wrong) == len(shapes):
        deepest = max(wrong, key=lambda found: len(found[0]))
        yield deepest if len(deepest[0]) > len(path) else (path, shapes, _found(value, shapes))


def _inside(value: Mapping[str, Any], shape: Mapping[Any, Shape], path: tuple[str, ...]) -> Iterator[_Misfit]:
    if str in shape:
        shape = dict.fromkeys(value, shape[str])
        needed = set(shape)
    else:
        needed = {name for name in shape if name[:1] != "?"}
        shape = {name.removeprefix("?"): part for name, part in shape.items()}
    for name, part in shape.items():
        if name in value:
            yield from _misfits(value[name], part, (*path, name))
        elif name in needed:
            yield (*path, name), part, "none"


def _is(value: Any, shape: Shape) -> bool:
    """Whether it is of a shape, whatever is inside."""
    if isinstance(shape, frozenset):
        return isinstance(value, str) and value in shape
    kind = _kind(shape)
    if isinstance(value, bool):
        return kind in (bool, object)
    if isinstance(value, int) and kind in (int, float):
        return -(2**63) <= value < 2**63
    return isinstance(value, kind)


def _found(value: Any, shape: Shape) -> str:
    """What a value is, in words, with the nearest one it may be."""
    if isinstance(value, (dict, list)):
        return _NAMES[type(value)]
    choices = [choice for part in (shape if isinstance(shape, tuple) else (shape,)) for choice in _choices(part)]
    return shown(value) + did_you_mean(str(value), choices) if isinstance(value, str) else shown(value)


def _choices(shape: Shape) -> frozenset[str]:
    return shape if isinstance(shape, frozenset) else frozenset()


def _kind(shape: Shape) -> Any:
    if isinstance(shape, Mapping):
        return dict
    if isinstance(shape, list):
        return list
    return type(None) if shape is None else shape


def _words(shape: Shape) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_words, shape))
    if isinstance(shape, frozenset):
        return f"one of {', '.join(sorted(shape))}"
    if shape is None:
        return "nothing"
    return _NAMES.get(_kind(shape), "any value")
