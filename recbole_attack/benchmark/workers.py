"""Arms trained side by side by processes of this machine.

Every arm has one thread: two processes with a thread each beat one with two, and sums come out the same on any machine.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import mkdtemp
from textwrap import shorten
from traceback import extract_tb
from typing import Any

import joblib
import torch
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from recbole_attack.benchmark.plan import Arm
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

Train = Callable[[dict[str, Any], str, Path], TrainedArm]
"""``(parameters, arm, folder) -> TrainedArm``; see :func:`~recbole_attack.quick_start.train_arm`."""

Outcome = tuple[Arm, TrainedArm | str]
"""An arm and what came of it: the error, in one line, if it failed."""

_ALONE = threading.Lock()
"""Random states and numbers of threads belong to a process: no two arms may be trained in one at a time."""


def default_jobs() -> int:
    """As many as there are cores for this process."""
    return int(joblib.cpu_count())


def outcomes(
    arms: Sequence[Arm],
    train: Train,
    jobs: int,
    work: Path,
    memory_gb: float | None = None,
) -> Generator[Outcome, None, None]:
    """Train arms side by side; yields each as it ends, in whatever order that is.

    No process outlives this one or the iterator, which is to be closed.

    Args:
        arms: What to train.
        train: Trains one arm; a function of a module, so that other processes find it.
        jobs: Number of processes; with one, arms are trained in this one.
        work: Folder for checkpoints on this machine.
        memory_gb: What a process may take up; an arm that needs more fails.

    Raises:
        TrainingError: A process was killed.
    """
    jobs = min(jobs, max(len(arms), 1))
    with _processes(jobs):
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        try:
            yield from pool(joblib.delayed(outcome)(train, arm, work, memory_gb) for arm in arms)
        except Exception as error:  # arms' own errors are outcomes: this is a process that is no more
            text = shorten(error_line(error), 300, placeholder=" ...")
            raise TrainingError(f"the workers broke down, as when memory runs out and one is killed: {text}") from error


@contextmanager
def _processes(jobs: int) -> Iterator[None]:
    try:
        with joblib.parallel_config(
            "loky", inner_max_num_threads=1, initializer=_start_worker, initargs=(os.getpid(),)
        ):
            yield
    finally:
        if jobs > 1:
            get_reusable_executor().shutdown(kill_workers=True)


def _start_worker(parent: int) -> None:
    """End with the process that started this one, however that ends; only that one is told of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own is shared with other processes, and outlives one that is killed
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def outcome(train: Train, arm: Arm, work: Path | None, memory_gb: float | None) -> Outcome:
    """Train one arm in this process, with one thread.

    Args:
        train: Trains it.
        arm: What to train.
        work: Folder for its checkpoint, which is removed again; the system's for such things if absent.
        memory_gb: What this process may take up meanwhile; an arm that needs more fails.
    """
    with _ALONE, _quiet(), threadpool_limits(1), _one_thread():
        if work:
            work.mkdir(parents=True, exist_ok=True)
        folder = mkdtemp(prefix=f"{arm.key}-", dir=work)
        try:
            with _at_most(memory_gb):
                trained = train({**arm.parameters, **arm.place, "checkpoint_dir": folder}, arm.name, Path(folder))
            arm.check(trained.record["dataset"]["sha256"])
            return arm, trained
        except Exception as error:  # whatever it is, the other arms go on
            return arm, error_line(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def error_line(error: BaseException) -> str:
    """An error in one line, with the place where it came from if it is none a user can act on."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, (ConfigError, DataError, TrainingError)):
        return text
    frames = extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


@contextmanager
def _quiet() -> Iterator[None]:
    """Let no arm write where the grid tells how far it is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _at_most(gigabytes: float | None) -> Iterator[None]:
    if gigabytes is None:
        yield
        return
    import resource  # of POSIX systems

    kind = resource.RLIMIT_DATA
    before, most = resource.getrlimit(kind)
    wanted = int(gigabytes * 2**30)
    resource.setrlimit(kind, (wanted if most < 0 else min(wanted, most), most))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, most))
