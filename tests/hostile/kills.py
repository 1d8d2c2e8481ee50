"""Processes that are killed while they work in a folder, and what their work leaves behind in the end.

A fork of this process does the work: what is imported is imported already. An audit hook counts its touches of the
folder, which are files opened for writing, renamed or removed and folders made or removed; before the touch with a
given number the fork is sent a signal nothing can be done about.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recbole_attack import run_recbole_attack

FORK: Any = get_context("fork")
WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
LOCKED = 9
"""A touch of a run that goes on before which it has taken its folder's lock."""
Work = Callable[[Path], object]
"""Work that is done in a folder, and that goes on from what an earlier call left there."""


class Ended(NamedTuple):
    """How a fork ended.

    Attributes:
        killed: By a signal.
        error: Type and message of what its work raised; empty if nothing.
        touches: How often it touched the folder.
    """

    killed: bool
    error: str
    touches: int


class Fork:
    """A process that does some work in a folder, started at once.

    Args:
        work: What it does.
        folder: Where.
        at: Number of the touch before which it is sent ``kind``; never if 0.
        cut: Share that is left of a temporary file it is about to touch then: it died while it wrote.
        kind: A signal.
    """

    def __init__(self, work: Work, folder: Path, at: int = 0, cut: float = 1.0, kind: int = signal.SIGKILL) -> None:
        self._touches = FORK.Value("i", 0)
        self._heard, said = FORK.Pipe(duplex=False)
        hook = partial(_touched, str(folder.resolve()), self._touches, at, cut, kind)
        self.process = FORK.Process(target=_do, args=(work, folder, hook, said))
        self.process.start()
        said.close()

    def stopped(self) -> None:
        """Wait until a signal has stopped it."""
        assert os.WIFSTOPPED(os.waitpid(self.process.pid, os.WUNTRACED)[1]), "it ended"

    def send(self, kind: int) -> None:
        os.kill(self.process.pid, kind)

    def ended(self) -> Ended:
        """Wait until it has ended."""
        try:
            error = self._heard.recv()
        except EOFError:
            error = ""
        self.process.join()
        return Ended(self.process.exitcode < 0, error, self._touches.value)


def _do(work: Work, folder: Path, hook: Callable[[str, Any], None], said: Any) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.addaudithook(hook)
    try:
        work(folder)
        said.send("")
    except BaseException as error:
        said.send(f"{type(error).__name__}: {error}")


def _touched(folder: str, touches: Any, at: int, cut: float, kind: int, event: str, args: Any) -> None:
    if event not in WRITES or not str(args[0]).startswith(folder):
        return
    if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return
    touches.value += 1
    if touches.value == at:
        if str(args[0]).endswith(".tmp") and os.path.isfile(args[0]):
            os.truncate(args[0], int(cut * os.path.getsize(args[0])))
        os.kill(os.getpid(), kind)


def in_a_fork(work: Work, folder: Path, **fate: Any) -> Ended:
    """How a fork that does this work ends."""
    return Fork(work, folder, **fate).ended()


def at_an_instant(work: Work, folder: Path, seconds: float) -> Ended:
    """The same of a fork that is killed after so many seconds, wherever it is then."""
    fork = Fork(work, folder)
    fork.process.join(seconds)
    fork.process.kill()
    return fork.ended()


def killed_until_done(work: Work, folder: Path, chance: random.Random, longest: int) -> int:
    """Do work that is killed at a random touch, again and again, until it is done before that.

    Args:
        work: What is done.
        folder: Where.
        chance: Draws the touches.
        longest: No fork lives for more touches than this.

    Returns:
        How often it was killed.
    """
    kills = 0
    while (ended := in_a_fork(work, folder, at=chance.randint(1, longest), cut=chance.random())).killed:
        kills += 1
    assert not ended.error, ended.error
    return kills


def run_or_resume(parameters: Mapping[str, Any], root: Path) -> None:
    """Start a run in a folder of runs, or go on with the one there is."""
    if folders := [file.parent for file in root.glob("*/config.yaml")]:
        run_recbole_attack(resume=str(folders[0]))
    else:
        run_recbole_attack(config_dict={**parameters, "checkpoint_dir": str(root.resolve())})


# What is left


_OF_THE_MOMENT = {"seconds", "timing", "checkpoint_dir", "written_rounds"}  # the last is a hash of seconds, too
_READERS: dict[str, Callable[[bytes], Any]] = {
    ".json": lambda content: timeless(json.loads(content)),
    ".csv": lambda content: timeless(list(csv.DictReader(io.StringIO(content.decode())))),
    ".pth": lambda content: timeless(torch.load(io.BytesIO(content), weights_only=True)),
    ".yaml": lambda content: [line for line in content.splitlines() if not line.startswith(b"checkpoint_dir:")],
}


def run_of(root: Path) -> Path:
    """The folder of the one run that was begun in a folder of runs."""
    (file,) = root.glob("*/config.yaml")
    return file.parent


def remains(folder: Path) -> dict[str, Any]:
    """Everything a run leaves behind but its log and TensorBoard's files, and but what says when and where it ran."""
    files = [file for file in folder.rglob("*") if file.is_file() or file.is_symlink()]
    kept = {str(file.relative_to(folder)): file for file in files if file.name != "run.log"}
    return {
        name: _READERS.get(file.suffix, bytes)(file.read_bytes())
        for name, file in sorted(kept.items())
        if not name.startswith("tensorboard")
    }


def timeless(value: Any) -> Any:
    """A value without what depends on the moment, that equals another one if every bit of them does."""
    if isinstance(value, Mapping):
        return {key: timeless(part) for key, part in value.items() if key not in _OF_THE_MOMENT}
    if isinstance(value, (list, tuple)):
        return [timeless(part) for part in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), list(value.shape), value.contiguous().numpy().tobytes()
    return repr(value)


def differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Names of files that are not the same, or there are not."""
    return sorted(n for n in found.keys() | expected.keys() if n not in found or found[n] != expected.get(n, object))


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
