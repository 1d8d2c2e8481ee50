"""Keeps processes running for as long as its standard input is open, and ends them then.

Whoever started it may end in any way, by a signal that cannot be caught, too: its end of the pipe is closed by the
system. Should the keeper itself be killed, Linux ends what it keeps.
``python -m recbole_attack.flower.keeper '<JSON list of commands>' <folder>``, which is removed at the end.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

_PR_SET_PDEATHSIG = 1
"""The number of an operation of Linux's prctl: which signal a process gets at the end of the one that started it."""

_PATIENCE, _LOOK = 5.0, 0.1
"""Seconds a process has to end by itself, and between two looks whether it has."""


def keep(commands: list[list[str]], folder: str) -> None:
    """Start the commands, wait for the end of standard input, end all they have started, and remove the folder."""
    alone: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True, "preexec_fn": _ends_with_keeper()}
    processes = [subprocess.Popen(command, **alone) for command in commands]
    try:
        print(json.dumps([process.pid for process in processes]), flush=True)
        sys.stdin.read()
    finally:
        _end(processes)
        shutil.rmtree(folder, ignore_errors=True)


def _ends_with_keeper() -> Callable[[], object] | None:
    """What a new process does first, so that a signal that cannot be caught ends it with its keeper."""
    if sys.platform != "linux":
        return None
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            _signal(process.pid, number)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and [p for p in processes if _alive(p)]:
            time.sleep(_LOOK)


def _alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything of the process's group is left; what it left behind itself counts."""
    process.poll()
    return _signal(process.pid, 0)


def _signal(group: int, number: int) -> bool:
    """Whether there is such a group of processes, which is sent a signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    keep(json.loads(sys.argv[1]), sys.argv[2])
