"""A model file that somebody else made: its weights and the plain values of its configuration; nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors

from recbole_attack.utils.checkpoints import PLAIN, check_size, refuse_others, whole_pickles
from recbole_attack.utils.errors import DataError, one_line, shown
from recbole_attack.utils.pickles import as_protocol_2

OF_CONFIGURATIONS = (
    r"recbole\.[\w.]+ \w+"
    r"|yaml\.loader (\w*Loader)"
    r"|numpy\.(_core|core)\.multiarray scalar|numpy dtype"
)
"""What RecBole's configuration names besides plain values, as ``<module> <name>``: nothing of it is imported."""


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        weights: Name -> tensor, finite; whole numbers as they are, all others as float32.
        config: The plain values of the configuration in it, by name; empty without one.
        other: What RecBole calls ``other_parameter``.
    """

    path: Path
    sha256: str
    weights: dict[str, torch.Tensor]
    config: dict[str, Any]
    other: Any = None


class StandIn:
    """In the place of anything a configuration names: takes what it would be made of, and does nothing with it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_model_file(path: Path) -> ModelFile:
    """Read what ``torch.save`` wrote, RecBole's checkpoints and bare state dicts alike, or a safetensors file.

    RecBole pickles its configuration, an object, into a checkpoint. What such a pickle names is looked at before
    anything is read: tensors, plain values and :data:`OF_CONFIGURATIONS` are known, and of the latter inert stand-ins
    are made.

    Args:
        path: The file; what kind it is of is told from its content.

    Raises:
        DataError: The file is missing or damaged, names anything else, is larger than it looks, holds no weights, or
            holds such that are not finite.
    """
    if not path.is_file():
        raise DataError(f"model file {path} {'is no file' if path.exists() else 'not found'}")
    content = path.read_bytes()
    with _refusing(path):
        state = _safetensors(content) if _is_safetensors(content) else _archive(path, content)
        check_size(path, state, len(content), _inside)
    weights, config = _parts(path, state)
    finite = {name: _converted(path, name, tensor) for name, tensor in weights.items()}
    other = state.get("other_parameter") if "state_dict" in state else None
    return ModelFile(path, hashlib.sha256(content).hexdigest(), finite, config, other)


def _is_safetensors(content: bytes) -> bool:
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8


def _safetensors(content: bytes) -> dict[str, Any]:
    return dict(load_safetensors(content))


def _archive(path: Path, content: bytes) -> Any:
    """What ``torch.save`` put into an archive, objects of configurations as stand-ins."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        if content[:1] == b"\x80":  # a pickle by itself: say what it asks for
            refuse_others(path, [as_protocol_2(content)], PLAIN)
        raise DataError(f"{path} is no model file: expected an archive of torch.save, or safetensors, found neither")
    pickles = [as_protocol_2(pickled) for pickled in whole_pickles(path, content)]
    known = refuse_others(path, pickles, f"{PLAIN}|{OF_CONFIGURATIONS}")
    stand_ins: list[Any] = [(StandIn, name.replace(" ", ".")) for name in known if not re.fullmatch(PLAIN, name)]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(io.BytesIO(_with_pickle(content, pickles[0])), map_location="cpu", weights_only=True)


def _with_pickle(content: bytes, pickled: bytes) -> bytes:
    """The archive with another pickle in it."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(written, "w") as after:
        for entry in before.infolist():
            ours = entry.filename.endswith("data.pkl")
            after.writestr(entry.filename, pickled if ours else before.read(entry))
    return written.getvalue()


def _inside(value: Any) -> list[Any]:
    return [value.state] if isinstance(value, StandIn) else []


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What a reader fails with on a file as a :class:`DataError`: it fails in many ways, none of which runs code."""
    try:
        yield
    except DataError as error:
        named = str(error).startswith(str(path))
        raise error if named else DataError(f"{path} is not a safe model file: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(str(error).partition('. ')[0], 160)}"
        raise DataError(f"{path} cannot be read as a model file: {reason}") from error


def _parts(path: Path, state: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights, and the plain values of the configuration beside them."""
    checkpoint = isinstance(state, dict) and "state_dict" in state
    weights = state["state_dict"] if checkpoint else state
    tensors = (
        isinstance(weights, dict)
        and bool(weights)
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items())
    )
    if not tensors:
        raise DataError(
            f"{path} holds no weights: expected tensors by name, alone or as 'state_dict', found {_kind(weights)}"
        )
    config = state.get("config") if checkpoint else None
    if isinstance(config, StandIn):
        config = config.state.get("final_config_dict") if isinstance(config.state, dict) else None
    found = config if isinstance(config, dict) else {}
    return dict(weights), {key: value for key, value in found.items() if isinstance(key, str) and _is_plain(value)}


def _kind(value: Any) -> str:
    if isinstance(value, dict) and value:
        return shown([f"{name}: {type(part).__name__}" for name, part in list(value.items())[:3]])
    return "an empty mapping" if isinstance(value, dict) else type(value).__name__


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _converted(path: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A dense tensor, whole numbers as they are and all others as finite float32."""
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise DataError(f"{path}: expected real numbers in {shown(name)}, found {tensor.dtype}, {tensor.layout}")
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        return tensor
    values = tensor.to(torch.float32)
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"{path}: expected finite weights, found {bad} of {values.numel()} in {shown(name)} that are not"
        )
    return values
