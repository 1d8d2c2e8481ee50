"""A Dask cluster: what is wrong with it is said, and nothing waits for a result that cannot come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_attack import __version__
from recbole_attack.benchmark import cluster
from recbole_attack.benchmark.cluster import cluster_outcomes
from recbole_attack.benchmark.plan import Arm
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils.errors import ConfigError, TrainingError

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")


def arm(key, **parameters):
    return Arm(key, "clean", parameters, {}, {})


def observed(parameters, name, folder):
    """Stands in for training."""
    if parameters.get("wrong"):
        raise parameters["wrong"]
    if parameters.get("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if parameters.get("slow"):
        time.sleep(100)
    versions = {"evaluator": EVALUATOR_VERSION, "version": __version__, **parameters.get("versions", {})}
    ran = {"torch": torch.__version__, "numpy": np.__version__, **parameters.get("ran", {})}
    record = {"dataset": {"sha256": {}}, "given": parameters["given"], **versions}
    return TrainedArm(record, [], {"environment": ran}, {})


def collect(arms, address):
    with closing(cluster_outcomes(arms, observed, address)) as ended:
        return {arm.key: result for arm, result in ended}


@contextmanager
def local_cluster(**settings):
    defaults = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(protocol="tcp", **{**defaults, **settings}) as made:
        yield made.scheduler_address


STARTED = """
import importlib.metadata, sys
there = importlib.metadata.version
lacking = sys.argv[2:]
importlib.metadata.version = lambda package: {{}}[package] if package in lacking else there(package)
from distributed.cli.{kind} import main
main([sys.argv[1], "--no-dashboard", "--host=127.0.0.1", *{more}])
"""


@contextmanager
def process(kind, first, *more, without=()):
    """A process of a cluster, in whose environment some packages are missing."""
    code = STARTED.format(kind=kind, more=more)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(
        [sys.executable, "-c", code, first, *without],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def address_of(scheduler):
    for line in scheduler.stdout:
        if b"Scheduler at:" in line:
            return line.split()[-1].decode()
    raise AssertionError("the scheduler ended")


def wait_for_a_worker(address):
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)


def test_arms_that_fail_cost_no_other():
    with local_cluster() as address:
        found = collect([arm("a", given=1), arm("b", wrong=TrainingError("it diverged")), arm("c", given=2)], address)
    assert found["b"] == "TrainingError: it diverged"
    assert found["a"].record["given"] == 1
    assert found["c"].record["given"] == 2


def test_an_arm_that_kills_its_worker_fails_and_those_behind_it_go_on():
    others = [arm(key, given=1) for key in "bcd"]
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), local_cluster(processes=True) as address:
        found = collect([arm("a", killed=True), *others], address)
    assert found["a"].startswith("KilledWorker: ")
    assert found["d"].record["given"] == 1


def test_a_cluster_has_to_be_there(monkeypatch):
    with pytest.raises(ConfigError, match=r"scheduler must be the address of a Dask scheduler.*found nonsense://x"):
        collect([arm("a")], "nonsense://x")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="a scheduler needs the extra 'cluster'"):
        collect([arm("a")], "tcp://127.0.0.1:1")


def test_a_cluster_without_workers_is_refused():
    with local_cluster(n_workers=0) as address, pytest.raises(ConfigError, match=f"scheduler {address} has no workers"):
        collect([arm("a")], address)


@pytest.mark.parametrize("lacking", ["dask_scheduler", "dask_worker"])
def test_a_cluster_that_lacks_the_package_is_refused(lacking):
    without = {kind: ["recbole_attack"] if kind == lacking else [] for kind in ("dask_scheduler", "dask_worker")}
    with process("dask_scheduler", "--port=0", without=without["dask_scheduler"]) as scheduler:
        address = address_of(scheduler)
        settings = ("--nthreads=1", "--no-nanny")
        with process("dask_worker", address, *settings, without=without["dask_worker"]):
            wait_for_a_worker(address)
            with pytest.raises(ConfigError, match=r"versions of this machine: .* has recbole_attack None instead of"):
                collect([arm("a", given=1)], address)


def test_a_cluster_of_other_versions_is_refused():
    def with_torch(number):
        return {"packages": {**dict.fromkeys(cluster.PACKAGES, "1.0"), "torch": number}}

    found = {"client": with_torch("2.6"), "scheduler": with_torch("2.6"), "workers": {"tcp://w": with_torch("2.7")}}
    client = SimpleNamespace(get_versions=lambda packages: found)
    with pytest.raises(ConfigError, match=r"versions of this machine: tcp://w has torch 2.7 instead of 2.6$"):
        cluster._check_versions(client)


def test_figures_of_other_versions_are_no_result():
    """Of workers that joined after the versions were compared."""
    with local_cluster() as address:
        others = {
            "a": {"versions": {"evaluator": -3}},
            "b": {"versions": {"version": "0"}},
            "c": {"ran": {"torch": "1"}},
        }
        found = collect([arm(key, given=1, **other) for key, other in others.items()], address)
    assert found == {
        "a": f"the worker's evaluator must be of version {EVALUATOR_VERSION}: found -3",
        "b": f"the worker's recbole_attack must be of version {__version__}: found 0",
        "c": f"the worker's torch must be of version {torch.__version__}: found 1",
    }


def test_a_cluster_that_goes_away_ends_the_wait():
    with process("dask_scheduler", "--port=0") as scheduler:
        address = address_of(scheduler)
        with process("dask_worker", address, "--nthreads=1", "--no-nanny"):
            wait_for_a_worker(address)
            with closing(cluster_outcomes([arm("a", given=1), arm("b", slow=True)], observed, address)) as ended:
                assert next(ended)[1].record["given"] == 1
                scheduler.kill()
                with pytest.raises(TrainingError, match=r"the cluster at .* went away"):
                    next(ended)
