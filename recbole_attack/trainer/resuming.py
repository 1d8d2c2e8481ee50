"""What an interrupted training goes on from: the same parameters, and its own state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.files import plain

_MAY_CHANGE = {"checkpoint_dir", "data_path", "gpu_id", "use_gpu", "show_progress", "state", "verbose", "worker"}
"""Parameters that say where and how loudly a run runs, and nothing about what comes out."""


def check_same_parameters(trained: Mapping[str, Any], now: Mapping[str, Any], file: str | Path) -> None:
    """Refuse to go on with other parameters than those a checkpoint was trained with.

    Args:
        trained: Those of the checkpoint.
        now: Those of the run.
        file: The checkpoint.

    Raises:
        ConfigError: Names the first that differs.
    """
    before, now = plain(trained), plain(now)
    for key in sorted((before.keys() | now.keys()) - _MAY_CHANGE):
        if before.get(key) != now.get(key):
            raise ConfigError(f"{file} cannot be continued: expected {key} {before.get(key)!r}, found {now.get(key)!r}")


def restore(owner: object, names: Iterable[str], values: Mapping[str, Any]) -> None:
    """Give an object its attributes ``names`` back.

    Raises:
        TypeError: One is of another type than the attribute was; ``None`` stands for any.
    """
    for name in names:
        now, before = getattr(owner, name), values[name]
        if now is not None and type(before) is not type(now):
            raise TypeError(f"{name}: expected {type(now).__name__}, found {type(before).__name__}")
        setattr(owner, name, before)


def check_epochs(name: str, rows: Iterable[Mapping[str, Any]], epochs: int) -> None:
    """Refuse records that are not of every epoch from 0 on, in order.

    Raises:
        KeyError, TypeError: A row has no epoch.
        ValueError: An epoch is missing, or there are others.
    """
    found = [int(row["epoch"]) for row in rows]
    if found != sorted(found) or set(found) != set(range(epochs)) or epochs < 0:
        raise ValueError(f"{name}: expected records of epochs 0 to {epochs - 1}, found {list(dict.fromkeys(found))}")
