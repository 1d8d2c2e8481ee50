"""The configuration of a run folder that came from elsewhere: what is read is written, and read again as the same."""

from __future__ import annotations

from contract import outcome, promise, scratch

from recbole_attack.quick_start.quick_start import resumed_config
from recbole_attack.utils.yaml_files import dump_yaml


def run(data: bytes) -> str:
    """Read ``data`` as ``config.yaml``."""
    folder = scratch("configurations")
    (folder / "config.yaml").write_bytes(data)
    values: list[dict[str, object]] = []
    found = outcome(lambda: values.append(resumed_config(str(folder)).to_dict()))
    for value in values:
        (folder / "config.yaml").write_text(dump_yaml(value), encoding="utf-8")
        again = resumed_config(str(folder)).to_dict()
        promise(sorted(map(repr, again.items())) == sorted(map(repr, value.items())), "another one is read back")
    return found
