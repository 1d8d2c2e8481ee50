"""A checkpoint, as bytes or as the pickle in an archive that is whole: what its hash cannot tell is told apart, too."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import torch
from contract import outcome, promise, scratch
from torch import nn

from recbole_attack.trainer.resuming import check_same_parameters
from recbole_attack.utils.checkpoints import _seal, fitting, load_checkpoint, load_weights

RAW, PICKLE = b"R", b"P"
"""First byte of an input: what the rest of it is."""


class Model(nn.Module):
    """Two weights, and what RecBole's models have besides."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def load_other_parameter(self, values: Any) -> None:
        """As RecBole's."""
        for key, value in (values or {}).items():
            setattr(self, key, value)


def run(data: bytes) -> str:
    """Read the checkpoint, give its weights to a model, and hold its parameters against a run's."""
    path = scratch("checkpoints") / "model.pth"
    content = sealed(data[1:]) if data[:1] == PICKLE else data[1:]
    path.write_bytes(content)

    def read() -> None:
        state = load_checkpoint(path)
        promise(_values(state, len(content)) <= len(content), "it holds more values than it has bytes")
        with fitting(path):
            check_same_parameters(state.get("config") or {}, {"epochs": 1}, path)
        load_weights(Model(), state, path)

    return outcome(read)


def sealed(pickled: bytes) -> bytes:
    """An archive as ``torch.save`` and ``save_checkpoint`` make it, with that pickle and two storages in it."""
    buffer = io.BytesIO()
    storages = {"data/0": b"\0" * 24, "data/1": b"\0" * 8}
    entries = {"data.pkl": pickled, "byteorder": b"little", **storages, "version": b"3\n"}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"model/{name}", content)
    body = buffer.getvalue()[:-2]
    return body + _seal(body)


def _values(value: Any, most: int) -> int:
    """How many values there are, counted one by one; every tensor is no larger than the file."""
    left, count = [value], 0
    while left and count <= most:
        value = left.pop()
        count += 1
        if isinstance(value, torch.Tensor):
            promise(value.numel() * value.element_size() <= most, "a tensor is larger than its file")
        elif isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set)):
            left += value
        else:
            plain = value is None or isinstance(value, (bool, int, float, str, bytes))
            promise(plain, f"a value is neither plain nor a tensor: {type(value).__name__}")
    return count
