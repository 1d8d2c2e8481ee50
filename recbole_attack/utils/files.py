"""Files that are either whole or absent."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from filelock import FileLock

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.yaml_files import dump_yaml

T = TypeVar("T")

_TOKEN = "[0-9a-f]" * 8
_WORKING_DIRECTORY = threading.Lock()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file next to ``path``, then rename it into place."""
    with _replacing(path) as temporary:
        write(temporary)


def write_folder(folder: Path, fill: Callable[[Path], T]) -> T:
    """Let ``fill`` write into a temporary folder next to ``folder``, then rename it into place.

    Returns:
        What ``fill`` returned.

    Raises:
        DataError: ``folder`` exists already; nothing in it was changed.
    """
    with _replacing(folder) as temporary:
        if folder.exists():
            raise DataError(f"{folder} exists already: remove it, or choose another folder")
        temporary.mkdir()
        return fill(temporary)


def tidy(folder: Path, *names: str) -> None:
    """Remove what killed writers left in a folder; nobody may be writing to it.

    Args:
        folder: Where they wrote.
        names: Patterns of the files they wrote there; anything, anywhere below the folder, if there are none.
    """
    for name in names or ("**/*",):
        place, _, file = name.rpartition("/")
        for pattern in (f".{file}.{_TOKEN}.tmp", f".{file}.lock"):
            for leftover in list(folder.glob(f"{place}/{pattern}" if place else pattern)):
                _remove(leftover)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock that nobody else can hold meanwhile: a file that is there as long as it is held.

    The system frees it when the process that holds it dies, however it dies.

    Args:
        path: The file.
        timeout: Seconds to wait for somebody else who holds it; a negative number waits for as long as it takes.

    Raises:
        filelock.Timeout: Somebody else holds it.
    """
    with FileLock(path, timeout=timeout):
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # while it is held: who waits for it finds it gone, and makes a new one


@contextmanager
def working_elsewhere() -> Iterator[None]:
    """Work in a temporary folder: for code that writes where it stands and cannot be told another place.

    What it leaves there is gone at the end of the block. The working directory is that of all threads, so one thread is
    in such a block at a time.
    """
    with _WORKING_DIRECTORY, TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A place next to ``path`` to write to; what stands there in the end becomes ``path``, unless there was an error.

    There is one writer at a time, so whatever else waits to become ``path`` was left by a process that died.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        for leftover in path.parent.glob(f".{escape(path.name)}.{_TOKEN}.tmp"):
            _remove(leftover)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with naming(path):
                yield temporary
                _flush(temporary)
                os.replace(temporary, path)
        finally:
            _remove(temporary)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the system say which file it was: a full disk does not say what it could not take."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _flush(path: Path) -> None:
    """Wait until the disk has a file, or a folder's: a power cut may keep the new name and lose what it stands for."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("r+b") as content:
                os.fsync(content.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        DataError: It holds other bytes.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeError as error:
        raise DataError(f"{path} cannot be read: expected utf-8 text, found other bytes") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda target: target.write_bytes(content))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write standard JSON atomically; numbers that are not finite become ``null``."""
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write YAML atomically, keys sorted, that reads back as itself."""
    write_text(path, dump_yaml(plain(value)))


def plain(value: Any) -> Any:
    """``value`` with mappings, sequences and NumPy scalars turned into JSON's own types."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def digest_of(content: Any) -> str:
    """Hexadecimal SHA-256 of what JSON can hold, whatever order its keys stand in."""
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
