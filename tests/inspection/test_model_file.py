"""Model files of every kind: read without running anything, or refused in one line."""

from __future__ import annotations

import codecs
import io
import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as safetensors
from torch import nn

from recbole_attack.inspection import read_model_file
from recbole_attack.inspection.model_file import StandIn
from recbole_attack.utils.checkpoints import save_checkpoint
from recbole_attack.utils.errors import DataError

WEIGHTS = {"item_embedding.weight": torch.arange(12.0).reshape(4, 3), "count": torch.tensor(7)}


class Payload:
    """Leaves a file behind when it is unpickled by a reader that runs code."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


class Vendors:
    """A class of somebody else's."""


def written(tmp_path, value, protocol=2, name="model.pth"):
    path = tmp_path / name
    torch.save(value, path, pickle_protocol=protocol)
    return path


def sealed(tmp_path):
    save_checkpoint(tmp_path / "model.pth", {"state_dict": WEIGHTS, "config": {"model": "SASRec", "n_heads": 2}})
    return tmp_path / "model.pth"


def safe(tmp_path, weights=WEIGHTS):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(dict(weights)))
    return path


KINDS = {
    "ours": sealed,
    "a checkpoint": lambda path: written(path, {"state_dict": WEIGHTS, "epoch": 1}),
    "protocol 4": lambda path: written(path, {"state_dict": OrderedDict(WEIGHTS)}, 4),
    "protocol 5": lambda path: written(path, OrderedDict(WEIGHTS), 5),
    "a state dict": lambda path: written(path, WEIGHTS),
    "parameters": lambda path: written(path, {k: nn.Parameter(v, v.is_floating_point()) for k, v in WEIGHTS.items()}),
    "safetensors": safe,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_its_weights(kind, tmp_path):
    found = read_model_file(KINDS[kind](tmp_path))
    assert found.weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in WEIGHTS.items())
    assert found.config == ({"model": "SASRec", "n_heads": 2} if kind == "ours" else {})


def test_recboles_own_checkpoint_gives_its_weights_and_the_plain_values_of_its_configuration(theirs):
    made = theirs()
    found = read_model_file(made.file)
    expected = made.model.state_dict()  # the last epoch is the best one: there is but one
    assert found.weights.keys() == expected.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in expected.items())
    told = {"model": "SASRec", "dataset": "tiny", "n_heads": 4, "hidden_size": 8, "loss_type": "CE", "seed": 2020}
    assert {key: found.config[key] for key in told} == told
    assert not any(isinstance(value, StandIn) for value in found.config.values()) and "device" not in found.config


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_other_precisions_become_float32(dtype, kind, tmp_path):
    weights = {"w": torch.linspace(-2, 2, 9).to(dtype)}
    found = read_model_file(written(tmp_path, weights) if kind == "torch" else safe(tmp_path, weights)).weights["w"]
    assert found.dtype == torch.float32 and torch.equal(found, weights["w"].to(torch.float32))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("where", ["archive", "bare", "beside recbole's"])
def test_code_is_refused_by_name_and_not_run(protocol, where, tmp_path):
    payload = {"archive": Payload(), "bare": Payload(), "beside recbole's": {"config": {"a": [Payload()]}}}[where]
    path = written(tmp_path, {"state_dict": WEIGHTS, "config": payload}, protocol)
    if where == "bare":
        path.write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(DataError, match=r"model\.pth is not a safe checkpoint: .* found '(posix|nt) mkdir'"):
        read_model_file(path)
    assert not os.path.exists("ran")
    pickle.loads(pickle.dumps(payload, protocol))  # the payload is real
    assert os.path.exists("ran")


def test_a_class_of_somebody_elses_is_refused_by_name(tmp_path):
    path = written(tmp_path, {"state_dict": WEIGHTS, "config": Vendors()}, 4)
    with pytest.raises(DataError, match=f"found '{__name__} Vendors'"):
        read_model_file(path)


def test_what_looks_like_recboles_is_never_imported(tmp_path):
    """Code under a name of RecBole's is a stand-in, whatever is called and with what."""
    called = b"crecbole.evil.module\nsystem\nX\x04\x00\x00\x00true\x85R"
    content = b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x06\x00\x00\x00config" + called + b"u."
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
        archive.writestr("model/version", "3\n")
        archive.writestr("model/byteorder", "little")
    with pytest.raises(DataError, match=r"holds no weights: .* found an empty mapping"):
        read_model_file(path)
    assert not [name for name in sys.modules if name.startswith("recbole.evil")]


BAD = {
    "nan": ({"w": torch.tensor([1.0, float("nan")])}, "expected finite weights, found 1 of 2 in 'w'"),
    "infinite": ({"w": torch.tensor([float("inf")] * 3)}, "found 3 of 3 in 'w'"),
    "too large for float32": ({"w": torch.tensor([1e300], dtype=torch.float64)}, "found 1 of 1"),
    "complex": ({"w": torch.tensor([1j])}, "expected real numbers in 'w'"),
    "a list": ([torch.zeros(2)], "holds no weights: .* found list"),
    "nothing": ({}, "found an empty mapping"),
    "numbers for weights": ({"state_dict": {"w": 3}}, "found \\['w: int'\\]"),
    "another name for it": ({"weights": {"w": torch.zeros(2)}}, "'weights: dict'"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_holds_no_weights_or_such_as_give_no_numbers_is_refused(what, tmp_path):
    value, words = BAD[what]
    with pytest.raises(DataError, match=words) as raised:
        read_model_file(written(tmp_path, value))
    assert "\n" not in str(raised.value) and "model.pth" in str(raised.value)


def test_a_missing_file_an_empty_one_and_a_text_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    with pytest.raises(DataError, match="not found"):
        read_model_file(path)
    with pytest.raises(DataError, match=r"is no file$"):
        read_model_file(tmp_path)
    for content in (b"", b"weights", b"\x10\0\0\0\0\0\0\0{}", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"model\.pth"):
            read_model_file(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = {}
    for kind, write in KINDS.items():
        folder = tmp_path_factory.mktemp("kinds")
        made[kind] = write(folder).read_bytes()
    return made


@settings(max_examples=60)
@given(data=st.data())
def test_a_changed_file_is_refused_or_gives_tensors_of_its_size(files, tmp_path_factory, data):
    """Whatever a flipped bit or a cut comes to, no other error and nothing that is larger than its file."""
    content = bytearray(files[data.draw(st.sampled_from([*files]))])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    path.write_bytes(content)
    try:
        found = read_model_file(path)
    except DataError as error:
        assert str(error).isprintable()
    else:
        assert sum(tensor.numel() for tensor in found.weights.values()) <= len(content)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\0" * 50_000_000)
    (tmp_path / "model.pth").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="would unpack to 50000000"):
        read_model_file(tmp_path / "model.pth")


class Doubled:
    """Bytes that are ``2 ** times`` as long once they are unpickled."""

    def __init__(self, times):
        self.times = times

    def __reduce__(self):
        return codecs.encode, (Doubled(self.times - 1) if self.times else "bytes", "hex" if self.times else "latin1")


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_encoded(protocol, tmp_path):
    """PyTorch's safe reader encodes: a few bytes, sixteen times in hexadecimal, are 65536 times as many."""
    path = written(tmp_path, {"state_dict": WEIGHTS, "config": {"name": Doubled(16)}}, protocol)
    plain = written(tmp_path, {"state_dict": WEIGHTS, "config": {"name": Doubled(16)}}, 2, "plain.pth")
    assert len(torch.load(plain, weights_only=True)["config"]["name"]) == 5 * 2**16
    found = read_model_file(path)
    assert found.weights.keys() == WEIGHTS.keys() and found.config == {}


def test_a_tensor_is_no_larger_than_its_file(tmp_path):
    path = written(tmp_path, {"w": torch.zeros(1).expand(10**9)}, 4)
    with pytest.raises(DataError, match="would be a tensor of 4000000000"):
        read_model_file(path)
