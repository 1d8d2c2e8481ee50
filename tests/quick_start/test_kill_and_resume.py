"""Runs that are killed at random points, and runs side by side, end as one that has the machine to itself."""

from __future__ import annotations

import os
import random
import signal
import types
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hostile import kills
from hostile.kills import Fork, differing, in_a_fork, killed_until_done, remains, run_of, run_or_resume

from recbole_attack import run_recbole_attack

RUNS = {
    "federated": {"aggregator": "krum", "lr_decay_step": 1, "clients_per_round": 32},
    "pretrain": {"scenario": "pretrain", "attack": "pea", "platform": "prompt_tune"},
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """``uninterrupted(name, parameters)``: the work, what it leaves behind, and how often it touches its folder."""
    done = {}

    def run(name, parameters):
        if name not in done:
            work = partial(run_or_resume, parameters)
            root, again = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("again")
            work(root)  # in this process, which has all that is imported late from now on
            ended = in_a_fork(work, again)
            expected = remains(run_of(root))
            assert (ended.killed, ended.error) == (False, "")
            assert differing(remains(run_of(again)), expected) == []
            done[name] = types.SimpleNamespace(work=work, expected=expected, touches=ended.touches)
        return done[name]

    return run


@pytest.fixture
def whole(uninterrupted, small, pretrain):
    made = {"federated": small, "pretrain": pretrain}
    return lambda name: uninterrupted(name, made[name](**RUNS[name]))


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_thirty_random_points_a_run_ends_as_if_it_had_not_been(whole, tmp_path, name):
    """Before it makes, opens, renames or removes a file of its folder; what it was writing then is cut anywhere."""
    run, chance, killed = whole(name), random.Random(2020), 0
    while killed < 30:
        root = tmp_path / str(killed)
        root.mkdir()
        killed += killed_until_done(run.work, root, chance, longest=run.touches // 3)
        assert differing(remains(run_of(root)), run.expected) == []


def test_what_a_run_leaves_behind_is_told_from_anything_else(whole, tmp_path):
    """The comparison itself: one more file, one less, and one number or bit of any kind of file."""
    run = whole("federated")
    run.work(tmp_path)
    folder = run_of(tmp_path)
    names = set(run.expected)
    assert {Path(name).suffix for name in names} == {".pth", ".csv", ".npz", ".yaml", ".json", ".png"}
    assert {"result.json", "attacked/rounds.csv", "attacked/client_weights/epoch-0001.csv", "clean/last.pth"} <= names
    for name in ("dataset.json", "attacked/rounds.csv", "clean/outcomes.npz", "config.yaml"):
        content = (folder / name).read_bytes()
        place = max(place for place, byte in enumerate(content) if 48 <= byte < 57)
        if name.endswith(".csv"):  # the last number of a row is its seconds
            place = content.index(b"\n") + 1
        (folder / name).write_bytes(content[:place] + bytes([content[place] + 1]) + content[place + 1 :])
        assert differing(remains(folder), run.expected) == [name]
        (folder / name).write_bytes(content)
    (folder / "clean" / ".last.pth.0123abcd.tmp").touch()
    (folder / "history.png").unlink()
    assert differing(remains(folder), run.expected) == ["clean/.last.pth.0123abcd.tmp", "history.png"]


def test_a_fork_dies_before_the_touch_it_was_told_and_half_a_file_stays_half(tmp_path):
    def work(folder):
        (folder / "a").write_text("whole")
        (folder / ".b.tmp").write_text("whole")
        (folder / "a").read_text()
        os.rename(folder / ".b.tmp", folder / "b")

    assert in_a_fork(work, tmp_path).touches == 3
    lefts = [{}, {"a": "whole"}, {"a": "whole", ".b.tmp": "wh"}, {"a": "whole", "b": "whole"}]
    for at, left in enumerate(lefts, start=1):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert in_a_fork(work, folder, at=at, cut=0.5).killed == (at < 4)
        assert {file.name: file.read_text() for file in folder.iterdir()} == left
    assert in_a_fork(lambda folder: 1 / 0, tmp_path).error == "ZeroDivisionError: division by zero"


# Side by side


def test_runs_side_by_side_in_one_folder_of_runs_are_each_as_if_alone(whole, tmp_path, small):
    run = whole("federated")
    parameters = small(**RUNS["federated"], checkpoint_dir=str(tmp_path))
    forks = [Fork(lambda root: run_recbole_attack(config_dict=parameters), tmp_path) for _ in range(4)]
    assert [fork.ended().error for fork in forks] == [""] * 4
    folders = [file.parent for file in tmp_path.glob("*/config.yaml")]
    assert len(folders) == 4
    assert [differing(remains(folder), run.expected) for folder in folders] == [[]] * 4


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_of_processes_in_one_run_folder_one_goes_on_and_the_others_are_refused(whole, tmp_path, share):
    run = whole("federated")
    assert in_a_fork(run.work, tmp_path, at=int(share * run.touches)).killed
    first = Fork(run.work, tmp_path, at=kills.LOCKED, kind=signal.SIGSTOP)
    first.stopped()
    before = remains(run_of(tmp_path))
    others = [Fork(run.work, tmp_path) for _ in range(3)]
    errors = Counter(fork.ended().error.partition(" is in use: ")[2] for fork in others)
    assert errors == {"expected that no other process works in it, found one that does": 3}
    assert differing(remains(run_of(tmp_path)), before) == []
    first.send(signal.SIGCONT)
    assert first.ended().error == ""
    assert differing(remains(run_of(tmp_path)), run.expected) == []


def test_a_comparison_reads_every_bit_of_a_tensor():
    torch = kills.torch
    a = {"x": [torch.tensor([0.0, float("nan")]), float("nan")], "seconds": 1}
    assert kills.timeless(a) == kills.timeless({**a, "seconds": 2})
    assert kills.timeless(a) != kills.timeless({"x": [torch.tensor([-0.0, float("nan")]), float("nan")]})
