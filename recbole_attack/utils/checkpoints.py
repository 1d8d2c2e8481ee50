"""Checkpoints that cannot carry code, and of which every changed bit is noticed.

A checkpoint is the archive ``torch.save`` writes; its comment is the SHA-256 of all that stands before it.
``torch.load`` reads it as any other.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from recbole_attack.utils.errors import ConfigError, DataError, shown
from recbole_attack.utils.files import write_atomically


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save tensors and plain values; the result loads with ``weights_only=True``."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    content.seek(-2, os.SEEK_END)  # an archive ends with its comment's length, and the comment: none so far
    content.truncate()
    content.write(_seal(content.getvalue()))
    write_atomically(path, lambda target: target.write_bytes(content.getbuffer()))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load a checkpoint without running anything it may contain.

    One that an earlier version or RecBole wrote has no hash; its archive's own checksums are looked at instead.

    Raises:
        DataError: The file is missing, is not what was written, holds a tensor of more bytes or more values than it
            has bytes, or is a pickle with anything but tensors and plain values in it.
    """
    if not path.is_file():
        raise DataError(f"checkpoint {path} not found")
    content = path.read_bytes()
    try:
        refuse_others(path, whole_pickles(path, content), PLAIN)
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        check_size(path, state, len(content))
    except DataError:
        raise
    except Exception as error:  # readers fail in many ways on damaged files, none of which runs code
        raise DataError(
            f"{path} is not a safe checkpoint: expected tensors and plain values only, found {type(error).__name__}"
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise DataError(f"{path} is not a RecBole checkpoint: expected a dict with 'state_dict'")
    return state


def load_weights(model: Any, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Give a model the weights, and whatever else it keeps, of a checkpoint.

    Args:
        model: One of RecBole's kind.
        checkpoint: What :func:`load_checkpoint` returned.
        path: Where it came from.

    Raises:
        DataError: They are another model's, or of another shape.
    """
    with fitting(path):
        model.load_state_dict(checkpoint["state_dict"])
        model.load_other_parameter(checkpoint.get("other_parameter"))


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while a checkpoint is taken over into a :class:`DataError` of one line."""
    try:
        yield
    except (ConfigError, DataError):
        raise
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        text = shorten(str(error), 300, placeholder=" ...")
        raise DataError(f"{path} does not fit this run: {type(error).__name__}: {text}") from error


def _seal(body: bytes | memoryview) -> bytes:
    """How an archive ends: the length of its comment, and the comment, which is the hash of all before it."""
    comment = f"sha256 {hashlib.sha256(body).hexdigest()}".encode()
    return struct.pack("<H", len(comment)) + comment


_SEAL = len(_seal(b""))


_FOLDER = 0x10
"""The attribute that marks an entry of an archive as a folder."""


PLAIN = r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch (\w+Storage|Size|device)"
"""What the pickle of tensors and plain values asks for, as ``<module> <name>``.

PyTorch's safe reader knows more, such as ``bytearray`` and ``torch.FloatTensor``, which take a size and are that large.
"""


def whole_pickles(path: Path, content: bytes) -> list[bytes]:
    """The pickles in an archive that is as it was written, and would not unpack to more than it is.

    No tensor is unpacked for that.

    Raises:
        DataError: It is damaged, or is larger than it looks.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > len(content):
            raise DataError(f"{path} is not a safe checkpoint: {len(content)} bytes would unpack to {unpacked}")
        if archive.comment:
            whole = content.endswith(_seal(memoryview(content)[:-_SEAL]))
        else:  # torch takes a folder's content to be empty, and leaves the tensor to chance
            whole = archive.testzip() is None and not any(entry.external_attr & _FOLDER for entry in entries)
        if not whole:
            raise DataError(f"{path} is damaged: it does not hold what was written to it")
        return [archive.read(entry) for entry in entries if entry.filename.endswith("data.pkl")]


def refuse_others(path: Path, pickles: list[bytes], known: str) -> set[str]:
    """Refuse what asks for anything but ``known`` names: a hash tells damage, and not who wrote the file.

    Args:
        path: The file, for the message.
        pickles: Those in it, of which there has to be one.
        known: A regular expression of names as ``<module> <name>``.

    Returns:
        The names that are asked for.

    Raises:
        DataError: Names the first of the others.
    """
    asked = {str(value) for pickled in pickles for value in _globals(pickled)}
    others = sorted(name for name in asked if not re.fullmatch(known, name))
    if others or len(pickles) != 1:
        found = shown(others[0]) if others else f"{len(pickles)} pickles"
        raise DataError(f"{path} is not a safe checkpoint: expected tensors and plain values only, found {found}")
    return asked


def _globals(pickled: bytes) -> Iterator[Any]:
    """What a pickle asks for by name; nothing is unpickled."""
    return (value for code, value, _ in pickletools.genops(pickled) if code.name in ("GLOBAL", "INST", "STACK_GLOBAL"))


def check_size(path: Path, state: Any, size: int, inside: Callable[[Any], Iterable[Any]] = lambda _: ()) -> None:
    """Refuse what is larger in memory than its file: a few bytes make a list of lists that share their elements.

    Args:
        path: The file, for the message.
        state: What was read from it.
        size: Its bytes.
        inside: What a value of another kind than tensors, mappings and sequences holds.

    Raises:
        DataError: It holds a tensor of more bytes, or more values.
    """
    left, count = [state], 0
    while left:
        value = left.pop()
        count += 1
        if isinstance(value, torch.Tensor):
            needed = value.numel() * value.element_size()
            if needed > size:
                raise DataError(f"{path} is not a safe checkpoint: {size} bytes would be a tensor of {needed}")
        elif isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            left += value
        else:
            left += inside(value)
        if count + len(left) > size:
            raise DataError(f"{path} is not a safe checkpoint: {size} bytes would be more than {size} values")
