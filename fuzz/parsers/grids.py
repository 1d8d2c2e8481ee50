"""A grid's YAML file, up to the configuration of its first rows."""

from __future__ import annotations

from contract import outcome, scratch

from recbole_attack import AttackConfig
from recbole_attack.benchmark import read_grid


def run(data: bytes) -> str:
    """Read ``data`` as the file."""
    file = scratch("grids") / "made.yaml"
    file.write_bytes(data)

    def read() -> None:
        for row in read_grid(file)[:1]:
            AttackConfig(config_dict={k: v for k, v in row.parameters.items() if k != "plugins"})

    return outcome(read)
