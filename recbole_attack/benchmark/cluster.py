"""Arms trained by the workers of a Dask cluster.

Dask is asked itself: joblib's backend for it waits for ever when a task fails without a result, as when the scheduler
cannot read it or a worker is killed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from recbole_attack import __version__
from recbole_attack.benchmark.plan import Arm
from recbole_attack.benchmark.workers import Outcome, Train, error_line, outcome
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils.errors import ConfigError, TrainingError

PACKAGES = ("recbole_attack", "recbole", "torch", "numpy")
"""What decides an arm's figures besides its parameters and data."""


def cluster_outcomes(
    arms: Sequence[Arm], train: Train, scheduler: str, memory_gb: float | None = None
) -> Generator[Outcome, None, None]:
    """Train arms on a cluster; yields each as it ends, in whatever order that is.

    Args:
        arms: What to train.
        train: Trains one arm; a function of a module that the cluster can import.
        scheduler: Address of the cluster's scheduler.
        memory_gb: What a worker may take up; an arm that needs more fails.

    Raises:
        ConfigError: There is no such cluster, it has no workers, or its versions are not those of this machine.
        TrainingError: The cluster went away.
    """
    with _client(scheduler) as client:
        from distributed import as_completed

        asked = {client.submit(outcome, train, arm, None, memory_gb, pure=False): arm for arm in arms}
        for future in as_completed(asked, loop=client.loop):
            if future.status not in ("finished", "error"):
                raise TrainingError(f"the cluster at {scheduler} went away before its arms were trained")
            arm, error = asked.pop(future), future.exception()
            yield arm, error_line(error) if error else _of_same_versions(future.result()[1])


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("a scheduler needs the extra 'cluster': pip install 'recbole_attack[cluster]'") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scheduler must be the address of a Dask scheduler, such as tcp://host:8786: found {address} ({error})"
        ) from error
    with client:
        if not client.ncores():
            raise ConfigError(f"scheduler {address} has no workers: expected some, such as of dask worker {address}")
        _check_versions(client)
        yield client


def _check_versions(client: Any) -> None:
    found = client.get_versions(packages=PACKAGES)
    here = found["client"]["packages"]
    for place, told in {"the scheduler": found["scheduler"], **found["workers"]}.items():
        there = told["packages"]
        differ = [f"{name} {there[name]} instead of {here[name]}" for name in PACKAGES if there[name] != here[name]]
        if differ:
            raise ConfigError(
                f"the scheduler and all workers need the versions of this machine: {place} has {', '.join(differ)}"
            )


def _of_same_versions(trained: TrainedArm | str) -> TrainedArm | str:
    """Workers may have joined since :func:`_check_versions`, and this package may differ between two releases."""
    if isinstance(trained, str):
        return trained
    ran, record = trained.timing["environment"], trained.record
    there = {"evaluator": record["evaluator"], "recbole_attack": record["version"]}
    here = {"evaluator": EVALUATOR_VERSION, "recbole_attack": __version__}
    there |= {"torch": ran["torch"], "numpy": ran["numpy"]}
    here |= {"torch": str(torch.__version__), "numpy": np.__version__}
    wrong = [name for name in here if there[name] != here[name]]
    if not wrong:
        return trained
    return f"the worker's {wrong[0]} must be of version {here[wrong[0]]}: found {there[wrong[0]]}"
