"""Files that are either whole or absent, and checkpoints that cannot carry code."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from recbole_attack.errors import DataError
from recbole_attack.yaml_files import dump_yaml

T = TypeVar("T")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file next to ``path``, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(folder: Path, fill: Callable[[Path], T]) -> T:
    """Let ``fill`` write into a temporary folder next to ``folder``, then rename it into place.

    Returns:
        What ``fill`` returned.

    Raises:
        DataError: ``folder`` exists already; nothing in it was changed.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it, or choose another folder")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        result = fill(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write standard JSON atomically; numbers that are not finite become ``null``."""
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write YAML atomically, keys sorted, that reads back as itself."""
    write_text(path, dump_yaml(plain(value)))


def plain(value: Any) -> Any:
    """``value`` with mappings, sequences and NumPy scalars turned into JSON's own types."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save tensors and plain values; the result loads with ``weights_only=True``."""
    write_atomically(path, lambda target: torch.save(dict(state), target))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load a checkpoint without running anything it may contain.

    Raises:
        DataError: The file is missing, damaged, or a pickle with anything but tensors and plain values in it.
    """
    if not path.is_file():
        raise DataError(f"checkpoint {path} not found")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch's unpickler fails in many ways on damaged files, none of which runs code
        raise DataError(
            f"{path} is not a safe checkpoint: expected tensors and plain values only, found {type(error).__name__}"
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise DataError(f"{path} is not a RecBole checkpoint: expected a dict with 'state_dict'")
    return state
