"""Run every row of a table and write it down beside the paper's.

    python experiments/make_table.py experiments/<table> [--seeds 2020 2021] [--data_path=<folder>]

A row is a YAML file of the folder. A finished row is kept as ``results/<table>/<row>-<seed>.json`` and not run again,
so a table can be filled over several sittings. ``paper.yaml`` holds what the paper printed and ``notes.md`` what there
is to say; both are optional. The table goes to ``results/<table>.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from recbole_attack import run_recbole_attack
from recbole_attack.files import write_json, write_text
from recbole_attack.report import markdown_table

ROOT = Path(__file__).resolve().parent
KEPT = (
    "schema",
    "version",
    "seed",
    "config",
    "dataset",
    "budget",
    "clean",
    "attacked",
    "delta",
    "timing",
    "environment",
)


def run_row(row: Path, seed: int, kept: Path, data_path: str | None) -> dict[str, Any]:
    """The record of one row and seed, from ``kept`` if it was run before."""
    if not kept.is_file():
        given = {"seed": seed, **({"data_path": data_path} if data_path else {})}
        result = run_recbole_attack(config_file_list=[str(row)], config_dict=given)
        record = json.loads(Path(result["result_file"]).read_text(encoding="utf-8"))
        record["config"]["data_path"] = "dataset/"
        write_json(kept, {key: record[key] for key in KEPT})
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def main() -> None:
    """Fill and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="folder of the table's rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020])
    parser.add_argument("--data_path", help="folder that holds the datasets' folders")
    arguments = parser.parse_args()
    folder = arguments.table.resolve()
    name = folder.relative_to(ROOT)
    results = ROOT.parent / "results"
    rows = sorted(path for path in folder.glob("*.yaml") if path.name != "paper.yaml")
    records = {
        row.stem: [
            run_row(row, seed, results / name / f"{row.stem}-{seed}.json", arguments.data_path)
            for seed in arguments.seeds
        ]
        for row in rows
    }
    paper_file, notes_file = folder / "paper.yaml", folder / "notes.md"
    paper = yaml.safe_load(paper_file.read_text(encoding="utf-8")) if paper_file.is_file() else {}
    command = f"python experiments/make_table.py experiments/{name} --seeds {' '.join(map(str, arguments.seeds))}"
    parts = [f"# {name}", f"`{command}` (datasets through `--data_path`)", markdown_table(records, paper)]
    if notes_file.is_file():
        parts.append(notes_file.read_text(encoding="utf-8").strip())
    write_text(results / f"{name}.md", "\n\n".join(parts) + "\n")
    print((results / f"{name}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
