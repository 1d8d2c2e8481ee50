"""Runs that are killed, among hostile clients, in hostile folders and side by side, and grids: how many end well.

    OMP_NUM_THREADS=1 python benchmarks/robustness [--sections kills clients ...] [--repeats 1] [--seed 2020]

Prints for each kind of trouble how often it was tried, how often all was as it should be, and how often not; ends with
exit code 1 if it ever was not. ``--repeats`` multiplies what is drawn at random. All of it is on the tiny dataset of
the tests, in forks of one process.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package of this tree,
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))  # and what is shared with its tests

from hostility import clients, hostile_folders
from killing import concurrency, grids, kills
from trials import Place, Trial

SECTIONS: dict[str, Callable[[Place], Iterator[Trial]]] = {
    "kills": kills,
    "clients": clients,
    "folders": hostile_folders,
    "concurrency": concurrency,
    "grids": grids,
}
"""Name -> ``place -> trials``."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2020)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    ever = False
    print(f"{'what':<68} {'tried':>6} {'as it should be':>16} {'not':>5}", flush=True)
    for name in arguments.sections:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            start, counts, wrong = perf_counter(), {}, []
            for what, text in SECTIONS[name](Place(Path(folder), arguments.repeats, arguments.seed)):
                tried, failed = counts.get(what, (0, 0))
                counts[what] = (tried + 1, failed + bool(text))
                wrong += [f"{what}: {text}"] * bool(text)
            os.chdir("/")
        print(f"{name} ({perf_counter() - start:.0f} s)")
        for what, (tried, failed) in counts.items():
            print(f"  {what:<66} {tried:>6} {tried - failed:>16} {failed:>5}", flush=True)
        print("".join(f"{line}\n" for line in wrong), end="", file=sys.stderr, flush=True)
        ever |= bool(wrong)
    return ever


if __name__ == "__main__":
    sys.exit(main())
