"""The parts of ``docs/robustness.md`` that are measured: ``python fuzz/page.py`` writes them into it.

``campaign.json`` is what ``run.py --note`` found, ``faults.yaml`` what was mended; bad inputs are answered anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import bad_inputs
import yaml

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "robustness.md"


def main() -> None:
    """Write the parts into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in parts().items():
        before, rest = text.split(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{part}<!-- end of {name} -->{rest.partition(f'<!-- end of {name} -->')[2]}"
    PAGE.write_text(text, encoding="utf-8")


def parts() -> dict[str, str]:
    """Name of a part -> its text."""
    campaign = json.loads((HERE / "campaign.json").read_text(encoding="utf-8"))
    faults = yaml.safe_load((HERE / "faults.yaml").read_text(encoding="utf-8"))
    answers = bad_inputs.table().splitlines()[2:]
    refused = sum(not answer.endswith("| read |") for answer in answers)
    return {
        "finding": finding(campaign, faults, len(answers), refused),
        "readers": readers(campaign, faults),
        "faults": mended(faults),
        "inputs": "\n".join([*bad_inputs.HEAD, *answers]) + "\n",
    }


def finding(
    campaign: Mapping[str, Mapping[str, int]], faults: Mapping[str, list[object]], inputs: int, refused: int
) -> str:
    """What came of it, in a few sentences."""
    executions, seconds = (sum(of[key] for of in campaign.values()) for key in ("executions", "seconds"))
    broken = sum(len(of["broken"]) for of in campaign.values())
    kept = f"broke the promise below {broken} times" if broken else "all met the promise below"
    read = inputs - refused
    return (
        f"{sum(map(len, faults.values()))} faults were found in {len(faults)} of {len(campaign)} readers of bytes from "
        f"outside, and mended.\nIn the last run of each, {executions:,} inputs in {seconds / 60:.1f} minutes, chosen "
        f"for what they cover, {kept}.\nOf {inputs} odd inputs that people make, {refused} are refused in one line each"
        f" and {read} read as they are meant.\n"
    )


def readers(campaign: Mapping[str, Mapping[str, int]], faults: Mapping[str, list[object]]) -> str:
    """A row for each reader."""
    lines = ["| reader | executions | seconds | edges covered | faults found and mended | left |", "|" + " --- |" * 6]
    for name, of in campaign.items():
        counts = (of["executions"], of["seconds"], of["edges"], len(faults.get(name, [])), len(of["broken"]))
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")
    return "\n".join(lines) + "\n"


def mended(faults: Mapping[str, list[Mapping[str, object]]]) -> str:
    """A row for each fault."""
    rows = [f"| {name} | {each['fault']} | {each['mended']} |" for name, of in faults.items() for each in of]
    return "\n".join(["| reader | fault | now |", "| --- | --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    main()
