"""Run the rows of a table and write it down beside the paper's.

    python experiments/make_table.py experiments/<table> [--seeds 2020 2021] [--only "*steam*"] [--data_path=<folder>]

A row is a YAML file of the folder. What rows share stands in ``common.yaml`` and ``<model>.yaml`` of the folder and of
those above it. A finished run is kept as ``results/runs/<model>-<dataset>-<attack>-<hash of the row>-<seed>.json`` and
not run again, in this table or another with the same row; so a table can be filled over several sittings.
``paper.yaml`` holds what the paper printed, in its order, and ``notes.md`` what there is to say: what was found stands
above the line ``<!-- table -->`` and the table, the rest below. Both are optional. The table, with the rows that are
still missing, goes to ``results/<table>.md``, and what its cells were made from to the CSV file beside it.
``figure.yaml`` adds a picture of it; see :func:`recbole_attack.report.tables.curves`. ``columns.yaml`` lists other
metrics than the usual ones, ``comparisons.yaml`` the rows that t-tests over seeds compare.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.benchmark import read_grid
from recbole_attack.report.pictures import Panel, plot_panels
from recbole_attack.report.published import published_cells, published_page
from recbole_attack.report.tables import COLUMNS, captions, comparison_table, course_table, curves
from recbole_attack.utils.errors import DataError, did_you_mean
from recbole_attack.utils.exit_code import exit_code
from recbole_attack.utils.files import write_json, write_text

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT.parent / "results"
COURSE = """\
How loud the attack was, and when. Of malicious clients, the mean share of a round's weight, and the median update norm
over the honest clients'; how many items the substitution had to choose from (median over rounds); the epoch that was
tested (from 0); `er@10` at its peak and at the last epoch, as measured while training. One figure a seed; a dash was
not recorded or does not apply.\
"""
KEPT = (
    *("schema", "version", "evaluator", "seed", "config", "dataset", "budget"),
    *("local", "clean", "attacked", "delta", "detection", "history", "timing", "environment"),
)


def read(file: Path) -> Any:
    """A YAML file's values, none if there is no such file."""
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Row name -> its parameters with what it shares, in the paper's order, others after it."""
    return {row.name: row.parameters for row in read_grid(folder)}


def kept_file(values: dict[str, Any], seed: int | str) -> Path:
    """Where the run of a row and seed is kept; ``seed`` may be a pattern."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
    parts = (values.get("model"), values.get("dataset"), values.get("attack"), digest, seed)
    return RESULTS / "runs" / ("-".join(str(part) for part in parts if part is not None) + ".json")


def run(values: dict[str, Any], seed: int, data_path: str | None) -> None:
    """Run one row with one seed, unless it is kept."""
    file = kept_file(values, seed)
    if not file.is_file():
        given = {"seed": seed, **({"data_path": data_path} if data_path else {})}
        result = run_recbole_attack(config_dict={**values, **given})
        record = json.loads(Path(result["result_file"]).read_text(encoding="utf-8"))
        record["config"]["data_path"] = "dataset/"
        write_json(file, {key: record[key] for key in KEPT if key in record})


def kept(values: dict[str, Any]) -> list[dict[str, Any]]:
    """All kept runs of a row, by seed."""
    pattern = kept_file(values, "*")
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(pattern.parent.glob(pattern.name))]


def described(folder: Path, rows: dict[str, dict[str, Any]]) -> tuple[str, list[Panel]]:
    """The text of a table of all kept runs, and the panels of its picture."""
    name = folder.relative_to(ROOT)
    records = {row: found for row, values in rows.items() if (found := kept(values))}
    missing = [row for row in rows if row not in records]
    notes, figure = folder / "notes.md", read(folder / "figure.yaml")
    panels = curves(records, figure) if figure else []
    tests = comparison_table(records, read(folder / "comparisons.yaml"))
    found, _, rest = (notes.read_text(encoding="utf-8") if notes.is_file() else "").partition("<!-- table -->")
    course = course_table(records)
    parts = [
        f"# {name}",
        found.strip(),
        published_page(records, read(folder / "paper.yaml"), read(folder / "columns.yaml") or COLUMNS),
        f"Paired t-tests over seeds, first minus second:\n\n{tests}" if tests else "",
        f"![{figure['y']} against {figure['x']}]({name.name}.png)" if panels else "",
        f"{COURSE}\n\n{course}" if course else "",
        rest.strip(),
        f"Not run yet: {', '.join(missing)}." if missing else "",
        f"`python experiments/make_table.py experiments/{name}`, `--seeds` as above, datasets through `--data_path`.",
        captions(records, read(folder / "paper.yaml")),
    ]
    return "\n\n".join(filter(None, parts)) + "\n", panels


def raw_cells(folder: Path, rows: dict[str, dict[str, Any]]) -> str:
    """What the cells of a table were made from, as CSV: a line for each row, arm, ranking, metric and seed."""
    records = {row: found for row, values in rows.items() if (found := kept(values))}
    columns = read(folder / "columns.yaml") or COLUMNS
    return published_cells(records, read(folder / "paper.yaml"), columns).to_csv(index=False, lineterminator="\n")


def write_table(folder: Path, rows: dict[str, dict[str, Any]]) -> Path:
    """Write the table of all kept runs."""
    text, panels = described(folder, rows)
    file = RESULTS / f"{folder.relative_to(ROOT)}.md"
    write_text(file, text)
    write_text(file.with_suffix(".csv"), raw_cells(folder, rows))
    if panels:
        plot_panels(panels, read(folder / "figure.yaml")["x"], file.with_suffix(".png"))
    return file


def main() -> None:
    """Fill and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="folder of the table's rows")
    parser.add_argument("--seeds", type=int, nargs="*", default=[2020], help="none writes the table of what is kept")
    parser.add_argument("--only", default="*", help="pattern of the rows to run")
    parser.add_argument("--data_path", help="folder that holds the datasets' folders")
    arguments = parser.parse_args()
    folder = arguments.table.resolve()
    if not folder.is_dir() or not folder.is_relative_to(ROOT):
        known = sorted({str(file.parent.relative_to(ROOT)) for file in ROOT.rglob("*-*.yaml")})
        near = did_you_mean(arguments.table.name, known)
        raise DataError(f"{arguments.table} is no table: expected a folder below {ROOT}, such as {known[0]}{near}")
    rows = rows_of(folder)
    chosen = {row: values for row, values in rows.items() if fnmatch(row, arguments.only)}
    for values in chosen.values():
        AttackConfig(config_dict=values)  # a mistake in the last row is found before the first one is run
    for seed in arguments.seeds:
        for values in chosen.values():
            run(values, seed, arguments.data_path)
    print(write_table(folder, rows).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(exit_code(main, "interrupted; finished rows are kept"))
