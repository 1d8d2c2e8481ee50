"""One try, many tries, and the runs they are made with."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from conftest import PRETRAIN, SMALL
from hostile.kills import FORK, differing, in_a_fork, remains, run_of, run_or_resume

RUNS = {
    "federated": {**SMALL, "aggregator": "krum", "lr_decay_step": 1, "clients_per_round": 32},
    "pretrain": {**SMALL, **PRETRAIN, "attack": "pea", "platform": "prompt_tune"},
}


class Trial(NamedTuple):
    """One try: of what, and whether all was as it should be; otherwise what was not."""

    what: str
    wrong: str


class Place(NamedTuple):
    """Where a section works, and how much of it there is to do."""

    folder: Path
    repeats: int
    seed: int


Try = Callable[[Path], Trial]
"""One try in a folder of its own."""


def side_by_side(tries: Sequence[Try], place: Place) -> Iterator[Trial]:
    """Have tries made by as many forks of this process as there are cores."""
    cores, heard = os.cpu_count() or 1, []
    for core in range(cores):
        listening, telling = FORK.Pipe(duplex=False)
        FORK.Process(target=_make, args=(tries[core::cores], place.folder, telling)).start()
        telling.close()
        heard.append(listening)
    told = 0
    while heard:
        for listening in wait(heard):
            try:
                yield listening.recv()
                told += 1
            except EOFError:
                heard.remove(listening)
    if told < len(tries):
        raise RuntimeError(f"expected {len(tries)} tries, found {told}: a process died")


def _make(tries: Sequence[Any], folder: Path, telling: Any) -> None:
    for one in tries:
        own = Path(tempfile.mkdtemp(dir=folder))
        try:
            telling.send(one(own))
        except Exception as error:  # whatever it is, it is not as it should be
            telling.send(Trial(one.args[0], f"{type(error).__name__}: {error}"))
        finally:
            shutil.rmtree(own, ignore_errors=True)


class Whole(NamedTuple):
    """A run that nothing happened to."""

    work: Any
    expected: dict[str, Any]
    touches: int
    seconds: float


def whole(name: str, place: Place) -> Whole:
    """In this process, so that what is imported late is there in all forks of it."""
    work, root = partial(run_or_resume, RUNS[name]), place.folder / name
    for again in ("here", "fork"):
        (root / again).mkdir(parents=True)
    work(root / "here")
    start = perf_counter()
    touches = in_a_fork(work, root / "fork").touches
    return Whole(work, remains(run_of(root / "here")), touches, perf_counter() - start)


def ended_as(run: Whole, root: Path, what: str) -> Trial:
    return Trial(what, ", ".join(differing(remains(run_of(root)), run.expected)))
