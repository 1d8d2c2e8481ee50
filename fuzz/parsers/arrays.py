"""Arrays of an arm in a grid's store: ``outcomes`` and ``exposure``."""

from __future__ import annotations

from contract import outcome, promise, scratch

from recbole_attack.benchmark.records import _arrays
from recbole_attack.evaluator import read_outcomes


def run(data: bytes) -> str:
    """Read ``data`` as both kinds; an archive of other arrays than outcomes is exposure at the most."""
    file = scratch("arrays") / "made.npz"
    file.write_bytes(data)

    def exposure() -> None:
        total = sum(values.nbytes for values in _arrays(file).values())
        promise(total <= 1100 * len(data), f"{len(data)} bytes are arrays of {total}")

    return max(outcome(lambda: read_outcomes(file)), outcome(exposure))
