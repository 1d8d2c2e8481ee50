"""What every reader of bytes from outside promises, held against one input.

It gives a value, or a ``ConfigError`` or ``DataError`` whose message is one printable line; within bounded time and
memory; and it starts nothing and writes nothing.
"""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

from recbole_attack.utils.errors import ConfigError, DataError

SECONDS = 5.0
"""Processor time one input may take; instrumented for coverage, too."""

MEGABYTES = 500
"""How far one input may raise the most memory the process ever had."""

LONGEST = 3000
"""Characters of the longest message."""

_STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "socket.connect"}
_WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}


class BrokenError(AssertionError):
    """A reader broke its promise."""


def outcome(read: Callable[[], Any]) -> str:
    """What comes of an input: ``read``, or the error it was refused with, such as ``DataError: <message>``.

    Args:
        read: Reads it, and compares what was read with a plain reading, if there is one.

    Raises:
        BrokenError: The reader broke its promise; any other error but the two is one, too.
    """
    begun, most = process_time(), _megabytes()
    result = "read"
    with _watched() as seen:
        try:
            read()
        except (ConfigError, DataError) as error:
            _check_line(str(error))
            result = f"{type(error).__name__}: {error}"
    promise(not seen, f"it did more than read: {seen[:3]}")
    took, more = process_time() - begun, _megabytes() - most
    promise(took < SECONDS, f"it took {took:.1f} s: expected less than {SECONDS}")
    promise(more < MEGABYTES, f"it needed {more} MB: expected less than {MEGABYTES}")
    return result


def promise(kept: bool, words: str) -> None:
    """Raise :class:`BrokenError` unless a promise was kept."""
    if not kept:
        raise BrokenError(words)


@cache
def scratch(name: str) -> Path:
    """A folder of this process for what a parser reads, gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, True)
    return folder


def parts(data: bytes, count: int) -> list[bytes | None]:
    """The files an input stands for, divided by the byte 0x1e; ``None`` for those that are not there."""
    found: list[bytes | None] = [*data.split(b"\x1e", count - 1)]
    return found + [None] * (count - len(found))


def _check_line(message: str) -> None:
    promise(message.isprintable(), f"its message is no printable line: {message[:300]!r}")
    promise(len(message) <= LONGEST, f"its message has {len(message)} characters: {message[:300]!r}")


def _megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


_watching: list[list[str]] = []


@contextmanager
def _watched() -> Iterator[list[str]]:
    """What is started or written meanwhile."""
    _install_watch()
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


@cache
def _install_watch() -> None:
    sys.addaudithook(_watch)  # Python lets nobody take it away again


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or "__pycache__" in str(arguments[:1]):
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in _STARTS or event in _WRITES:
        _watching[-1].append(f"{event} {str(arguments[:1])[:200]}")
