"""A model file somebody gave one, as bytes or as the pickle in an archive that is whole."""

from __future__ import annotations

import torch
from contract import outcome, promise, scratch

from parsers.checkpoints import PICKLE, sealed
from recbole_attack.inspection.architecture import SEEN, seen_sizes, told_parameters
from recbole_attack.inspection.model_file import read_model_file


def run(data: bytes) -> str:
    """Read the file, and what its weights and its configuration tell."""
    path = scratch("model_files") / "model.pth"
    content = sealed(data[1:]) if data[:1] == PICKLE else data[1:]
    path.write_bytes(content)

    def read() -> None:
        found = read_model_file(path)
        for name, tensor in found.weights.items():
            promise(isinstance(name, str) and tensor.layout == torch.strided, "a weight is no dense tensor with a name")
            promise(tensor.numel() <= len(content), "a tensor has more numbers than its file has bytes")
            promise(bool(torch.isfinite(tensor).all()), "a weight is not finite")
        plain = (bool, int, float, str, type(None))
        promise(all(isinstance(value, plain) for value in found.config.values()), "a parameter is not plain")
        for model in SEEN:
            seen_sizes(model, found.weights)
            told_parameters(model, found.config)

    return outcome(read)
