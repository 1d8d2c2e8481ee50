"""Files are whole or absent; checkpoints carry no code; JSON is standard."""

import hashlib
import io
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.errors import DataError
from recbole_attack.files import (
    load_checkpoint,
    plain,
    save_checkpoint,
    sha256,
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


def checkpoint():
    return {"state_dict": {"weight": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "history": [{"loss": 0.5}, None]}


def test_checkpoints_come_back(tmp_path):
    path = tmp_path / "new" / "model.pth"
    save_checkpoint(path, checkpoint())
    state = load_checkpoint(path)
    assert torch.equal(state["state_dict"]["weight"], checkpoint()["state_dict"]["weight"])
    assert (state["epoch"], state["history"]) == (3, [{"loss": 0.5}, None])
    assert list(path.parent.iterdir()) == [path]


class Payload:
    """Leaves a file behind when it is unpickled by a loader that runs code."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("how", ["torch", "legacy torch", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, how):
    path, marker = tmp_path / "model.pth", tmp_path / "ran"
    content = {"state_dict": {}, "other": Payload(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(DataError, match="not a safe checkpoint"):
        load_checkpoint(path)
    assert not marker.exists()
    # The payload is real: a loader that runs code leaves the marker.
    pickle.loads(pickle.dumps(content))
    assert marker.exists()


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth not found"):
        load_checkpoint(tmp_path / "absent.pth")
    for value in ([1, 2], {"weights": 1}):
        torch.save(value, tmp_path / "other.pth")
        with pytest.raises(DataError, match=r"other\.pth.*'state_dict'"):
            load_checkpoint(tmp_path / "other.pth")


def load_or_refuse(path):
    """Whether a damaged file still loads; anything but a state or a ``DataError`` escapes."""
    try:
        return "state_dict" in load_checkpoint(path)
    except DataError:
        return False


@settings(derandomize=True, deadline=None, max_examples=150, report_multiple_bugs=False)
@given(content=st.binary(max_size=40))
def test_any_bytes_are_refused_with_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.pth"
    path.write_bytes(content)
    assert not load_or_refuse(path)


@settings(derandomize=True, deadline=None, max_examples=150, report_multiple_bugs=False)
@given(cut=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), zipped=st.booleans(), data=st.data())
def test_damaged_checkpoints_are_refused_with_a_data_error(tmp_path_factory, cut, byte, zipped, data):
    buffer = io.BytesIO()
    torch.save(checkpoint(), buffer, _use_new_zipfile_serialization=zipped)
    content = bytearray(buffer.getvalue())
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content[: int(cut * len(content))])
    assert not load_or_refuse(path)
    content[data.draw(st.integers(0, len(content) - 1))] = byte
    path.write_bytes(content)
    load_or_refuse(path)
