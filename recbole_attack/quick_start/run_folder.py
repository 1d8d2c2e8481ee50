"""The folder of a run: made, locked, logged into, and continued only where that gives what it would have given."""

from __future__ import annotations

import json
import logging
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import Timeout
from recbole.utils import get_local_time, init_logger

from recbole_attack.config import AttackConfig
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean
from recbole_attack.utils.files import locked, plain, tidy, working_elsewhere, write_json, write_yaml

LOG = "run.log"
"""Name of the log in a run's folder."""

RESULTS = logging.getLogger("recbole_attack.results")
"""Logs each run's table, as ``record.table`` without a line break in front. A handler on it replaces the console's."""


@contextmanager
def run_folder(config: AttackConfig, saved: bool, resume: str | None) -> Iterator[Path]:
    """The folder of a new or resumed run, locked; a temporary one when nothing is to be kept.

    A new one is gone after an error that came before there was anything to continue from.

    Args:
        config: The run's configuration.
        saved: Keep the folder.
        resume: The folder of an interrupted run.

    Raises:
        ConfigError: A run is to be resumed and not kept.
        DataError: Another process works in the folder, or it holds a link.
    """
    if resume is not None and not saved:
        raise ConfigError(f"a resumed run continues its folder: expected saved=True with {resume}, found False")
    if not saved:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
    elif resume is not None:
        _check_no_links(Path(resume))
        with _alone(Path(resume)):
            yield Path(resume)
    else:
        folder = Path(config["checkpoint_dir"]) / _run_name(config)
        folder.mkdir(parents=True)
        try:
            with _alone(folder):
                write_yaml(folder / "config.yaml", config.to_dict())
                yield folder
        except (ConfigError, DataError, OSError):
            if not any(folder.rglob("*.pth")):  # nothing was trained, so nothing is lost
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _check_no_links(folder: Path) -> None:
    """A folder that came from elsewhere may have a log that is a link to a file of somebody else's."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DataError(f"{folder} cannot be continued: expected no links in it, found {path}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with locked(folder / ".lock", timeout=0):
            tidy(folder)
            yield
    except Timeout as error:
        raise DataError(
            f"{folder} is in use: expected that no other process works in it, found one that does"
        ) from error


@contextmanager
def continuable(folder: Path, saved: bool, plugins: bool) -> Iterator[None]:
    """Tell who interrupts a run how to continue it, if it can be.

    Args:
        folder: The run's folder.
        saved: Whether it is kept.
        plugins: Whether it needs code that has to be named again.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not saved:
            raise
        again = " and the same --plugins" if plugins else ""
        raise type(interrupt)(f"interrupted; continue with --resume={shlex.quote(str(folder))}{again}") from None


def saved_config(folder: Path) -> Path:
    """The configuration of an interrupted run.

    Raises:
        DataError: The folder is not that of a run.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        inside = sorted(p.parent for p in folder.glob("*/config.yaml"))
        near = [p.parent.name for p in folder.parent.glob("*/config.yaml")]
        hint = f"; run folders in it: {', '.join(map(str, inside))}" if inside else did_you_mean(folder.name, near)
        raise DataError(f"{folder} is not a run folder: expected {file}{hint}")
    return file


_LATER = ("train_users", "plugins")
"""What folders of earlier versions do not say."""


def check_same_data(file: Path, data: Mapping[str, Any]) -> None:
    """Remember what a new run is trained on, and the code of its plug-ins; a resumed one has to find the same.

    Args:
        file: ``dataset.json`` of the run.
        data: Counts and hashes of the data as they are now, and ``plugins`` -> hashes of their code.

    Raises:
        DataError: They are others than the run was started with, or the file does not say what it was started with, or
            it is not there though something was trained.
    """
    if not file.is_file():
        trained = next(file.parent.rglob("last.pth"), None)
        if trained:
            raise DataError(f"{file} is missing: expected it beside {trained}, which does not say what data it is of")
        write_json(file, data)
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON: {' '.join(str(error).split())}") from error
    if not isinstance(before, dict):
        raise DataError(f"{file} must hold a JSON object: found {type(before).__name__}")
    now = plain(data)
    for key in [*now, *(before.keys() - now.keys())]:
        if before.get(key) != now.get(key) and (key in before or key not in _LATER):
            other = "with other code" if key == "plugins" else "on other data"
            raise DataError(
                f"{file.parent} was trained {other}: expected {key} {before.get(key)}, found {now.get(key)}"
            )


@contextmanager
def run_logging(config: AttackConfig, file: Path | None) -> Iterator[logging.Logger]:
    """RecBole's console and log file for one run, taken down afterwards so that the next run gets its own.

    Args:
        config: The run's configuration.
        file: The log, which is added to if it is there; ``None`` for the console alone.
    """
    logger = logging.getLogger()
    before, level = list(logger.handlers), logger.level
    for handler in before:
        logger.removeHandler(handler)
    try:
        with working_elsewhere():  # RecBole's log goes where the process stands
            init_logger(config)
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
                handler.close()
                if file:
                    logger.addHandler(_moved(handler, file))
            else:
                handler.addFilter(lambda record: record.name != RESULTS.name or not RESULTS.handlers)
        for handler in before:
            logger.addHandler(handler)
        yield logger
    finally:
        for handler in [h for h in logger.handlers if h not in before]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.handlers[:] = before


def _moved(handler: logging.Handler, file: Path) -> logging.FileHandler:
    """A handler that writes the same to another file."""
    moved = logging.FileHandler(file, encoding="utf-8")
    moved.setLevel(handler.level)
    moved.setFormatter(handler.formatter)
    moved.filters = handler.filters
    return moved


def _run_name(config: AttackConfig) -> str:
    parts = (config["model"], config["dataset"], config["scenario"], config["attack"], get_local_time())
    return "-".join([*map(str, parts), secrets.token_hex(3)])
