"""Whole grids on the tiny dataset: shared arms, failures, kills at random moments, and a cluster."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_attack.benchmark import Store, run_grid
from recbole_attack.commands import grid
from recbole_attack.commands.main import main
from recbole_attack.quick_start import train_arm
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError
from recbole_attack.utils.exit_code import EXIT_TERMINATED, exit_code

CONTENT = ("cells.jsonl", "histories.jsonl", "rows.jsonl")


def content(folder):
    return {name: (folder / name).read_bytes() for name in CONTENT}


def arguments(*words):
    parser = argparse.ArgumentParser()
    grid.add_arguments(parser)
    parser.set_defaults(plugins=None)
    return parser.parse_args([str(word) for word in words])


def command(*words):
    return exit_code(lambda: grid.run(arguments(*words)), "interrupted")


def test_a_clean_twin_is_trained_once_and_is_what_it_would_be_alone(planned, run):
    trained = []

    def counted(parameters, arm, folder):
        trained.append((arm, parameters["attack"]))
        return train_arm(parameters, arm, folder)

    both = Store(run(planned(grid={"attack": ["ra", "eb"]}), "both", counted))
    assert sorted(trained) == [("attacked", "eb"), ("attacked", "ra"), ("clean", "none")]
    for attack in ("ra", "eb"):
        alone = Store(run(planned(fixed={"attack": attack}, rows={"a": {}}), attack)).records()["a"][0]
        shared = both.records()[f"attack={attack}"][0]
        for record in (alone, shared):
            for epochs in record["history"].values():
                assert [epoch.pop("seconds") > 0 for epoch in epochs] == [True]
        for key in ("config", "budget", "dataset", "clean", "attacked", "delta", "history"):
            assert shared[key] == alone[key]


def test_an_arm_that_fails_costs_no_other_and_is_tried_again(planned, run):
    plan = planned(grid={"attack": ["ra", "eb"]})

    def failing(parameters, arm, folder):
        if parameters["attack"] == "ra":
            raise TrainingError("it diverged")
        return train_arm(parameters, arm, folder)

    folder = run(plan, "failed", failing, expected=1)
    failed = Store(folder)
    assert [failure["error"] for failure in failed.failures.values()] == ["TrainingError: it diverged"]
    assert len(failed.cells) == 2 and list(failed.records()) == ["attack=eb"]
    run(plan, "failed")
    assert Store(folder).failures == {}
    assert content(folder) == content(run(plan, "whole"))


def test_killed_at_any_moment_a_grid_goes_on_to_the_same_store(planned, run, tmp_path):
    """Ten processes that are killed, each a little later; one that is not."""
    plan = planned(grid={"attack": ["ra", "eb"], "seed": [1, 2]})
    start = time.perf_counter()
    whole = content(run(plan, "whole"))
    longest = time.perf_counter() - start
    folder, chance, fork = tmp_path / "killed", random.Random(0), multiprocessing.get_context("fork")
    for _ in range(10):
        process = fork.Process(target=run_grid, args=(plan, folder, train_arm, 1), kwargs={"tell": len})
        process.start()
        process.join(chance.uniform(0, longest / 3))
        process.kill()
        process.join()
        cells = folder / "cells.jsonl"
        kept = cells.read_bytes().splitlines() if cells.is_file() else []
        assert set(kept) <= set(whole["cells.jsonl"].splitlines())
    run(plan, "killed")
    assert content(folder) == whole
    timings = (folder / "timings.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in timings] == sorted(plan.arms)
    left = {path.name for path in folder.iterdir()} - {".lock", "timings.jsonl", *CONTENT}
    assert left <= {"outcomes"}


KILLED = """
import sys
from test_grid_run import command
if __name__ == "__main__":
    sys.exit(command(*sys.argv[1:]))
"""


def test_no_worker_outlives_a_grid_that_is_killed(written, tmp_path):
    file = written(rows={"a": {"attack": "eb"}, "b": {"attack": "ra"}}, fixed={"epochs": 400, "stopping_step": 999})
    (tmp_path / "killed.py").write_text(KILLED)
    words = [sys.executable, "-W", "ignore", "killed.py", str(file), "--store=store", "--jobs=2"]
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(words, cwd=tmp_path, env=place)
    until(lambda: len(list((tmp_path / "store" / "work").glob("*/*/last.pth"))) == 2)
    ours = [child for child in children(process.pid) if b"LokyProcess" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(ours) == 2
    process.kill()
    process.wait()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in ours))


def test_a_grid_that_is_terminated_tidies_up_and_says_how_to_go_on(written, capfd):
    file = written(rows={"a": {"attack": "none"}}, fixed={"epochs": 400, "stopping_step": 999})
    ended = lambda: sys.exit(command(file, "--store=store", "--jobs=1"))  # noqa: E731
    process = multiprocessing.get_context("fork").Process(target=ended)
    process.start()
    until(lambda: list(Path("store/work").glob("*/*/last.pth")))
    process.terminate()
    process.join()
    assert process.exitcode == EXIT_TERMINATED
    said = "interrupted; 0 of 1 arms kept in store; the same command goes on from there"
    assert capfd.readouterr().err.splitlines()[-1] == said
    assert {path.name for path in Path("store").iterdir()} == {"rows.jsonl"}


def until(true, seconds=300):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(parent):
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(child) for child in listed.split()]


def test_a_cluster_fills_the_same_store(planned, run, tmp_path):
    distributed = pytest.importorskip("distributed")
    plan = planned(grid={"attack": ["ra", "eb"]})
    local = content(run(plan, "local"))
    settings = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(protocol="tcp", **settings) as cluster:
        assert content(run(plan, "cluster", scheduler=cluster.scheduler_address)) == local


# The command


def test_the_command_keeps_runs_and_a_dry_run_says_what_is_left(written, tmp_path, capsys):
    file, store = written(grid={"attack": ["ra", "eb"], "seed": [1, 2]}), f"--store={tmp_path / 'store'}"
    assert command(file, store, "--dry_run", "--jobs=2") == 0
    before = capsys.readouterr().out.splitlines()
    assert before[:4] == [
        "2 rows, 4 runs, 6 arms instead of 8 by sharing",
        f"store {tmp_path / 'store'}: 0 arms kept, 6 to train",
        "time: unknown, no such arm is kept",
        "disk: unknown, no arm is kept",
    ]
    assert before[5:] == [
        f"attack={attack}: seeds 1, 2; clean to train, shared with 1 more; attacked to train" for attack in ("ra", "eb")
    ]
    assert not (tmp_path / "store").exists()

    assert command(file, store, "--seeds", 1, "--jobs=1") == 0
    out, err = capsys.readouterr()
    assert out == f"kept in {tmp_path / 'store'}: 2 runs\n"
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        "[1/3] attack=ra, seed 1, clean (and 1 more)",
        "[2/3] attack=ra, seed 1, attacked",
        "[3/3] attack=eb, seed 1, attacked",
    ]
    assert command(file, store, "--dry_run", "--jobs=2") == 0
    after = capsys.readouterr().out.splitlines()
    assert after[1] == f"store {tmp_path / 'store'}: 3 arms kept, 3 to train"
    assert after[2].startswith("time: about ") and after[2].endswith(" with 2 jobs")
    assert after[5] == "attack=ra: seeds 1, 2; clean 1 of 2 kept, shared with 1 more; attacked 1 of 2 kept"


def test_a_mistake_in_the_last_row_is_found_before_the_first_is_run(written, tmp_path, capsys):
    file = written(rows={"a": {"attack": "ra"}, "b": {"atack": "ra"}})
    assert command(file, "--store=store") == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith("ConfigError: row 'b': unknown parameter 'atack'")
    assert not Path("store").exists()


def test_failures_are_told_of_and_end_with_an_exit_code(written, capsys):
    file = written(rows={"a": {"attack": "ra"}, "b": {"attack": "none", "target_items": ["nonesuch"]}})
    assert command(file, "--store=store", "--jobs=1") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "failed: b, seed 2020, clean: DataError: " in err
    assert err.splitlines()[-1] == "TrainingError: 1 of 3 arms failed; the same command tries them again"
    assert command(file, "--store=store", "--dry_run") == 0
    assert "b: seeds 2020; clean to train, failed before: DataError: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs=0"], "jobs must be an integer at least 1: found 0"),
        (["--memory_gb=0"], "memory_gb must be a number above 0: found 0.0"),
        (["--jobs=2", "--scheduler=tcp://x:1"], "jobs: expected none with a scheduler"),
    ],
)
def test_options_are_checked(written, words, message):
    with pytest.raises(ConfigError, match=message):
        grid.run(arguments(written(rows={"a": {}}), *words))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--only=target_items=[i2, i3]"], {"target_items=[i2, i3]": "1, 2"}),
        (["--only=target_items=[i]*"], {"target_items=i2": "1, 2"}),
        (["--only=*i3*", "--seeds=3,4"], {"target_items=[i2, i3]": "3, 4"}),
        (["--only=*i3*", "--seeds", "3,4", "5"], {"target_items=[i2, i3]": "3, 4, 5"}),
    ],
)
def test_rows_are_chosen_by_their_very_name_or_a_pattern(written, capsys, words, expected):
    file = written(grid={"target_items": [["i2", "i3"], "i2"], "seed": [1, 2]})
    assert command(file, "--store=store", "--dry_run", *words) == 0
    rows = [line.split(": seeds ") for line in capsys.readouterr().out.splitlines()[5:]]
    assert {name: rest.partition(";")[0] for name, rest in rows} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only=nothing"], r"found 'nothing'; rows are 'epochs=1', 'epochs=2', 'epochs=3' and 1 more$"),
        (["--only=epoch=1"], r"found 'epoch=1'; did you mean 'epochs=1'\?$"),
        (["--seeds", "1", "x.yaml"], r"such as --seeds 1 2 or --seeds=1,2, after the grid: found 'x.yaml'$"),
        (["--seeds=1,"], r"expected integers, .*: found '1,'$"),
    ],
)
def test_what_chooses_nothing_is_said_in_one_line(written, capsys, words, message):
    file = written(grid={"epochs": [1, 2, 3, 4]})
    assert main(["grid", str(file), "--store=store", "--dry_run", *words]) == 2
    assert re.search(message, capsys.readouterr().err.rstrip())


def test_a_store_that_cannot_be_written_to_is_enough_where_nothing_is_left(planned, run, monkeypatch):
    plan, more = planned(rows={"a": {"attack": "none"}}), planned(rows={"a": {"attack": "ra"}})
    folder = run(plan)
    before = content(folder)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("recbole_attack.utils.files.write_atomically", None)
    assert run(plan) == folder
    with pytest.raises(DataError, match=r"store cannot be written to: expected nothing to train, found 1 arm$"):
        run(more)
    assert content(folder) == before and not (folder / ".lock").exists()
