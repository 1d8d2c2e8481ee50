"""Seconds and peak memory of synthetic data of a given size: writing it, and loading it through RecBole.

    python benchmarks/synthetic_scale.py [--preset=aliec] [--folder=<where to write>]

Each step runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import warnings
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from recbole_attack.data.synthetic import PRESETS, write_synthetic

COLUMNS = {
    "inter": ["user_id", "item_id", "timestamp"],
    "user": ["user_id", "age", "gender", "occupation"],
    "item": ["item_id", "category"],
}


def report(step: str, start: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{step:<8}{perf_counter() - start:7.1f} s, peak {peak:.2f} GiB", flush=True)


def write(folder: Path, preset: str) -> None:
    start = perf_counter()
    counts = write_synthetic(PRESETS[preset], folder, preset)
    print(", ".join(f"{count} {what}" for what, count in counts.items()), flush=True)
    report("write", start)


def load(folder: Path, preset: str) -> None:
    from recbole_attack import AttackConfig
    from recbole_attack.experiment import create_dataset, prepare_training

    warnings.simplefilter("ignore")
    parameters = {"data_path": str(folder), "dataset": preset, "attack": "none", "load_col": COLUMNS}
    config = AttackConfig(config_dict={**parameters, "show_progress": False})
    start = perf_counter()
    dataset = create_dataset(config)
    report("load", start)
    start = perf_counter()
    prepare_training(config, dataset)
    report("prepare", start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="aliec", choices=PRESETS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for step in (write, load):
            process = get_context("spawn").Process(target=step, args=(given.folder or Path(temporary), given.preset))
            process.start()
            process.join()
            if process.exitcode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
