"""``dataset.json`` of a run folder, held against the data as they are."""

from __future__ import annotations

import json

from contract import outcome, promise, scratch

from recbole_attack.quick_start.run_folder import check_same_data

DATA = {"name": "tiny", "users": 60, "sha256": {"tiny.inter": "ab" * 32}}


def run(data: bytes) -> str:
    """Read ``data`` as the file."""
    file = scratch("data_notes") / "dataset.json"
    file.write_bytes(data)

    def read() -> None:
        check_same_data(file, DATA)
        promise(json.loads(data) == DATA, "other data are taken for the same")

    return outcome(read)
