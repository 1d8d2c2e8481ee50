"""What clients may upload in the place of an update, and a backend of runs whose malicious clients do."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from recbole_attack.config import AttackConfig
from recbole_attack.experiment import TrainingExperiment, run_arm
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.rounds import BACKENDS, RoundUpdate
from recbole_attack.federated.server import aggregate
from recbole_attack.federated.updates import Update, looped_updates

Spoil = Callable[[Update], Any]
"""``what a client computed -> what it sends``; the update holds at least a matrix and, as its last, a vector."""


def matrix(update: Update) -> str:
    """Name of the first parameter that is a matrix that is not square, and not that of the items."""
    return next(n for n, u in update.items() if n != ITEM_TABLE and u.dim() == 2 and u.shape[0] != u.shape[1])


def changed(change: Callable[[torch.Tensor], Any], which: Callable[[Update], str] = matrix) -> Spoil:
    return lambda update: {**update, which(update): change(update[which(update)])}


def last(update: Update) -> str:
    return list(update)[-1]


def filled(value: float) -> Spoil:
    return lambda update: {name: torch.full_like(part, value) for name, part in update.items()}


def one_entry(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda part: part.flatten().index_fill(0, torch.tensor(1, device=part.device), value).view_as(part)


REJECTED: dict[str, tuple[Spoil, str]] = {
    "nan": (changed(one_entry(float("nan")), last), "not finite"),
    "nan everywhere": (filled(float("nan")), "not finite"),
    "inf": (filled(float("inf")), "not finite"),
    "inf in an item": (
        lambda u: {**u, ITEM_TABLE: u[ITEM_TABLE].index_fill(0, torch.tensor(2), float("-inf"))},
        "not finite",
    ),
    "huge": (filled(1e30), "too large"),
    "1e38": (filled(1e38), "too large"),
    "huge in float64": (lambda u: {k: v.double() + 1e300 for k, v in u.items()}, "not finite"),
    "transposed": (changed(lambda part: part.T), "wrong shape"),
    "flat": (changed(torch.flatten), "wrong shape"),
    "more items": (lambda u: {**u, ITEM_TABLE: torch.cat([u[ITEM_TABLE], u[ITEM_TABLE][:1]])}, "wrong shape"),
    "scalar": (changed(torch.sum, last), "wrong shape"),
    "no rows": (changed(lambda part: part[:0]), "wrong shape"),
    "integers": (changed(torch.Tensor.long), "wrong type"),
    "booleans": (changed(torch.Tensor.bool), "wrong type"),
    "complex": (changed(lambda part: part.to(torch.complex64)), "wrong type"),
    "sparse": (changed(torch.Tensor.to_sparse), "wrong type"),
    "meta": (changed(lambda part: part.to("meta")), "wrong type"),
    "array": (changed(lambda part: part.detach().numpy()), "wrong type"),
    "nothing in it": (changed(lambda part: None), "wrong type"),
    "missing": (lambda u: {k: v for k, v in u.items() if k != last(u)}, "missing parameters"),
    "unknown": (lambda u: {**u, "backdoor": torch.ones(2, 3)}, "unknown parameters"),
    "renamed": (lambda u: {f"model.{k}": v for k, v in u.items()}, "missing parameters"),
    "empty": (lambda u: {}, "no parameters"),
    "none": (lambda u: None, "no parameters"),
    "a tensor": (lambda u: torch.ones(2, 3), "no parameters"),
    "a list": (list, "no parameters"),
}
"""Upload -> how it is made, and why rules that screen values reject it; linear rules take any values."""

TAKEN: dict[str, Spoil] = {
    "zeros": filled(0.0),
    "1e15": filled(1e15),
    "the smallest there are": filled(1e-45),
    "half of the bits": lambda u: {k: v.half() for k, v in u.items()},
    "float64": lambda u: {k: v.double() for k, v in u.items()},
}
"""Uploads no rule rejects."""

VALUES = ("not finite", "too large")
"""Reasons to reject that are of values; linear rules have none of them."""


def spoiling(spoil: Spoil, side_by_side: bool = False) -> Any:
    """A backend of whose clients the malicious ones send something else than they computed.

    Args:
        spoil: What they send.
        side_by_side: Whether updates are aggregated so, which takes tensors of their shapes and nothing else.
    """

    def backend(
        model: Any, groups: Sequence[Any], aggregator: Any, config: Any, memory: Any, craft: Any
    ) -> RoundUpdate:
        sent, losses = [], []
        for group in groups:
            for update, loss in looped_updates(model, group.losses, len(group.weights), 1, 0.0):
                sent.append(spoil(update) if group.malicious else update)
                losses.append(loss)
        weights = torch.cat([group.weights for group in groups])
        if side_by_side:
            stacked = {name: torch.stack([update[name].float() for update in sent]) for name in sent[0]}
            found = aggregate(ClientUpdates.from_stacked(stacked), weights, aggregator)
        else:
            found = aggregate_one_by_one(sent, weights, aggregator, dict(model.named_parameters()))
        return RoundUpdate(torch.tensor(losses), found)

    return backend


LINEAR = ("mean", "sum")
"""Rules that take any value."""


def ends_training(rule: str, name: str) -> bool:
    """Whether an upload of :data:`REJECTED` is one a rule takes, so that the model would not be finite."""
    return rule in LINEAR and REJECTED[name][1] in VALUES


class Left(NamedTuple):
    """What a training among hostile clients left.

    Attributes:
        weights: Of the last model.
        rejected: Whether in every round as many uploads were rejected as there were malicious clients.
        malicious: How many these were in all.
    """

    weights: dict[str, torch.Tensor]
    rejected: bool
    malicious: int


def train_among(spoil: Spoil, experiment: TrainingExperiment, config: AttackConfig, side_by_side: bool = False) -> Left:
    """Train an arm whose malicious clients upload what ``spoil`` makes."""
    with patch.dict(BACKENDS, {config["backend"]: spoiling(spoil, side_by_side)}):
        run_arm(experiment, config, verbose=False)
    folder = Path(config["checkpoint_dir"])
    with (folder / "rounds.csv").open(newline="") as file:
        rounds = list(csv.DictReader(file))
    weights = torch.load(folder / "last.pth", weights_only=True)["state_dict"]
    rejected = all(row["rejected"] == row["malicious"] for row in rounds)
    return Left(weights, rejected, sum(int(row["malicious"]) for row in rounds))


def is_finite(weights: dict[str, torch.Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values())


def near(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float = 1e-3) -> bool:
    """Whether weights are the same but for rounding, which an optimiser's first steps make larger."""
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], 0, tolerance) for name in a)
