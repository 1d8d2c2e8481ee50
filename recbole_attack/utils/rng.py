"""Randomness as an argument: one stream for each (seed, purpose, keys).

A stream depends on nothing but its key, so a round can be reproduced without replaying the rounds before it, and
neither the chunk size nor the order of the work changes what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import torch


def _sequence(seed: int, purpose: str, keys: tuple[int, ...]) -> np.random.SeedSequence:
    # Keys go into the spawn key: entropy is padded with zeros, so a last key of 0 there would equal no key.
    return np.random.SeedSequence([int(seed), crc32(purpose.encode())], spawn_key=tuple(int(k) for k in keys))


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """An independent generator for one purpose.

    Args:
        seed: The run's seed, at least 0.
        purpose: What is drawn, e.g. ``"negatives"``.
        keys: Whatever tells this draw from the others of its purpose, e.g. epoch and round; at least 0 each.
    """
    return np.random.default_rng(_sequence(seed, purpose, keys))


@contextmanager
def torch_stream(device: torch.device, seed: int, purpose: str, *keys: int) -> Iterator[None]:
    """Run a block under its own torch seed and give the caller's random state back afterwards.

    Dropout layers read torch's global state, which cannot be passed to them; this keeps it from leaking.
    """
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.manual_seed(int(_sequence(seed, purpose, keys).generate_state(1, np.uint64)[0]))
        yield


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Run a block with the model in evaluation mode and give it its mode back afterwards.

    Recurrent layers do without cuDNN meanwhile, which has no gradients for them in this mode.
    """
    training = model.training
    model.eval()
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        model.train(training)
