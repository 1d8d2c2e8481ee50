"""Arrays of an arm in a grid's store: ``outcomes`` and ``exposure``."""

from __future__ import annotations

from contract import outcome, promise, scratch

from recbole_attack.benchmark.records import _arrays
from recbole_attack.config.defaults import load_defaults
from recbole_attack.evaluator import read_outcomes
from recbole_attack.experiment import detections


def run(data: bytes) -> str:
    """Read ``data`` as both kinds; an archive of other arrays than outcomes is exposure at the most."""
    file = scratch("arrays") / "made.npz"
    file.write_bytes(data)

    def exposure() -> None:
        arrays = _arrays(file)
        total = sum(values.nbytes for values in arrays.values())
        promise(total <= 1100 * len(data), f"{len(data)} bytes are arrays of {total}")
        detections({"local": arrays, "clean": arrays}, {"seed": 1, **load_defaults("detector/excess_tail")})

    return max(outcome(lambda: read_outcomes(file)), outcome(exposure))
