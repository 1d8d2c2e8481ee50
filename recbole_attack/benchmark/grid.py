"""A grid as it is written: one YAML file of lists and named rows, or a folder with one file a row."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import yaml

from recbole_attack.benchmark.folder import GRID_FILE, check_alone, check_models, rows_of_folder, with_shared
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.reading import read_text, read_value, text_keys
from recbole_attack.data import each_target
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean, lookup, shown
from recbole_attack.utils.yaml_files import YamlLoader, load_yaml

Parameters = dict[str, Any]

PARTS = {
    "fixed": "parameters of all rows",
    "grid": "parameters with a list of values each: all combinations are run",
    "targets_each": "target items, or a selector: combinations are run with each of them as the only target",
    "exclude": "combinations that are not run: some of the grid's parameters, with one value each",
    "rows": "name -> parameters of one more row",
}
"""What a grid's file holds, all of it optional but for one of ``grid`` and ``rows``."""


MAX_RUNS = 10_000
"""Runs of the largest grid: a few lists in a few lines ask for more than there are atoms."""


@dataclass(frozen=True)
class Row:
    """One configuration, run once with each seed.

    Attributes:
        name: What a table calls it.
        parameters: Without a seed.
        seeds: None leaves it to the defaults.
    """

    name: str
    parameters: Parameters
    seeds: tuple[int, ...] | None


class _GridLoader(YamlLoader):
    def parameters(self, root: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
        """Those of all parts, of each row and of each combination, and of each value that brings parameters with it."""
        yield root
        for key, part in root.value:
            nodes = [part]
            if key.value == "grid" and isinstance(part, yaml.MappingNode):
                nodes += [value for axis, values in part.value for value in _brings(axis.value, values)]
            if key.value == "rows" and isinstance(part, yaml.MappingNode):
                nodes = [row for _, row in part.value]
            elif key.value == "exclude" and isinstance(part, yaml.SequenceNode):
                nodes = part.value
            yield from (node for node in nodes if isinstance(node, yaml.MappingNode))

    def values(self, key: str, value: yaml.Node) -> list[yaml.Node]:
        """All but what a value of a list brings with it, which are parameters of their own."""
        brought = _brings(key, value)
        return [each for each in value.value if each not in brought] if brought else [value]


def _brings(axis: str, values: yaml.Node) -> list[yaml.Node]:
    """The values of a list that name the axis among other parameters."""
    given = values.value if isinstance(values, yaml.SequenceNode) else ()
    mappings = (each for each in given if isinstance(each, yaml.MappingNode))
    return [each for each in mappings if any(key.value == axis for key, _ in each.value)]


def read_grid(path: Path, seeds: Sequence[int] | None = None, changes: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of a grid.

    A grid's combinations are rows named after what sets them apart, such as ``attack=ra, aggregator=median``; named
    rows follow. Every row is run with every ``seed`` of the grid.

    Args:
        path: A YAML file with the :data:`PARTS`, or a folder that has one called ``grid.yaml``, or whose YAML files
            are rows. What the rows of a folder share stands in ``common.yaml`` and ``<model>.yaml`` of the folder and
            of those above it that have a ``common.yaml``; files of rows come in the order of ``paper.yaml``, if there
            is one.
        seeds: Stand in for the grid's own; what the grid excludes stays excluded.
        changes: Parameters that win over the grid's.

    Raises:
        ConfigError: A part is not what it should be, no combination is left, or a file of the folder is of no use.
        DataError: A file is missing or no YAML mapping.
    """
    if not path.exists():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")])
        raise DataError(f"{path} not found: expected a grid's YAML file, or a folder of rows{near}")
    if not path.is_dir():
        rows = _rows_of_file(path, seeds)
    elif (path / GRID_FILE).is_file():
        check_alone(path)
        own = _rows_of_file(path / GRID_FILE, seeds)
        rows = [replace(row, parameters=with_shared(path, row.parameters)) for row in own]
        check_models(path, [row.parameters for row in rows])
    else:
        rows = _rows_of_files(path, seeds)
    if not rows:
        raise ConfigError(f"{path}: expected at least one row, found none")
    for row in rows:
        _check_seeds(row.seeds or ())
    return [replace(row, parameters={**row.parameters, **(changes or {})}) for row in rows]


def _rows_of_files(folder: Path, seeds: Sequence[int] | None) -> list[Row]:
    """The rows of a folder: run with the seeds of the caller, or the one that all of them have."""
    rows = rows_of_folder(folder)
    own = {name: values.pop("seed", None) for name, values in rows.items()}
    others = [name for name, seed in own.items() if seed != next(iter(own.values()))]
    if others:
        found = f"{shown(own[others[0]])} of '{others[0]}' and {shown(next(iter(own.values())))} of '{next(iter(own))}'"
        raise ConfigError(f"{folder}: expected one seed for all rows, or --seeds for more: found {found}")
    asked = seeds if seeds is not None else [seed for seed in own.values() if seed is not None]
    _check_seeds(asked)
    return [Row(name, values, tuple(dict.fromkeys(asked)) or None) for name, values in rows.items()]


def _check_seeds(seeds: Iterable[Any]) -> None:
    for seed in seeds:
        OPTIONS["seed"].check("seed", seed)


def _rows_of_file(path: Path, seeds: Sequence[int] | None) -> list[Row]:
    loader = type("_OwnGridLoader", (_GridLoader,), {"text_keys": text_keys() | {"targets_each"}})
    return _rows_of_parts(load_yaml(path, loader), seeds)


def _rows_of_parts(parts: dict[str, Any], seeds: Sequence[int] | None) -> list[Row]:
    for part in parts:
        lookup(PARTS, part, "part of a grid")
    fixed, axes, named = (_mapping(part, parts.get(part)) for part in ("fixed", "grid", "rows"))
    if parts.get("targets_each") is not None:
        axes["target_items"] = _each_target(parts["targets_each"], {**fixed, **axes})
    axes = {axis: _read_axis(axis, values, fixed) for axis, values in axes.items()}
    if seeds is not None:
        axes["seed"] = list(dict.fromkeys(seeds))
    elif "seed" in fixed:
        axes["seed"] = [fixed["seed"]]
    fixed.pop("seed", None)
    _check_apart(axes)
    count = prod(map(len, axes.values()))
    if count > MAX_RUNS:
        raise ConfigError(f"grid: expected at most {MAX_RUNS} combinations, found {count}")
    excluded = _exclusions(parts.get("exclude"), axes, set() if seeds is None else {"seed"})
    rows = [] if named and not axes.keys() - {"seed"} else list(_combinations(fixed, axes, excluded))
    every = tuple(axes["seed"]) if "seed" in axes else None
    for name, own in named.items():
        if not name.strip():
            raise ConfigError(f"rows: expected a name for every row, found {shown(name)}")
        values = _mapping(f"row '{name}'", own)
        if "seed" in values:
            raise ConfigError(f"row '{name}': expected its seeds under grid, found seed {shown(values['seed'])}")
        rows.append(Row(name, {**fixed, **values}, every))
    twice = {row.name for row in rows[: len(rows) - len(named)]} & named.keys()
    if twice:
        raise ConfigError(f"rows: expected names of their own, found '{twice.pop()}', which is one of the grid's")
    return rows


def _check_apart(axes: Mapping[str, list[Any]]) -> None:
    """What goes with a value of one axis is not decided by another."""
    for axis, values in axes.items():
        for other in {key for value in values for key in _own(axis, value)} - {axis}:
            if other in axes:
                raise ConfigError(f"grid: {other} is given twice: found it as a list and beside a value of {axis}")


def _each_target(given: Any, others: Mapping[str, Any]) -> list[Any]:
    if "target_items" in others:
        raise ConfigError("targets_each: expected no target_items beside it, found some in fixed or grid")
    try:
        return each_target(given)
    except ConfigError as error:
        raise ConfigError(f"targets_each: {error}") from error


def _mapping(part: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{part} must hold 'key: value' lines: found {shown(value)}")
    return dict(value)


def _read_axis(axis: str, values: Any, fixed: Parameters) -> list[Any]:
    """The values of an axis as configurations have them, none of them twice.

    A value may be a mapping with the axis and other parameters that go with it.
    """
    if not isinstance(values, list) or not values:
        raise ConfigError(f"grid: {axis} must be a list of values, such as [{shown(values)}]: found {shown(values)}")
    read = [_value(axis, value) for value in values]
    if len({_canonical(value) for value in read}) < len(values):
        raise ConfigError(f"grid: {axis} must list every value once: found {shown(values)}")
    if axis in fixed:
        raise ConfigError(f"grid: {axis} is given twice: found it in fixed, too")
    return read


def _value(axis: str, given: Any) -> Any:
    """What a value stands for: a text may spell a number, as everywhere."""
    if isinstance(given, dict) and axis in given:
        return {key: _value(key, value) for key, value in given.items() if key != axis} | {
            axis: _value(axis, given[axis])
        }
    return read_value(axis, read_text(axis, given) if isinstance(given, str) else given)


def _exclusions(given: Any, axes: Mapping[str, list[Any]], others: Container[str]) -> list[dict[str, str]]:
    """Partial combinations, values as :func:`_canonical` text.

    Args:
        given: What the grid's file excludes.
        axes: Its lists.
        others: Axes whose values are not the file's: what it excludes may not be among them.
    """
    if given is not None and not isinstance(given, list):
        raise ConfigError(f"exclude must be a list of combinations, such as [{{attack: ra}}]: found {shown(given)}")
    found = []
    for combination in given or []:
        values = _mapping("a combination of exclude", combination)
        if not values:
            raise ConfigError("exclude: expected combinations of at least one parameter, found one of none")
        excluded = {}
        for axis, value in values.items():
            known = [_own(axis, each)[axis] for each in lookup(axes, axis, "parameter in exclude")]
            excluded[axis] = _canonical(_value(axis, value))
            if axis not in others and excluded[axis] not in map(_canonical, known):
                near = did_you_mean(str(value), map(str, known))
                raise ConfigError(f"exclude: {axis} must be one of {shown(known)}: found {shown(value)}{near}")
        found.append(excluded)
    return found


def _combinations(
    fixed: Parameters, axes: Mapping[str, list[Any]], excluded: Sequence[Mapping[str, str]]
) -> Iterator[Row]:
    varied = [axis for axis in axes if axis != "seed"]
    seeds = axes.get("seed", [None])
    for values in product(*([_own(axis, value) for value in axes[axis]] for axis in varied)):
        own = {key: value for part in values for key, value in part.items()}
        left = [seed for seed in seeds if not any(_matches({**own, "seed": seed}, some) for some in excluded)]
        if left:
            name = ", ".join(f"{axis}={_word(value)}" for axis, value in own.items()) or "all"
            yield Row(name, {**fixed, **own}, None if left == [None] else tuple(left))


def _own(axis: str, value: Any) -> Parameters:
    """The parameters a value of an axis sets, the axis first."""
    several = isinstance(value, dict) and axis in value
    return {axis: value[axis], **value} if several else {axis: value}


def _matches(combination: Mapping[str, Any], some: Mapping[str, str]) -> bool:
    return all(_canonical(combination[axis]) == value for axis, value in some.items())


def _canonical(value: Any) -> str:
    """The same text for what means the same: 1 and 1.0, an item and a list of it alone."""
    if isinstance(value, list) and len(value) == 1:
        return _canonical(value[0])
    return json.dumps(float(value) if type(value) is int else value, sort_keys=True)


def _word(value: Any) -> str:
    return f"[{', '.join(map(_word, value))}]" if isinstance(value, list) else str(value)


def default_store(path: Path) -> Path:
    """Where the results of a grid are kept if nothing else is said: below ``saved``, named after it and its folder."""
    place = path.resolve()
    return Path("saved") / f"{place.parent.name}-{place.name if place.is_dir() else place.stem}"
