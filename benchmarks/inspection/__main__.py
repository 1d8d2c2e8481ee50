"""What `recbole_attack inspect` finds, and how often it finds what is not there: false alarms, precision and recall.

    OMP_NUM_THREADS=1 python benchmarks/inspection --platform_users=random:0.5 --folder=<folder> [--out=<file>.csv]

For each of --splits divisions of ml-100k's users, a provider trains --honest clean models of different seeds and
--planted models of each attack (other targets each), all on its own users. The platform has the other users, as a
dataset of its own, and asks every detector about each file with the items' tokens in the provider's order. An item is
flagged if its score is above

- that of any item of the platform's clean models, trained on halves of its users: what the command does,
- the same of clean models that were trained on the same users as the local one, a calibration that suggests itself,
- the one that flags best in every other honest model and every other one planted with BRA. These are not judged by it.

What is finished stays in the folder, and an interrupted command goes on there; other parameters want another folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package of this tree

from judging import Judged, judged, keep, kept, same_users
from providers import FIRST, KINDS, TRAINING, plan, trained
from verdicts import lines, tables, write_lines, write_page

NOTES = Path(__file__).parent / "notes.md"


def main() -> None:
    """Print a line for each model, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform_users", default="random:0.5")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="a CSV file, beside which the page is written; only printed without")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--epochs", type=int, default=8, help="of the provider's pre-training")
    parser.add_argument("--own_epochs", type=int, default=8, help="of the platform's models, at the most")
    parser.add_argument("--seed", type=int, default=FIRST, help="of the first split; the others follow")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--honest", type=int, default=20)
    parser.add_argument("--planted", type=int, default=10, help="of each attack")
    parser.add_argument("--targets", default="random:10")
    parser.add_argument("--ratio", type=float, default=0.5, help="replacement_ratio")
    parser.add_argument("--clean_models", type=int, default=20)
    parser.add_argument("--same_users", type=int, default=20, help="clean models of the other calibration")
    arguments = parser.parse_args()
    models, same = [], {}
    for split in range(arguments.seed, arguments.seed + arguments.splits):
        folder = arguments.folder / f"{arguments.platform_users.replace(':', '-')}-{split}"
        models += [model_of(arguments, split, name, number, folder) for name, number in plan(arguments)]
        if arguments.same_users:
            same[split] = same_users(folder, given(arguments, split, folder), arguments.same_users)
    found = list(lines(models, same))
    print("\n\n".join(["", *tables(found)]))
    if arguments.out:
        asked = [argument for argument in sys.argv[1:] if not argument.startswith("--folder")]
        write_lines(arguments.out, found)
        command = " ".join(["python benchmarks/inspection", "--folder=<folder>", *asked])
        write_page(arguments.out.with_suffix(".md"), NOTES, found, command)


def given(arguments: argparse.Namespace, split: int, folder: Path) -> dict[str, object]:
    """What the platform's own models are trained with."""
    return {**TRAINING, "epochs": arguments.own_epochs, "checkpoint_dir": str(folder), "seed": split}


def model_of(arguments: argparse.Namespace, split: int, name: str, number: int, folder: Path) -> Judged:
    """One model, trained and judged, unless it was before."""
    file = folder / f"{name}-{number}.json"
    said = kept(file)
    if said is None:
        vendor = trained(arguments, split, name, number, folder)
        platform = given(arguments, split, folder)
        said = judged(vendor, (split, name, number), folder, platform, arguments.clean_models)
        keep(file, said)
    above = ", ".join(
        f"{detector} {sum(score > said.clean[detector] for score in scores)}"
        for detector, scores in said.scores.items()
    )
    print(f"split {split}, {name}-{number}, er@10 {said.exposure:.3f}: items above clean models: {above}", flush=True)
    return said


if __name__ == "__main__":
    main()
