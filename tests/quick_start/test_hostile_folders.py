"""Run folders that somebody else made: refused in one line, or of no effect, and nothing in them is run."""

from __future__ import annotations

import random
import shutil
import types
from functools import partial

import pytest
import yaml
from hostile import folders
from hostile.kills import differing, in_a_fork, remains, run_of, run_or_resume

from recbole_attack import run_recbole_attack
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

REFUSALS = (ConfigError, DataError)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run that was killed in the second epoch of its second arm, and what is left of it if it is not."""
    runs = {}

    def made(parameters):
        if not runs:
            work = partial(run_or_resume, parameters)
            whole, again, cut = (tmp_path_factory.mktemp(name) for name in ("whole", "again", "cut"))
            work(whole)
            assert in_a_fork(work, cut, at=3 * in_a_fork(work, again).touches // 4).killed
            names = {str(file.relative_to(run_of(cut))) for file in run_of(cut).rglob("*")}
            assert {folders.LAST, folders.BEST, "clean/outcomes.npz"} <= names and "result.json" not in names
            runs["run"] = types.SimpleNamespace(root=cut, expected=remains(run_of(whole)))
        return runs["run"]

    return made


@pytest.fixture
def place(interrupted, small, tmp_path, monkeypatch):
    """A copy of it, and a folder of the attacker's, in which this process works: ``folder, bait, expected``."""
    run = interrupted(small(aggregator="krum", lr_decay_step=1, clients_per_round=32))
    folder = run_of(shutil.copytree(run.root, tmp_path / "runs"))
    bait = folders.prepared(tmp_path / "bait")
    monkeypatch.chdir(bait)
    return folder, bait, run.expected


def refused(folder, kinds):
    """See that a run is not gone on with, for a reason of one line, and that there is no result of it."""
    with pytest.raises(kinds) as raised:
        run_recbole_attack(resume=str(folder))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000
    assert not (folder / "result.json").is_file() or (folder / "result.json").is_symlink()


@pytest.mark.parametrize("what", folders.REFUSED)
def test_a_damaged_or_hostile_folder_is_refused_in_one_line_and_runs_nothing(place, what):
    folder, bait, _ = place
    folders.REFUSED[what](folder, bait, random.Random(what))
    refused(folder, REFUSALS)
    assert folders.is_safe(bait)


@pytest.mark.parametrize("what", folders.DIVERGED)
def test_weights_that_are_no_numbers_are_a_training_that_diverged(place, what):
    folder, bait, _ = place
    folders.DIVERGED[what](folder, bait, random.Random(what))
    with pytest.raises(TrainingError, match=r"arm 'attacked': .*not finite"):
        run_recbole_attack(resume=str(folder))


@pytest.mark.parametrize("what", folders.UNREAD)
def test_what_is_not_read_changes_nothing_and_is_not_run(place, what):
    folder, bait, expected = place
    folders.UNREAD[what](folder, bait, random.Random(what))
    run_recbole_attack(resume=str(folder))
    assert set(differing(remains(folder), expected)) <= {"sitecustomize.py"}
    assert folders.is_safe(bait)


def test_an_expression_in_place_of_a_parameter_is_never_evaluated(place):
    """Of every parameter of a run, one after the other; RecBole evaluates some that come as text."""
    folder, bait, _ = place
    before = (folder / "config.yaml").read_bytes()
    names = sorted(yaml.safe_load(before).keys() - {"checkpoint_dir"})  # where it was is no matter now
    assert len(names) > 80
    for damage in folders.expressions(names).values():
        damage(folder, bait, random.Random(0))
        refused(folder, REFUSALS)
        assert folders.is_safe(bait)
        (folder / "config.yaml").write_bytes(before)


def test_the_bait_is_real(tmp_path):
    """A loader that runs code takes it."""
    bait = folders.prepared(tmp_path / "bait")
    assert folders.is_safe(bait)
    folders.pickle.loads(folders.pickle.dumps(folders.code(bait)))
    assert not folders.is_safe(bait)
    (bait / "ran").rmdir()
    yaml.unsafe_load(f'note: !!python/object/apply:os.mkdir ["{bait}/ran"]')
    assert not folders.is_safe(bait)
    (bait / "ran").rmdir()
    exec((bait / "evil.py").read_text())
    assert not folders.is_safe(bait)
    (bait / "ran").rmdir()
    (bait / "precious").write_text("spoiled")
    assert not folders.is_safe(bait)
