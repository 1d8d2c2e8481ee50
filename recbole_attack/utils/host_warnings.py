"""Warnings that are about RecBole's code, and not for who runs it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_future_warnings() -> Iterator[None]:
    """Say nothing of what RecBole uses and pandas or PyTorch will refuse one day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
        yield
