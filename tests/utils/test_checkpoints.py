"""Checkpoints carry no code, are what was written, and fit or say that they do not."""

import hashlib
import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recbole_attack.utils.checkpoints import load_checkpoint, load_weights, save_checkpoint
from recbole_attack.utils.errors import DataError


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


# What was written, and nothing else


def without_hash(value=None):
    """A checkpoint as earlier versions and RecBole write it."""
    buffer = io.BytesIO()
    torch.save(value or checkpoint(), buffer)
    return buffer.getvalue()


def same(state):
    expected = checkpoint()
    weights = state.pop("state_dict"), expected.pop("state_dict")
    return state == expected and torch.equal(weights[0]["weight"], weights[1]["weight"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints") / "model.pth"


@pytest.fixture(scope="module")
def whole(place):
    """The bytes of a checkpoint."""
    save_checkpoint(place, checkpoint())
    return place.read_bytes()


def test_any_reader_of_torch_checkpoints_reads_ours(place, whole):
    place.write_bytes(whole)
    assert same(torch.load(place, weights_only=True))
    with zipfile.ZipFile(place) as archive:
        assert archive.testzip() is None
        kind, digest = archive.comment.decode().split()
    body = place.read_bytes()[: -len(archive.comment) - 2]
    assert (kind, digest) == ("sha256", hashlib.sha256(body).hexdigest())


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_every_flipped_bit_is_noticed(place, whole, data):
    content = bytearray(whole)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.pth is (damaged|not a safe checkpoint)"):
        load_checkpoint(place)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(data=st.data())
def test_every_changed_part_is_noticed(place, whole, data):
    content = whole
    start = data.draw(st.integers(0, len(content) - 1))
    part = data.draw(st.binary(min_size=1, max_size=600))
    changed = content[:start] + part + content[start + len(part) :]
    place.write_bytes(changed)
    if changed != content:
        with pytest.raises(DataError):
            load_checkpoint(place)


def test_checkpoints_of_earlier_versions_load(place):
    place.write_bytes(without_hash())
    assert same(load_checkpoint(place))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_without_a_hash_a_flipped_bit_is_noticed_or_changes_nothing(place, data):
    content = bytearray(without_hash())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    place.write_bytes(content)
    try:
        state = load_checkpoint(place)
    except DataError:
        return
    assert same(state)


def test_without_a_hash_a_tensor_that_torch_would_leave_to_chance_is_refused(place):
    """Of an entry that is marked as a folder torch reads nothing, and says nothing."""
    content = bytearray(without_hash())
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    while b"/data/0" not in content[entry + 46 : entry + 66]:
        entry = content.index(b"PK\x01\x02", entry + 1)
    content[entry + 38] = 0x10
    place.write_bytes(content)
    torch.load(place, weights_only=True)  # says nothing
    with pytest.raises(DataError, match=r"model\.pth is damaged"):
        load_checkpoint(place)


@pytest.mark.parametrize("sealed", [False, True])
def test_what_would_unpack_to_more_than_it_is_is_refused_before_it_is_unpacked(place, monkeypatch, sealed):
    big = {"state_dict": {"weight": torch.zeros(1 << 22)}}
    with zipfile.ZipFile(io.BytesIO(without_hash(big))) as whole, zipfile.ZipFile(place, "w") as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    assert place.stat().st_size < (1 << 24) / 500
    assert torch.load(place, weights_only=True)["state_dict"]["weight"].numel() == 1 << 22, "torch would"
    if sealed:
        content = place.read_bytes()[:-2]
        comment = b"sha256 " + hashlib.sha256(content).hexdigest().encode()
        place.write_bytes(content + struct.pack("<H", len(comment)) + comment)

    def unpacked(*_, **__):
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(torch, "load", unpacked)
    monkeypatch.setattr(zipfile.ZipFile, "open", unpacked)
    with pytest.raises(DataError, match=r"would unpack to 167\d\d\d\d\d"):
        load_checkpoint(place)


SHARED: list = ["x"]
for _ in range(40):
    SHARED = [SHARED, SHARED]
LOOP: dict = {"state_dict": {}}
LOOP["config"] = LOOP


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"w": torch.zeros(1).expand(10**6, 10**6)}}, "would be a tensor of 4000000000000"),
        ({"state_dict": {}, "config": SHARED}, "would be more than [0-9]+ values"),
        (LOOP, "would be more than [0-9]+ values"),
        ({"state_dict": {}, "other": bytearray(9)}, "tensors and plain values only, found '__builtin__ bytearray'"),
        ({"state_dict": {}, "other": torch.float32}, "tensors and plain values only, found 'torch float32'"),
    ],
    ids=["expanded", "shared", "itself", "sized", "no value"],
)
def test_what_is_larger_than_its_bytes_is_refused(place, content, words):
    """PyTorch's safe reader reads each of them."""
    save_checkpoint(place, content)
    torch.load(place, weights_only=True)
    with pytest.raises(DataError, match=rf"model\.pth is not a safe checkpoint: .*{words}"):
        load_checkpoint(place)


def test_values_and_tensors_that_are_shared_within_reason_load(place):
    weight, row = torch.arange(6.0), {"loss": 0.5}
    content = {"state_dict": {"a": weight, "b": weight[2:]}, "history": [row] * 20, "more": (1, None, True, "x")}
    save_checkpoint(place, content)
    found = load_checkpoint(place)
    assert torch.equal(found["state_dict"]["b"], weight[2:]) and found["history"] == [row] * 20
    assert found["more"] == content["more"]


class Small(nn.Module):
    """A model with RecBole's extra parameters."""

    def __init__(self, size):
        super().__init__()
        self.layer = nn.Linear(size, 2)

    def load_other_parameter(self, values):
        for key, value in (values or {}).items():
            setattr(self, key, value)


def test_weights_go_where_they_belong():
    model, other = Small(3), Small(3)
    load_weights(model, {"state_dict": other.state_dict(), "other_parameter": {"size": 3}}, "model.pth")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    assert model.size == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state_dict": Small(4).state_dict()}, r"layer\.weight.*\[2, 4\].*\[2, 3\]"),
        ({"state_dict": {"layer.weight": torch.zeros(2, 3)}}, r"layer\.bias"),
        ({"state_dict": {**Small(3).state_dict(), "more": torch.zeros(1)}}, "more"),
        ({"state_dict": {**Small(3).state_dict(), "layer.bias": "text"}}, r"layer\.bias"),
        ({"state_dict": Small(3).state_dict(), "other_parameter": 1}, "AttributeError"),
        ({}, "state_dict"),
    ],
    ids=["shape", "missing", "unexpected", "no tensor", "other", "none"],
)
def test_weights_of_another_model_are_refused_in_one_line(state, words):
    with pytest.raises(DataError, match=rf"model\.pth does not fit this run: .*{words}") as raised:
        load_weights(Small(3), state, "model.pth")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
