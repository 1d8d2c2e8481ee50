"""Look for inputs that break a reader's promise, guided by coverage: ``python fuzz/run.py <parser> --seconds=60``.

Needs atheris (``pip install atheris``). Starts from ``fuzz/corpus/<parser>``; new inputs go to a folder of their own.
What breaks a promise is kept beside them as ``crash-...``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
PARSERS = tuple(sorted(file.stem for file in (HERE / "parsers").glob("[a-z]*.py")))
CAMPAIGN = HERE / "campaign.json"
YAML = ("grids", "tables", "yaml_files")
"""Parsers for which PyYAML is to be covered, too; it makes the others slow."""


def main() -> None:
    """Fuzz the parsers that are named, one after the other, and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parsers", nargs="*", help=f"which (default: all of {', '.join(PARSERS)})", metavar="PARSER")
    parser.add_argument("--seconds", type=int, default=60, help="for each")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder of new inputs")
    parser.add_argument("--note", action="store_true", help=f"write what came of it to {CAMPAIGN.name}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        fuzz(given.parsers[0], given.seconds, given.seed, given.found)
    noted = json.loads(CAMPAIGN.read_text()) if CAMPAIGN.is_file() else {}
    for name in given.parsers or PARSERS:
        noted[name] = measured(name, given.seconds, given.seed, given.found / name)
        print(name, noted[name], flush=True)
        if given.note:
            CAMPAIGN.write_text(json.dumps(dict(sorted(noted.items())), indent=2) + "\n")


def measured(name: str, seconds: int, seed: int, found: Path) -> dict[str, object]:
    """Fuzz one parser in a process of its own: executions, seconds, edges covered, and inputs that broke a promise."""
    found.mkdir(parents=True, exist_ok=True)
    for old in found.glob("*-*"):
        old.unlink()
    command = [sys.executable, "-W", "ignore", __file__, name, "--inside"]
    command += [f"--seconds={seconds}", f"--seed={seed}", f"--found={found}"]
    with (found / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        subprocess.run(command, stderr=log, stdout=log, check=False)
        log.seek(0)
        text = log.read()
    executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or re.findall(r"^#(\d+)", text, re.M)
    covered = re.findall(r"cov: (\d+)", text) or ["0"]
    broken = sorted(path.name for path in found.glob("*-*") if path.name.startswith(("crash", "timeout", "oom")))
    return {
        "executions": int(executions[-1]) if executions else 0,
        "seconds": seconds,
        "edges": int(covered[-1]),
        "broken": broken,
    }


def fuzz(name: str, seconds: int, seed: int, found: Path) -> None:
    """Fuzz one parser in this process, and end it."""
    import atheris

    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with atheris.instrument_imports(
        include=["recbole_attack", *(["yaml"] if name in YAML else [])], enable_loader_override=False
    ):
        parser = importlib.import_module(f"parsers.{name}")
    if name in ("checkpoints", "model_files"):
        atheris.instrument_func(importlib.import_module("torch._weights_only_unpickler").Unpickler.load)
    settings = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=20000", "-timeout=60", "-rss_limit_mb=6000"]
    settings += ["-print_final_stats=1", f"-artifact_prefix={found}/", "-len_control=20"]
    (found / "corpus").mkdir(exist_ok=True)
    folders = [str(found / "corpus"), *([str(CORPUS / name)] if (CORPUS / name).is_dir() else [])]
    atheris.Setup([sys.argv[0], *settings, *folders], parser.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
