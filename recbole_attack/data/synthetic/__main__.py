"""The command ``python -m recbole_attack.data.synthetic <out folder>``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from recbole_attack.data.synthetic import PRESETS, Synthetic, write_synthetic
from recbole_attack.utils.errors import lookup
from recbole_attack.utils.exit_code import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Write a dataset and print its counts.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` if absent.

    Returns:
        Exit code, see :func:`~recbole_attack.utils.exit_code.exit_code`; all but 0 with no file written.
    """
    parser = argparse.ArgumentParser("python -m recbole_attack.data.synthetic", description="Make synthetic data.")
    parser.add_argument("out", type=Path, help="folder in which to put the dataset's folder")
    parser.add_argument("--name", default="synthetic", help="name of the dataset (default: synthetic)")
    parser.add_argument("--preset", default="small", help=f"sizes to start from: {', '.join(PRESETS)} (default: small)")
    for size in fields(Synthetic):
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=type(size.default), help="instead of the preset's")
    given = vars(parser.parse_args(argv))
    return exit_code(lambda: _write(**given), "interrupted: nothing was written")


def _write(out: Path, name: str, preset: str, **sizes: float | None) -> None:
    changes = {key: value for key, value in sizes.items() if value is not None}
    counts = write_synthetic(Synthetic(**{**asdict(lookup(PRESETS, preset, "preset")), **changes}), out, name)
    print(f"{out / name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    sys.exit(main())
