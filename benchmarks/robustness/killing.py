"""Runs and grids that are killed, and runs side by side."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from conftest import SMALL
from hostile.kills import LOCKED, Fork, at_an_instant, differing, in_a_fork, killed_until_done, remains
from trials import RUNS, Place, Trial, Whole, ended_as, side_by_side, whole

from recbole_attack import run_recbole_attack
from recbole_attack.benchmark import make_plan, run_grid
from recbole_attack.benchmark.grid import Row
from recbole_attack.quick_start import train_arm


def killed_and_resumed(what: str, run: Whole, kill: Callable[[Any, Path], Any], root: Path) -> Trial:
    """Killed once, and continued."""
    kill(run.work, root)
    error = in_a_fork(run.work, root).error
    return Trial(what, error) if error else ended_as(run, root, what)


def killed_again(what: str, run: Whole, seed: str, root: Path) -> Trial:
    """Killed until it is faster than its killer."""
    killed_until_done(run.work, root, random.Random(seed), run.touches // 3)
    return ended_as(run, root, what)


def kills(place: Place) -> Iterator[Trial]:
    for name in RUNS:
        run, chance = whole(name, place), random.Random(f"{place.seed} {name}")
        chosen = chance.sample(range(1, run.touches + 1), min(run.touches, 60 * place.repeats))
        fates = [partial(in_a_fork, at=at, cut=chance.random()) for at in chosen]
        instants = [partial(at_an_instant, seconds=chance.uniform(0, run.seconds)) for _ in range(20 * place.repeats)]
        seeds = [f"{place.seed} {name} {number}" for number in range(8 * place.repeats)]
        tries = [
            partial(killed_and_resumed, f"{name}, killed before one of {run.touches} touches", run, fate)
            for fate in fates
        ]
        tries += [partial(killed_and_resumed, f"{name}, killed at an instant", run, instant) for instant in instants]
        tries += [partial(killed_again, f"{name}, killed again and again", run, seed) for seed in seeds]
        yield from side_by_side(tries, place)


def concurrency(place: Place) -> Iterator[Trial]:
    run = whole("federated", place)
    for number in range(8 * place.repeats):
        root = place.folder / f"together {number}"
        root.mkdir()
        start = lambda root: run_recbole_attack(config_dict={**RUNS["federated"], "checkpoint_dir": str(root)})  # noqa: E731
        errors = [fork.ended().error for fork in [Fork(start, root) for _ in range(4)]]
        found = [", ".join(differing(remains(file.parent), run.expected)) for file in root.glob("*/config.yaml")]
        yield from (Trial("four at a time in one checkpoint_dir", text) for text in found)
        yield from (Trial("four at a time in one checkpoint_dir", error) for error in errors if error)
    chance = random.Random(place.seed)
    for number in range(8 * place.repeats):
        root = place.folder / f"one {number}"
        root.mkdir()
        in_a_fork(run.work, root, at=chance.randint(20, run.touches))
        first = Fork(run.work, root, at=LOCKED, kind=signal.SIGSTOP)
        first.stopped()
        errors = [fork.ended().error for fork in [Fork(run.work, root) for _ in range(3)]]
        yield from (
            Trial("refused while another works in the folder", "" if "is in use" in e else e or "-") for e in errors
        )
        first.send(signal.SIGCONT)
        error = first.ended().error
        yield Trial("which goes on and ends", error) if error else ended_as(run, root, "which goes on and ends")


def grids(place: Place) -> Iterator[Trial]:
    """Killed again and again, the store of a grid ends byte-equal, timings aside."""
    rows = [Row(attack, {**SMALL, "epochs": 1, "attack": attack}, (1, 2)) for attack in ("ra", "eb")]
    plan = make_plan(rows)
    work = partial(_run_grid, plan)
    for name in ("here", "fork"):
        (place.folder / name).mkdir()
    work(place.folder / "here")
    touches = in_a_fork(work, place.folder / "fork").touches
    expected = _store(place.folder / "here")
    tries = [partial(_killed_grid, work, expected, touches, f"{place.seed} {n}") for n in range(8 * place.repeats)]
    yield from side_by_side(tries, place)


def _run_grid(plan: Any, folder: Path) -> None:
    assert not run_grid(plan, folder / "store", train_arm, 1, tell=len)


def _killed_grid(work: Any, expected: dict[str, bytes], touches: int, seed: str, folder: Path) -> Trial:
    killed_until_done(work, folder, random.Random(seed), touches // 2)
    return Trial("killed again and again, ends byte-equal", ", ".join(differing(_store(folder), expected)))


def _store(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in ("timings.jsonl", ".lock")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
