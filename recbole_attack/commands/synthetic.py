"""Write a synthetic dataset: users with attributes, items with categories, sequences that can be learnt."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields
from pathlib import Path

INTERRUPTED = "interrupted: nothing was written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    from recbole_attack.data.synthetic import PRESETS, Synthetic

    parser.add_argument("out", type=Path, help="folder in which to put the dataset's folder")
    parser.add_argument("--name", help="name of the dataset (default: synthetic-<preset>)")
    parser.add_argument("--preset", default="small", help=f"sizes to start from: {', '.join(PRESETS)}")
    group = parser.add_argument_group("sizes, instead of the preset's")
    for size in fields(Synthetic):
        names = dict.fromkeys([f"--{size.name}", f"--{size.name.replace('_', '-')}"])
        group.add_argument(*names, type=type(size.default), help=f"{PRESETS['small'].__dict__[size.name]} in small")


def run(arguments: argparse.Namespace) -> None:
    """Write it and print its counts."""
    from recbole_attack.data.synthetic import PRESETS, Synthetic, write_synthetic
    from recbole_attack.utils.errors import lookup

    preset = asdict(lookup(PRESETS, arguments.preset, "preset"))
    changes = {name: getattr(arguments, name) for name in preset if getattr(arguments, name) is not None}
    name = arguments.name or f"synthetic-{arguments.preset}"
    counts = write_synthetic(Synthetic(**{**preset, **changes}), arguments.out, name)
    print(f"{arguments.out / name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
