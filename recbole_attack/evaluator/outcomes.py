"""What an evaluation found for each user: where the item to predict and each target stand in the user's ranking.

From it any metric of users at any cut-off follows, and intervals and tests over users; ``result.json`` holds means.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int
from recbole_attack.evaluator.exposure import Mask, Ranks
from recbole_attack.utils.arrays import read_arrays
from recbole_attack.utils.errors import DataError, shown
from recbole_attack.utils.files import write_atomically

OUTCOMES = "outcomes.npz"
"""Name of the file in an arm's folder."""

_KINDS = ("iu", "b")
"""What the arrays hold, by whether it is yes or no."""


@dataclass(frozen=True)
class Outcomes:
    """Ranks from 1, in the order of ``torch.topk`` as far as lists go; one more than there are items where an item
    does not compete. Of items of equal score behind the lists' end, each has the best of their ranks.

    Attributes:
        user: ``[U]`` ids of the evaluated users, in the order they were evaluated.
        rank_truth: ``[U]`` rank of the item to predict.
        rank_target: ``[U, T]`` rank of each target, targets in the order of ``budget`` in ``result.json``.
        eligible: ``[U, T]`` whether the user counts for the target: it never interacted with it.
    """

    user: Int
    rank_truth: Ranks
    rank_target: Ranks
    eligible: Mask

    def only(self, users: Int) -> Outcomes:
        """Those of some of the users, in the order they have here."""
        chosen = np.isin(self.user, users)
        return Outcomes(self.user[chosen], self.rank_truth[chosen], self.rank_target[chosen], self.eligible[chosen])

    def hits(self, k: int) -> NDArray[np.floating]:
        """``[U]``: 1 where the item to predict is among the first ``k``; their mean is ``hit@k``."""
        return (self.rank_truth <= k).astype(float)

    def gains(self, k: int) -> NDArray[np.floating]:
        """``[U]`` in ``[0, 1]``: the discounted gain of the item to predict; their mean is ``ndcg@k``."""
        return np.where(self.rank_truth <= k, 1.0 / np.log2(self.rank_truth + 1.0), 0.0)

    def exposures(self, k: int) -> NDArray[np.floating]:
        """``[U, T]``: 1 where a target is among the first ``k``, NaN where the user does not count for it.

        The mean over targets of the means over users is ``er@k``.
        """
        return np.where(self.eligible, (self.rank_target <= k).astype(float), np.nan)


def ranks_of(scores: torch.Tensor, listed: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Ranks from 1 in whole rankings.

    Args:
        scores: ``[B, n_items]``, the padding item and what does not compete minus infinity.
        listed: ``[B, K]`` the first items in order, 0 behind a list's end.
        items: ``[B, N]`` the items whose ranks are asked for, none of them 0.

    Returns:
        ``[B, N]``; ``n_items``, one more than there are items, for what does not compete.
    """
    columns = [_ranks_of_one(scores, listed, column[:, None]) for column in items.T]
    return torch.stack(columns, dim=1)


def _ranks_of_one(scores: torch.Tensor, listed: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    value, found = scores.gather(1, item), listed == item
    beyond = (scores > value).sum(dim=1).clamp_min(listed.shape[1]) + 1
    rank = torch.where(found.any(dim=1), found.int().argmax(dim=1) + 1, beyond)
    return torch.where(value[:, 0] == -torch.inf, scores.shape[1], rank)


@dataclass
class OutcomeRecorder:
    """Gathers the outcomes of an evaluation, batch by batch.

    Attributes:
        targets: ``[T]`` ids of the targets.
    """

    targets: Int
    _batches: list[Outcomes] = field(init=False, default_factory=list)

    def add(
        self,
        scores: torch.Tensor,
        listed: torch.Tensor,
        truth: torch.Tensor,
        users: torch.Tensor,
        eligible: torch.Tensor,
    ) -> None:
        """Record one batch.

        Args:
            scores: ``[B, n_items]``, as for :func:`ranks_of`.
            listed: ``[B, K]``, as there.
            truth: ``[B]`` the item to predict.
            users: ``[B]`` user ids.
            eligible: ``[B, T]`` whether the user counts for the target.
        """
        targets = torch.from_numpy(self.targets).expand(len(scores), -1)
        items = torch.cat((truth.cpu()[:, None], targets), dim=1).to(scores.device)
        ranks = ranks_of(scores, listed, items).cpu().numpy()
        self._batches.append(Outcomes(users.numpy(), ranks[:, 0], ranks[:, 1:], eligible.numpy()))

    def outcomes(self) -> Outcomes | None:
        """All of them; ``None`` where nothing was evaluated."""
        if not self._batches:
            return None
        parts = {part.name: [getattr(batch, part.name) for batch in self._batches] for part in fields(Outcomes)}
        return Outcomes(**{name: np.concatenate(values) for name, values in parts.items()})


def write_outcomes(path: Path, outcomes: Outcomes) -> None:
    """Write outcomes atomically, as a compressed archive of NumPy's, integers as small as they can be.

    The same outcomes give the same bytes.
    """
    arrays = {part.name: getattr(outcomes, part.name) for part in fields(Outcomes)}
    small = {name: values.astype(_smallest(values)) for name, values in arrays.items()}

    def write(target: Path) -> None:
        with target.open("wb") as file:
            np.savez_compressed(file, **small)

    write_atomically(path, write)


def _smallest(values: NDArray[np.generic]) -> np.dtype[np.generic]:
    return values.dtype if values.dtype == bool else np.min_scalar_type(values.max(initial=0))


def read_outcomes(path: Path | str) -> Outcomes:
    """Read what :func:`write_outcomes` wrote; integers are ``int64`` again.

    Raises:
        DataError: The file is missing, damaged, or holds something else.
    """
    try:
        found = read_arrays(path, "outcomes of users")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: expected the outcomes of an arm's test users") from error
    missing = [part.name for part in fields(Outcomes) if part.name not in found]
    if missing:
        raise DataError(f"{path} holds no outcomes of users: expected {', '.join(missing)}, found {shown([*found])}")
    arrays: dict[str, Any] = {part.name: found[part.name] for part in fields(Outcomes)}
    shape = arrays["rank_target"].shape
    expected = {"user": shape[:1], "rank_truth": shape[:1], "rank_target": shape, "eligible": shape}
    for name, values in arrays.items():
        if len(shape) != 2 or values.shape != expected[name] or values.dtype.kind not in _KINDS[name == "eligible"]:
            raise DataError(
                f"{path} holds no outcomes of users: expected ranks of users and targets, found {name} of shape "
                f"{list(values.shape)} and type {values.dtype}"
            )
    return Outcomes(**{name: v if v.dtype == bool else v.astype(np.int64) for name, v in arrays.items()})
