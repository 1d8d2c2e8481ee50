"""Workers: one thread each, an arm that fails costs no other, and none outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import pytest
import torch
from threadpoolctl import threadpool_info

from recbole_attack.benchmark import workers
from recbole_attack.benchmark.plan import Arm
from recbole_attack.benchmark.workers import outcomes
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils.errors import TrainingError


def arm(key, **parameters):
    return Arm(key, "clean", parameters, {}, {"data_path": "there"})


def observed(parameters, name, folder):
    """Stands in for training: what a worker sees."""
    if parameters.get("wrong"):
        raise parameters["wrong"]
    if parameters.get("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    pools = max([pool["num_threads"] for pool in threadpool_info()], default=1)
    seen = {"threads": torch.get_num_threads(), "pools": pools, "process": os.getpid(), "folder": str(folder)}
    print("noise")
    (folder / "checkpoint").write_text("x")
    return TrainedArm({"dataset": {"sha256": {}}, "given": parameters, **seen}, [], {}, {})


def collect(arms, work, jobs=1, **settings):
    with closing(outcomes(arms, observed, jobs, work, **settings)) as ended:
        return {arm.key: result for arm, result in ended}


def test_arms_are_trained_here_or_by_others_with_one_thread_each_and_leave_nothing(tmp_path, capfd):
    torch.set_num_threads(2)
    arms = [arm("a"), arm("b", wrong=TrainingError("it diverged")), arm("c", wrong=KeyError("x")), arm("d")]
    here, others = collect(arms, tmp_path / "work"), collect(arms, tmp_path / "work", jobs=2)
    line = observed.__code__.co_firstlineno + 3
    for found in (here, others):
        assert found["b"] == "TrainingError: it diverged"
        assert found["c"] == f"KeyError: 'x' (test_workers.py, line {line})"
        for key in "ad":
            record = found[key].record
            assert record["threads"] == record["pools"] == 1
            assert record["given"] == {"data_path": "there", "checkpoint_dir": record["folder"]}
            assert record["folder"].startswith(str(tmp_path / "work"))
    assert here["a"].record["process"] == os.getpid() != others["a"].record["process"]
    assert list((tmp_path / "work").iterdir()) == []
    assert torch.get_num_threads() == 2
    assert capfd.readouterr().out == "", "what models print does not go where a program may read"


def test_a_worker_that_is_killed_is_said_to_be(tmp_path):
    with pytest.raises(TrainingError, match="the workers broke down, as when memory runs out"):
        collect([arm("a", killed=True), arm("b", killed=True)], tmp_path, jobs=2)


def test_no_two_arms_are_trained_in_one_process_at_a_time():
    """Threads of a cluster's worker: random states are the process's."""
    inside, most = [], []

    def slow(parameters, name, folder):
        inside.append(name)
        most.append(len(inside))
        threading.Event().wait(0.05)
        inside.remove(name)
        return TrainedArm({"dataset": {"sha256": {}}}, [], {}, {})

    threads = [threading.Thread(target=workers.outcome, args=(slow, arm(k), None, None)) for k in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_data_that_changed_on_the_way_are_no_result(tmp_path):
    changed = Arm("a", "clean", {"dataset": "tiny"}, {"tiny.inter": "12"}, {})
    assert "DataError: dataset 'tiny' changed: expected {'tiny.inter': '12'}" in collect([changed], tmp_path)["a"]


LIMITED = """
import sys, types
sys.modules["recbole_attack.quick_start"] = types.SimpleNamespace(TrainedArm=object)
sys.modules["recbole_attack.benchmark.plan"] = types.SimpleNamespace(Arm=object)
sys.modules["recbole_attack.benchmark"] = types.ModuleType("recbole_attack.benchmark")
import importlib.util
import numpy as np
spec = importlib.util.spec_from_file_location("workers", sys.argv[1])
workers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workers)
def needs(gigabytes):
    try:
        np.empty(int(gigabytes * 2**27))
        return "fits"
    except MemoryError:
        return "does not"
with workers._at_most(4.0):
    print(needs(0.1), needs(5.0))
print(needs(5.0))
"""


def test_memory_is_bounded_while_an_arm_is_trained():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, workers.__file__], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "fits does not\nfits\n"
