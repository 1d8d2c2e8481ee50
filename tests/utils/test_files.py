"""Files are whole or absent; JSON is standard."""

import errno
import hashlib
import json
import math
import os
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from filelock import Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import (
    locked,
    plain,
    sha256,
    tidy,
    working_elsewhere,
    write_atomically,
    write_folder,
    write_json,
    write_text,
    write_yaml,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TABLE = st.dictionaries(st.text(max_size=4), PLAIN, max_size=4)


def without_non_finite(value):
    """The oracle for JSON: plain values with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {k: without_non_finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_non_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def refuse_constant(text):
    raise AssertionError(f"{text} is not standard JSON")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def half(target):
        target.write_text("ne")
        raise error

    with pytest.raises(error):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_first_write_leaves_nothing(tmp_path):
    def half(target):
        target.write_text("ne")
        raise OSError

    with pytest.raises(OSError):
        write_atomically(tmp_path / "result.txt", half)
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "result.txt"
    seen = []

    def write(target):
        target.write_text("whole")
        seen.append(path.exists())

    write_atomically(path, write)
    assert seen == [False]
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing(tmp_path, error):
    def half(folder):
        (folder / "a.txt").write_text("whole")
        raise error

    with pytest.raises(error):
        write_folder(tmp_path / "data", half)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "data"

    def fill(folder):
        (folder / "a.txt").write_text("whole")
        return target.exists()

    assert write_folder(target, fill) is False
    assert [path.name for path in target.parent.iterdir()] == ["data"]
    assert (target / "a.txt").read_text() == "whole"


def test_a_folder_that_exists_is_left_as_it_is(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("old")
    with pytest.raises(DataError, match="data exists already"):
        write_folder(tmp_path / "data", lambda folder: (folder / "a.txt").write_text("new"))
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "a.txt"]
    assert (tmp_path / "data" / "a.txt").read_text() == "old"


@settings(derandomize=True, deadline=None)
@given(table=TABLE)
def test_json_is_standard_and_complete(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "table.json"
    write_json(path, table)
    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant) == without_non_finite(table)


def test_json_takes_numpy_torch_paths_and_tuples(tmp_path):
    path = tmp_path / "table.json"
    value = {
        "nan": np.float32("nan"),
        "array": np.array([[1.5, np.inf], [2.0, -np.inf]]),
        "tensor": torch.tensor([1, 2]),
        "scalar": np.int64(7),
        "flag": np.bool_(True),
        "tuple": (1, float("nan")),
        "path": Path("a") / "b",
        3: None,
    }
    write_json(path, value)
    assert json.loads(path.read_text(), parse_constant=refuse_constant) == {
        "nan": None,
        "array": [[1.5, None], [2.0, None]],
        "tensor": [1, 2],
        "scalar": 7,
        "flag": True,
        "tuple": [1, None],
        "path": str(Path("a") / "b"),
        "3": None,
    }


@settings(derandomize=True, deadline=None)
@given(value=PLAIN)
def test_plain_changes_nothing_that_is_plain_and_finite(value):
    finite = without_non_finite(value)
    assert plain(value) == finite
    assert plain(finite) == finite


def test_yaml_comes_back_with_sorted_keys(tmp_path):
    path = tmp_path / "config.yaml"
    values = {"topk": [5, 10], "learning_rate": 1e-3, "name": "Ä: 'b'", "nothing": None, "on": True, "no": "no"}
    write_yaml(path, values)
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == values
    assert list(yaml.safe_load(text)) == sorted(values)
    assert "Ä" in text


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1])
def test_sha256_is_that_of_the_whole_file(tmp_path, size):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "data").write_bytes(content)
    assert sha256(tmp_path / "data") == hashlib.sha256(content).hexdigest()


# Kills, full disks, other writers


def in_another_process(work):
    """Run ``work`` in a fork of this process, which dies without cleaning up; its exit status."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(target):
    if target.suffix == ".tmp" and not target.is_dir():
        target.write_text("ne")
    os._exit(9)


def test_a_killed_write_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    for _ in range(2):
        assert in_another_process(lambda: write_atomically(path, killed)) == 9
        assert path.read_text() == "old"
    assert len(list(tmp_path.glob(".result.txt.*.tmp"))) == 1, "the second one found the first one's"
    write_text(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "new"


def test_a_killed_folder_does_not_stand_in_the_way_of_the_next(tmp_path):
    assert in_another_process(lambda: write_folder(tmp_path / "data", killed)) == 9
    assert not (tmp_path / "data").exists()
    assert list(tmp_path.glob(".data.*.tmp"))
    write_folder(tmp_path / "data", lambda folder: (folder / "a.txt").write_text("whole"))
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "a.txt"]


def test_tidying_a_folder_leaves_what_no_writer_left(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "whole")
    for name in (".lock", ".hidden", ".own.tmp", "a.lock", "b.0123abcd.tmp"):
        (tmp_path / "deep" / name).touch()
    kept = sorted(tmp_path.rglob("*"))
    assert in_another_process(lambda: write_atomically(tmp_path / "deep" / "b.txt", killed)) == 9
    assert in_another_process(lambda: write_folder(tmp_path / "data", killed)) == 9
    assert len(list(tmp_path.rglob("*"))) == len(kept) + 4
    tidy(tmp_path)
    assert sorted(tmp_path.rglob("*")) == kept


@pytest.mark.parametrize("other", ["a.b", "a.b.c", "a.0123abcd", "a[b]", "xa"])
def test_what_another_file_is_written_from_is_left_alone(tmp_path, other):
    def write(target):
        target.write_text("other")
        write_text(tmp_path / "a", "a")
        write_text(tmp_path / "a[b]c", "a")

    write_atomically(tmp_path / other, write)
    assert (tmp_path / other).read_text() == "other"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a[b]c", other}


def test_all_files_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))

    def fill(folder):
        (folder / "deep").mkdir()
        for name in ("a.txt", "deep/b.txt"):
            (folder / name).write_text("whole")

    replace = os.replace

    def checked(source, target):
        files = [path for path in [source, *source.rglob("*")] if path.is_file()]
        assert files
        assert {path.stat().st_ino for path in files} <= set(flushed)
        replace(source, target)

    monkeypatch.setattr(os, "replace", checked)
    write_text(tmp_path / "a.txt", "whole")
    write_folder(tmp_path / "data", fill)
    assert len(flushed) == 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_an_error_of_the_disk_says_which_file_it_hit(tmp_path, code):
    def full(target):
        target.write_text("ne")
        raise OSError(code, os.strerror(code))

    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError, match=f"{os.strerror(code)}: '.*a.txt'") as raised:
        write_atomically(tmp_path / "a.txt", full)
    assert raised.value.errno == code
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_lock_is_for_one_and_free_again_when_its_holder_is_killed(tmp_path):
    lock = tmp_path / ".lock"

    def hold_and_die():
        with locked(lock, timeout=0):
            os._exit(9)

    def try_it():
        try:
            with locked(lock, timeout=0):
                pass
            os._exit(0)
        except Timeout:
            os._exit(1)

    with locked(lock, timeout=0):
        assert in_another_process(try_it) == 1
    assert not lock.exists()
    assert in_another_process(hold_and_die) == 9
    assert lock.exists()
    assert in_another_process(try_it) == 0
    assert list(tmp_path.iterdir()) == []


def test_two_who_write_one_file_do_so_one_after_the_other(tmp_path):
    path, begun, events = tmp_path / "a.txt", threading.Event(), []

    def slow(target):
        begun.set()
        target.write_text("first")
        assert not second.join(0.2), "the second one waits"
        events.append("first")

    def fast(target):
        events.append("second")
        target.write_text("second")

    second = threading.Thread(target=lambda: begun.wait(10) and write_atomically(path, fast))
    second.start()
    write_atomically(path, slow)
    second.join(10)
    assert events == ["first", "second"]
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_what_is_written_elsewhere_is_gone(tmp_path, error):
    before, seen = Path.cwd(), []
    with pytest.raises(error) if error else nullcontext(), working_elsewhere():
        Path("log").mkdir()
        seen.append(Path.cwd())
        if error:
            raise error
    assert Path.cwd() == before
    assert not seen[0].exists()
    assert not list(tmp_path.iterdir())
