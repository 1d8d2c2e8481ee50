"""What an interrupted training goes on from: the same parameters, and its own state."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_attack.utils.checkpoints import fitting, load_weights
from recbole_attack.utils.errors import ConfigError, shown
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
            raise ConfigError(f"{file} is not of this run: expected {key} {before.get(key)!r}, found {now.get(key)!r}")


def load_model(
    model: Any, checkpoint: Mapping[str, Any], file: str | Path, parameters: Mapping[str, Any] | None
) -> None:
    """Give a model the weights of a checkpoint.

    Args:
        model: The model.
        checkpoint: What the file holds.
        file: The checkpoint.
        parameters: Those it has to be trained with; None takes any.

    Raises:
        ConfigError: It was trained with others.
        DataError: It is another model's.
    """
    if parameters is not None:
        with fitting(file):
            check_same_parameters(checkpoint["config"], parameters, file)
    load_weights(model, checkpoint, file)


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


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimiser what it remembers back, and see that it can step with it.

    Args:
        optimizer: A new one, made as the parameters say.
        saved: Its state as it was.

    Raises:
        AttributeError, LookupError, RuntimeError, TypeError, ValueError: It is another optimiser's, or of other
            parameters of the model.
    """
    own = optimizer.state_dict()["param_groups"]
    for group, found in zip(own, saved["param_groups"], strict=False):  # torch counts them
        _check_settings("optimizer", found, group, {"lr"})
    optimizer.load_state_dict(dict(saved))
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    trial.step()


def restore_schedule(scheduler: torch.optim.lr_scheduler.LRScheduler, saved: Mapping[str, Any]) -> None:
    """Give a schedule its place back; anything else it may hold is what the parameters say.

    Raises:
        LookupError, TypeError, ValueError: It is another schedule's.
    """
    own = scheduler.state_dict()
    _check_settings("scheduler", saved, own, {"last_epoch", "_step_count", "_last_lr"})
    scheduler.load_state_dict({key: saved.get(key, value) for key, value in own.items()})


def _check_settings(name: str, found: Mapping[str, Any], own: Mapping[str, Any], changing: Collection[str]) -> None:
    """See that all but what changes in training is as it was made, and that this is of its type."""
    for key, value in own.items():
        if key in changing and type(found[key]) is not type(value):
            raise TypeError(f"{name}: expected {key} as {type(value).__name__}, found {shown(found[key])}")
        if key not in changing and plain(found.get(key, value)) != plain(value):
            raise ValueError(f"{name}: expected {key} {shown(value)}, found {shown(found[key])}")


def check_epochs(name: str, rows: Sequence[Mapping[str, Any]], epochs: int, absent: bool = False) -> None:
    """Refuse records that are not of every epoch from 0 on, in order, or hold anything but numbers.

    Args:
        name: What they are.
        rows: The records.
        epochs: How many epochs there were.
        absent: Whether a number may be missing.

    Raises:
        KeyError, TypeError: A row has no epoch, or something else than a number.
        ValueError: An epoch is missing, or there are others.
    """
    found = [int(row["epoch"]) for row in rows]
    each = list(dict.fromkeys(found))
    if found != sorted(found) or each != list(range(len(each))) or len(each) != epochs:
        raise ValueError(f"{name}: expected records of epochs 0 to {epochs - 1}, found {each}")
    for row in rows:
        check_numbers(name, row, absent)


def check_like(name: str, found: Any, like: torch.Tensor) -> None:
    """Refuse anything but a tensor of the same shape and type as ``like``.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(found, torch.Tensor) or (found.shape, found.dtype) != (like.shape, like.dtype):
        raise TypeError(f"{name}: expected {like.dtype} {list(like.shape)}, found {shown(found)}")


def check_numbers(name: str, values: Mapping[str, Any], absent: bool = False) -> None:
    """Refuse a record of anything but numbers.

    Raises:
        TypeError: One is something else.
    """
    for key, value in values.items():
        if not (isinstance(value, (int, float)) or (absent and value is None)):
            raise TypeError(f"{name}: expected {key} as a number, found {shown(value)}")
