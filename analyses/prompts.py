"""What prompts do to a model that was attacked in three steps.

    python analyses/prompts.py experiments/aprec/three-steps <row> [--seeds 2020] [--epochs 10 100]
                                  [--data_path=<folder>]

Trains the provider's steps of a row and serves the platform's users with its model and, one after the other: no
prompts; the provider's fake ones; prompts the platform tuned for so many epochs; the same, started from the values that
the fake ones started from. ``norm`` is a prompt's mean length, where the mean length of an item's embedding is 1.
``apart`` is the distance between the groups' mean prompts over the typical distance of a prompt from its group's mean.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from recbole_attack import AttackConfig
from recbole_attack.benchmark import read_grid
from recbole_attack.experiment import PretrainExperiment, prepare_pretrain
from recbole_attack.report.numbers import number
from recbole_attack.report.words import markdown
from recbole_attack.stages import ATTACK_TUNE, PROMPT_TUNE, provider_stages
from recbole_attack.utils.errors import lookup

METRICS = ("er_in@10", "er_out@10", "invisibility", "hit@10")
COLUMNS = ("prompts", "norm", "apart", *METRICS)


def apart(prompts: np.ndarray, inside: np.ndarray) -> float:
    """How far two groups of points are apart: the distance of their means over the points' typical one from theirs.

    >>> apart(np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]]), np.array([True, True, False, False]))
    4.0
    """
    groups = prompts[inside], prompts[~inside]
    means = [group.mean(axis=0) for group in groups]
    within = np.concatenate([group - mean for group, mean in zip(groups, means, strict=True)])
    return float(np.linalg.norm(means[0] - means[1]) / np.sqrt((within**2).sum(axis=1).mean()))


def measured(experiment: PretrainExperiment, trainer: Any) -> dict[str, float]:
    """What the platform's users get from a trainer's model, and the prompts they get it with."""
    trainer.eval_collector.data_collect(experiment.train_data)
    result = trainer.evaluate(experiment.test_data, load_best_model=False)
    found = {metric: result[metric] for metric in METRICS}
    if not hasattr(trainer.model, "prompts"):
        return found
    users = np.flatnonzero(experiment.parties.platform)
    with torch.no_grad():
        prompts = trainer.model.prompts(torch.from_numpy(users)).flatten(1).numpy()
        items = trainer.model.item_embedding.weight[1:].norm(dim=1).mean().item()
    length = float(np.linalg.norm(prompts, axis=1).mean()) / items
    return {"norm": length, "apart": apart(prompts, experiment.target_users[users]), **found}


def served(experiment: PretrainExperiment, epochs: list[int], folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """What is served with -> what comes of it."""
    config, trainer, start = experiment.config, None, None
    for stage in provider_stages("pea", three_steps=True):
        trainer = experiment.trainer(config, stage, folder / stage.name, trainer)
        if stage.new_prompts:
            start = copy.deepcopy(trainer.model.generator.state_dict())
        trainer.fit(experiment.data[stage.party], verbose=False, saved=False)
    shipped = experiment.trainer(config, replace(ATTACK_TUNE, prompted=False), folder / "shipped", trainer)
    yield "none", measured(experiment, shipped)
    yield "the provider's", measured(experiment, trainer)
    for count in epochs:
        tuned = config.replace(prompt_tune_epochs=count)
        for name, values in ((f"own, {count} epochs", None), (f"own, {count} epochs, same start", start)):
            own = experiment.trainer(tuned, PROMPT_TUNE, folder / name, trainer)
            if values:
                own.model.generator.load_state_dict(values)
            own.fit(experiment.data["platform"], verbose=False, saved=False)
            yield name, measured(experiment, own)


def main() -> None:
    """Print a table of every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="folder of the table's rows")
    parser.add_argument("row", help="a row whose attack is pea")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 100], help="epochs the platform tunes for")
    parser.add_argument("--data_path", default="dataset/", help="folder that holds the datasets' folders")
    given = parser.parse_args()
    rows = {row.name: row.parameters for row in read_grid(given.table)}
    values = lookup(rows, given.row, "row") | {"data_path": given.data_path, "show_progress": False}
    lines = []
    for seed in given.seeds:
        with TemporaryDirectory() as folder:
            experiment = prepare_pretrain(AttackConfig(config_dict={**values, "seed": seed}))
            for name, found in served(experiment, given.epochs, Path(folder)):
                lines.append([str(seed), name, *(number(found.get(column)) for column in COLUMNS[1:])])
                print(*lines[-1], file=sys.stderr)
    print(markdown(["seed", *COLUMNS], lines))


if __name__ == "__main__":
    main()
