"""What malicious clients upload once they have computed their updates.

An upload reads its own parameters from the configuration (``properties/upload/<name>.yaml`` holds the defaults) and
returns an :class:`~recbole_attack.attack.attack.Upload`, or ``None`` for updates as they were computed. It goes with
any attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from recbole_attack.attack.attack import LEVELS, Attack, Upload, Uploading
from recbole_attack.attack.recipes import ATTACKS
from recbole_attack.data.histories import sampled_histories
from recbole_attack.utils.errors import ConfigError, shown
from recbole_attack.utils.rng import stream, without_dropout

_TIE = 1e-4
"""Share of the best gain within which gains are equal: under rules that clip, long uploads differ by rounding alone."""


@dataclass(frozen=True)
class Adaptive:
    """Try lengths and splits on a simulated server, and upload what brings the targets up most.

    The attacker knows the rule with what it remembers, and how malicious clients are held to a length. As many users as
    the round has honest clients are drawn from the received model
    (:func:`~recbole_attack.data.histories.sampled_histories`) and trained as honest clients without a defence do. Each
    weighs what the attacker's own clients do in the mean, before they claim anything; if fewer are simulated than there
    are honest clients, they weigh as much as all. Their updates and the attacker's own are aggregated, once for each
    candidate: the updates as they were computed, and these with every length and split. All malicious clients of a
    round do the same.

    A candidate's gain is what the server's step along the aggregate ``A`` brings, to first order in its rate:
    ``-<A, grad of mean_x,t (score(x, t) - mean_j score(x, j))>`` over the same users ``x``, all items ``j`` and targets
    ``t``, without dropout. The first of the best, up to rounding, is uploaded. Where only the targets' rows move, it is
    the mean of ``-h(x) A_t`` but for the mean item.

    A split gives the targets' rows a share of the squared length and the rest to the rest. Where a recipe uploads
    nothing but targets' rows, the rest is an honest update of one more such user: a cover.

    Attributes:
        lengths: Tried, as multiples of the median length of the simulated honest updates.
        shares: Of the targets' rows in the squared length, tried besides the split that was computed.
        clients: Most simulated honest clients.
        length: Items of their histories.
    """

    lengths: tuple[float, ...]
    shares: tuple[float, ...]
    clients: int
    length: int
    knowledge: tuple[str, ...] = (LEVELS["K3"],)

    def __call__(self, at: Uploading) -> Any:
        count = min(len(at.honest.updates), self.clients)
        if not count:
            return at.own.updates
        rng = stream(at.context.seed, "simulated histories", *at.round)
        nobody = at.context.targets[:0]
        histories = sampled_histories(at.model, count + len(at.own.updates), self.length, nobody, rng)
        made = at.trained(histories)
        simulated = torch.arange(len(made.updates), device=made.weights.device) < count
        others = made.only(simulated)
        others = others._replace(weights=others.weights * (len(at.honest.updates) / count))
        unit = float(others.updates.norms().median())
        tried = self.candidates(at.own.updates, made.only(~simulated).updates, at.context.targets, unit)
        slope = slopes(at.model, histories, at.context.targets)
        gains = torch.stack([_gain(slope, at.served(others, at.own._replace(updates=one))) for one in tried])
        gains = gains.nan_to_num(nan=-torch.inf)
        return tried[int((gains >= gains.max() - _TIE * gains.max().abs()).int().argmax())]

    def candidates(self, own: Any, cover: Any, targets: torch.Tensor, unit: float) -> list[Any]:
        """What is tried, the updates as they were computed first; a length of 1 is ``unit``."""
        splits = [own, *(split(own, cover, targets, share) for share in self.shares)]
        return [own, *(_lengthened(one, length * unit) for one, length in product(splits, self.lengths))]


def slopes(model: Any, users: Any, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Parameter name -> gradient of how much higher than the mean item the targets score, the mean over users."""
    with torch.enable_grad(), without_dropout(model):
        scores = model.item_scores(model.forward(*users))[:, 1:]
        above = (scores[:, targets - 1].mean(dim=1) - scores.mean(dim=1)).mean()
        names, parameters = zip(*model.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(above, parameters, materialize_grads=True), strict=True))


def split(own: Any, cover: Any, targets: torch.Tensor, share: float) -> Any:
    """Updates of length 1 with ``share`` of the square in the targets' rows, the rest as in ``own`` or as in ``cover``.

    A part that is zero in both stays so.
    """
    rows, rest, other = own.only_items(targets), own.without_items(targets), cover.without_items(targets)
    bare = rest.norms() == 0
    rest = rest.plus(other.times(bare))
    return rows.times(share**0.5 * _inverse(rows.norms())).plus(rest.times((1 - share) ** 0.5 * _inverse(rest.norms())))


def _lengthened(updates: Any, length: float) -> Any:
    return updates.times(length * _inverse(updates.norms()))


def _inverse(norms: torch.Tensor) -> torch.Tensor:
    return torch.where(norms > 0, 1 / norms, 0.0)


def _gain(slope: Mapping[str, torch.Tensor], update: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return -torch.stack([(slope[name] * value).sum().double() for name, value in update.items()]).sum()


def computed(config: Mapping[str, Any]) -> None:
    """Updates as they were computed."""


def adaptive(config: Mapping[str, Any]) -> Adaptive:
    """Lengths and splits tried on a simulated server: the attacker knows the rule (ours).

    After the line searches of Fang et al. (USENIX Security 2020) and Shejwalkar and Houmansadr (NDSS 2021), which need
    the round's honest updates; here users drawn from the received model stand in for them, and what counts is not how
    far the aggregate is from the honest mean but how far it moves the targets. ``gradient_scale`` and ``norm_budget``
    hold for what comes out, and the simulated round has them, too.
    """
    lengths, shares = (tuple(map(float, config[key])) for key in ("tried_lengths", "tried_shares"))
    return Adaptive(lengths, shares, config["simulated_clients"], config["simulated_length"])


UPLOADS: dict[str, Callable[[Mapping[str, Any]], Upload | None]] = {"computed": computed, "adaptive": adaptive}
"""What malicious clients upload, by the name ``--upload`` takes."""


def configured_attack(config: Mapping[str, Any]) -> Attack | None:
    """The attack of clients that ``attack`` names, with what ``upload`` makes of its updates.

    Raises:
        ConfigError: It says itself what is uploaded.
    """
    attack, upload = ATTACKS[config["attack"]](config), UPLOADS[config["upload"]](config)
    if attack is None and config["attack"] == "none":
        return None
    if not isinstance(attack, Attack):
        raise ConfigError(f"attack '{config['attack']}' must return an Attack: found {shown(attack)}")
    if upload is None:
        return attack if attack.upload is None else _knowing(attack, attack.upload)
    if attack.upload is not None:
        raise ConfigError(
            f"attack '{config['attack']}' says itself what is uploaded: expected upload 'computed', "
            f"found '{config['upload']}'"
        )
    return _knowing(attack, upload)


def _knowing(attack: Attack, upload: Upload) -> Attack:
    """The attack with its upload, and what both have to know."""
    return replace(attack, upload=upload, knowledge=tuple(dict.fromkeys([*attack.knowledge, *upload.knowledge])))
