"""Archives of NumPy's arrays, ``.npz``, that others may have written."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.utils.errors import DataError

_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs arrays; other ways make a few bytes larger than any memory."""


def read_arrays(path: Path | str, what: str) -> dict[str, NDArray[Any]]:
    """The arrays of an archive by name; none of them is unpickled.

    Args:
        path: The file.
        what: What it should hold, for the message.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is damaged, holds something else than arrays, or would need more memory than there is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            others = [entry for entry in archive.infolist() if entry.compress_type not in _PACKED]
        if others:
            raise ValueError("expected deflated arrays, found another compression")
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
        if not all(isinstance(values, np.ndarray) for values in found.values()):
            raise ValueError("expected arrays, found other files")
        return found
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy's reader fails in many ways on damaged files, none of which runs code
        raise DataError(f"{path} holds no {what}: {' '.join(str(error).split())}") from error
