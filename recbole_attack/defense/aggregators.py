"""How the server combines client updates: each rule wired with its parameters.

A recipe reads its own parameters from the configuration (``properties/defense/<name>.yaml`` holds the defaults) and
returns an :class:`Aggregator`. Formulas, citations and worked examples stand with the rules:
:mod:`~recbole_attack.defense.weighting`, :mod:`~recbole_attack.defense.rfa` and
:mod:`~recbole_attack.defense.coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from recbole_attack.defense import coordinates, rfa, weighting
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.gram import gram_matrix
from recbole_attack.defense.screening import screen, squared_norms
from recbole_attack.defense.weighting import Weighting, WeightingRule

_BLOCK_ENTRIES = 1 << 18
"""Numbers a rule on coordinates looks at in one go: they stay in the cache."""


@dataclass(frozen=True)
class Aggregate:
    """What the server makes of one round.

    Attributes:
        update: ``[P]``.
        client_weights: ``[N]`` in float64, ``update`` being their weighted sum of updates, 0 for rejected clients;
            ``None`` for rules that look at single coordinates.
        kept: ``[N]``, False for clients rejected by :func:`~recbole_attack.defense.screening.screen`.
        iterations: See :class:`~recbole_attack.defense.weighting.Weighting`.
        residual: See :class:`~recbole_attack.defense.weighting.Weighting`.
    """

    update: torch.Tensor
    client_weights: torch.Tensor | None
    kept: torch.Tensor
    iterations: int = 0
    residual: float = 0.0


@dataclass(frozen=True)
class Aggregator:
    """A rule that turns client updates into one. It has exactly one of ``weigh`` and ``combine``.

    Attributes:
        weigh: A rule on the Gram matrix of updates: ``(gram [..., N, N], weights [..., N]) -> Weighting``.
        combine: A rule on coordinates: ``(values [N, ...], weights [N, ...]) -> [...]``.
        linear: Whether the weights of ``weigh`` do not depend on the updates. Then no values are reason to reject.
        additive: Whether a client's weight depends on no other client either; implies ``linear``.
        per_item: Whether every row of the item embeddings is aggregated by itself, among the clients that touched it;
            see :meth:`rows`.
    """

    weigh: WeightingRule | None = None
    combine: CoordinateRule | None = None
    linear: bool = False
    additive: bool = False
    per_item: bool = False

    def __post_init__(self) -> None:
        if (self.weigh is None) == (self.combine is None):
            raise ValueError("an aggregator needs exactly one of weigh and combine")
        if self.linear and self.weigh is None:
            raise ValueError("a linear aggregator needs weigh")
        if self.additive and not self.linear:
            raise ValueError("an additive aggregator is linear")

    @property
    def one_pass(self) -> bool:
        """Whether one batched backward pass gives the result, and no client's own update has to exist."""
        return self.linear and (self.additive or not self.per_item)

    def apply(self, updates: torch.Tensor, weights: torch.Tensor) -> Aggregate:
        """Aggregate updates that fit into memory side by side, all columns alike: slow and obvious.

        Args:
            updates: ``[N, P]``; what no rule could bear is left out, and without any client left the result is zero.
            weights: ``[N]``, positive.
        """
        if self.combine is not None:
            kept = screen(squared_norms(updates), updates.dtype)
            if not kept.any():
                return Aggregate(updates.new_zeros(updates.shape[1]), None, kept)
            chosen, weights = _only(kept, updates, weights)
            parts = chosen.split(max(_BLOCK_ENTRIES // len(chosen), 1), dim=1)
            return Aggregate(torch.cat([self.combine(part, weights) for part in parts]), None, kept)
        n = len(updates)
        gram = updates.new_zeros(n, n, dtype=torch.float64) if self.linear else gram_matrix(updates)
        kept, found = self.weighting(gram, weights, updates.dtype)
        chosen, client_weights = _only(kept, updates, found.client_weights)
        update = client_weights.to(updates.dtype) @ chosen
        return Aggregate(update, found.client_weights, kept, found.iterations, found.residual)

    def screened(self, squared_norms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """``[N]`` clients whose values the rule may see: all for a linear rule, else those :func:`screen` keeps."""
        return torch.ones_like(squared_norms, dtype=torch.bool) if self.linear else screen(squared_norms, dtype)

    def rows(self, rows: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, int, float]:
        """Aggregate rows of the item embeddings, each among the clients that touched its item.

        A client touches an item if its update of the item's row is not zero. For all others the row is not a zero but
        nothing at all: they neither outvote the clients that know the item nor shrink what these say. So the mean is
        ``sum_c w_c u_c / sum_c w_c`` over touching clients; a rule on the Gram matrix sees the inner products of their
        rows of this item alone, and its parameters (Krum's share of hostile clients, the bound of norm clipping) hold
        for these rows; a rule on coordinates orders their values. A sum stays what it is.

        Three things to know. An item's honest majority is that of the few clients that touch it, not of the round: a
        malicious client that alone touches a target decides its row, whatever the rule. A row is as long as a
        client's, where the mean over a round of N clients, k of them touching, is k / N of that: with plain SGD, rows
        of rare items learn up to N times as fast, so a learning rate chosen for whole updates may be too high. And
        under a softmax over all items (CE) every client touches every item.

        Args:
            rows: ``[G, C, H]`` of ``G`` items with ``C`` touching clients each, screened.
            weights: ``[G, C]``, positive.

        Returns:
            ``[G, H]``, and of an iterative rule the most iterations and the largest residual.
        """
        if self.combine is not None:
            return self.combine(rows.transpose(0, 1), weights.T[..., None]), 0, 0.0
        assert self.weigh is not None
        wide = rows.double()
        found = self.weigh(wide @ wide.transpose(1, 2), weights)
        aggregated = (found.client_weights[:, None] @ wide).squeeze(1).to(rows.dtype)
        return aggregated, found.iterations, found.residual

    def factors(self, weights: torch.Tensor) -> torch.Tensor:
        """``[N]`` factors of a linear rule, which depend on the weights alone."""
        assert self.one_pass and self.weigh is not None
        nothing = weights.new_zeros(len(weights), len(weights), dtype=torch.float64)
        return self.weigh(nothing, weights).client_weights.to(weights.dtype)

    def weighting(
        self, gram: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, Weighting]:
        """The clients ``[N]`` that are kept, and the weight of each; rejected ones have none.

        Args:
            gram: ``[N, N]`` in float64; a linear rule does not look at it.
            weights: ``[N]``, positive.
            dtype: The type clients send.
        """
        assert self.weigh is not None
        kept = self.screened(gram.diagonal(), dtype)
        chosen = kept.nonzero().squeeze(1)
        if not len(chosen):
            return kept, Weighting(torch.zeros_like(gram.diagonal()))
        found = self.weigh(gram[chosen][:, chosen], weights[chosen])
        everyone = torch.zeros_like(gram.diagonal()).masked_scatter(kept, found.client_weights)
        return kept, replace(found, client_weights=everyone)


def mean(config: Mapping[str, Any]) -> Aggregator:
    """Weighted mean (FedAvg, McMahan et al. 2017). Not robust, and clients that are not finite stop the run."""
    return Aggregator(weighting.mean, linear=True)


def sum_(config: Mapping[str, Any]) -> Aggregator:
    """Weighted sum, the step of DV-FSR's released code without a defence. Not robust."""
    return Aggregator(weighting.sum_, linear=True, additive=True)


def geometric_median(config: Mapping[str, Any]) -> Aggregator:
    """Geometric median by Weiszfeld's iteration (RFA, Pillutla et al. 2022; DV-FSR, eq. 9)."""
    return Aggregator(_weiszfeld(config))


def mixed_rfa(config: Mapping[str, Any]) -> Aggregator:
    """Mean and geometric median mixed (mixed-RFA, DV-FSR, eq. 10).

    Equation 10 gives clients the same weights ``alpha_i`` in both parts. Released code does not: its mean is unweighted
    (``mean_weights: uniform``), and only its geometric median weights clients, by the length of their training sequence
    (``client_weighting: examples`` is that length less 1, the positions that are predicted). That median starts at the
    weighted mean and takes at most 4 steps, with distances of at least 1e-5, and stops sooner once the objective falls
    by less than 1e-6 of itself; ours iterates until it stands still. ``weiszfeld_start: mean`` and
    ``weiszfeld_iterations: 4`` are theirs unless a point holds half of the weight. Their early stop needs no option,
    since hardly any way is left then, and neither does their smallest distance: ours is a share of the typical one
    (``weiszfeld_smoothing``), and it matters only where the point meets a client.
    """
    return Aggregator(
        partial(
            rfa.mixed,
            mean_share=config["mean_share"],
            median=_weiszfeld(config),
            mean_weights=config["mean_weights"],
        )
    )


def median(config: Mapping[str, Any]) -> Aggregator:
    """Coordinate-wise median (Yin et al. 2018)."""
    return Aggregator(combine=coordinates.median)


def trimmed_mean(config: Mapping[str, Any]) -> Aggregator:
    """Coordinate-wise trimmed mean (Yin et al. 2018)."""
    return Aggregator(combine=partial(coordinates.trimmed_mean, trim_ratio=config["trim_ratio"]))


def krum(config: Mapping[str, Any]) -> Aggregator:
    """Krum: the one update nearest to its neighbours (Blanchard et al. 2017)."""
    return Aggregator(partial(weighting.krum, byzantine_ratio=config["byzantine_ratio"]))


def multi_krum(config: Mapping[str, Any]) -> Aggregator:
    """Multi-Krum: the mean of the updates nearest to their neighbours (Blanchard et al. 2017)."""
    options = {"byzantine_ratio": config["byzantine_ratio"], "selected": config["krum_selected"]}
    return Aggregator(partial(weighting.multi_krum, **options))


def norm_clipping(config: Mapping[str, Any]) -> Aggregator:
    """Mean of updates clipped to a norm (Sun et al. 2019)."""
    return Aggregator(partial(weighting.norm_clipping, clip_norm=config["clip_norm"]))


AGGREGATORS: dict[str, Callable[[Mapping[str, Any]], Aggregator]] = {
    "mean": mean,
    "sum": sum_,
    "geometric_median": geometric_median,
    "mixed_rfa": mixed_rfa,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
    "multi_krum": multi_krum,
    "norm_clipping": norm_clipping,
}
"""Aggregation rules by the name ``--aggregator`` takes."""


def configured_aggregator(config: Mapping[str, Any]) -> Aggregator:
    """The rule ``aggregator`` names, ``per_item`` or on whole updates."""
    return replace(AGGREGATORS[config["aggregator"]](config), per_item=config["per_item"])


def _only(kept: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Rows of kept clients, without a copy where that is all."""
    return values if bool(kept.all()) else tuple(value[kept] for value in values)


def _weiszfeld(config: Mapping[str, Any]) -> WeightingRule:
    return partial(
        rfa.geometric_median,
        max_iterations=config["weiszfeld_iterations"],
        tolerance=config["weiszfeld_tolerance"],
        smoothing=config["weiszfeld_smoothing"],
        start=config["weiszfeld_start"],
    )
