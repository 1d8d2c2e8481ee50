"""What more negatives for every position change of the dose at which `margin` works.

    python analyses/more_negatives.py experiments/inequality/grid.yaml --only="learner=adam, dataset=synthetic-1000,*"
                                      --data_path=<folder> [--negatives=4] [--seeds 2020 2021]

Trains rows of the grid of ``analyses/inequality.py`` with a SASRec that draws several negatives, and prints its table.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from inequality import line, thresholds
from torch.nn import functional as F

from recbole_attack import run_recbole_attack
from recbole_attack.benchmark import read_grid
from recbole_attack.config.defaults import load_defaults
from recbole_attack.data.batches import TrainBatch
from recbole_attack.model import SASRec
from recbole_attack.register import register_model
from recbole_attack.report.words import markdown
from recbole_attack.utils.errors import ConfigError, shown

_SPREAD = 7919.0
"""Turns one uniform number of a position into another: the fraction of its product with a large prime."""


class SASRecMoreNegatives(SASRec):
    """SASRec whose loss is the mean of a positive's and ``n_negatives`` negatives' binary cross-entropy.

    The first negative is the one every victim is given. The others are uniform over the catalogue, made of the one
    number a position has of its own, so they are the same in every backend; they may be items of the user.
    """

    needs_draws = True

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.n_negatives = config["n_negatives"]

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """Inputs, positives and each of the negatives, ``[B, L]`` each."""
        draws, others = batch.draws[:, 1:], []
        for _ in range(self.n_negatives - 1):
            draws = draws * _SPREAD % 1
            others.append(torch.where(batch.pos_items != 0, 1 + (draws * (self.n_items - 1)).long(), 0))
        return *batch[:3], *others

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` losses of the users, averaged over positions."""
        item_seq, pos_items, *negatives = inputs
        hidden = self.encode(item_seq, self.embed(item_seq) if item_emb is None else item_emb)
        terms = F.softplus(-(hidden * self.item_embedding(pos_items)).sum(-1))
        for items in negatives:
            terms = terms + F.softplus((hidden * self.item_embedding(items)).sum(-1))
        real = pos_items != 0
        return (terms * real).sum(1) / (1 + len(negatives)) / real.sum(1).clamp(min=1)


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, help="grid of the rows")
    parser.add_argument("--only", default="*", help="rows of this name, or those it fits")
    parser.add_argument("--data_path", required=True, help="folder that holds the datasets' folders")
    parser.add_argument("--negatives", type=int, default=4, help="negatives of a position")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021], help="seeds of each row")
    given = parser.parse_args()
    if given.negatives < 1:
        raise ConfigError(f"negatives must be an integer at least 1: found {given.negatives}")
    rows = [row for row in read_grid(given.grid, seeds=given.seeds) if fnmatch(row.name, given.only)]
    if not rows:
        raise ConfigError(f"only must fit the name of a row of {given.grid}: found {shown(given.only)}")
    register_model(SASRecMoreNegatives, {**load_defaults("model/SASRec"), "n_negatives": given.negatives})
    found = []
    for row in rows:
        for seed in given.seeds:
            with TemporaryDirectory() as folder:
                own = {"model": SASRecMoreNegatives.__name__, "seed": seed, "checkpoint_dir": folder}
                parameters = {**row.parameters, **own, "data_path": given.data_path}
                found.append(line(run_recbole_attack(config_dict=parameters).record))
    table = thresholds(pd.DataFrame(found))
    print(markdown(list(table[0]), [list(each.values()) for each in table]))


if __name__ == "__main__":
    main()
