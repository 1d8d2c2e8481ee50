"""A rule as the server applies it: to whole updates or to an item's rows, after what is done to them before."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

import torch

from recbole_attack.defense.bank import Bank
from recbole_attack.defense.coordinates import CoordinateRule
from recbole_attack.defense.gram import gram_matrix
from recbole_attack.defense.judging import Judged, JudgingRule, Known
from recbole_attack.defense.mixing import MixingRule, Mixture
from recbole_attack.defense.quota import Quota, Rows, Verdict
from recbole_attack.defense.screening import screen, squared_norms
from recbole_attack.defense.support import Support
from recbole_attack.defense.ties import in_order, weighed_in_order
from recbole_attack.defense.weighting import Weighting, WeightingRule
from recbole_attack.utils.errors import did_you_mean, shown
from recbole_attack.utils.rng import stream

NEEDS = {
    "attackers": "how many clients are malicious",
    "server_data": "data of the server's own",
    "identities": "who a client is, from one round to the next",
}
"""What a rule may need besides the updates and weights of a round, by the words ``needs`` takes."""

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
        saved: What a rule with a quota remembers.
    """

    update: torch.Tensor
    client_weights: torch.Tensor | None
    kept: torch.Tensor
    iterations: int = 0
    residual: float = 0.0
    saved: torch.Tensor | None = None


@dataclass(frozen=True)
class Aggregator:
    """A rule that turns client updates into one. It has exactly one of ``weigh``, ``combine`` and ``judge``.

    Attributes:
        weigh: A rule on the Gram matrix of updates: ``(gram [..., N, N], weights [..., N]) -> Weighting``.
        combine: A rule on coordinates: ``(values [N, ...], weights [N, ...]) -> [...]``.
        judge: A rule on what clients sent beside what the server knows; of whole updates.
        linear: Whether the result is a sum whose weights do not depend on updates. Then no value is reason to reject.
        additive: Whether a client's weight depends on no other client either; implies ``linear``.
        per_item: Whether each item's embedding is aggregated among the clients that touched it, see :meth:`rows`.
        whole_only: Whether the rule has no meaning per item.
        weighted: Whether a client counts by its weight, with the rule or in what is done before it.
        ties: Whether clients that are alike are told apart by their order, which then has to be random.
        mixes: What is done to updates before, in this order; see :mod:`~recbole_attack.defense.mixing`.
        items: The rule for rows of the item embeddings, if it is another than for the other parameters.
        support: How long such a row's update may be for how many clients; then rows are aggregated by themselves, too.
        bank: Where aggregated rows of the item embeddings wait until they are paid out.
        quota: Which rows of the item embeddings are left out before the rule is applied.
        saved: What is in the bank, ``[V, H]``, or a quota's memory, ``[1 + G, V]``; ``None`` for nothing.
        root: How many histories the server draws from the model for an update of its own, and how long, for ``judge``.
        known: What the server knows in this round, for ``judge`` and ``quota``.
        needs: What it needs besides a round's updates and weights, words of :data:`NEEDS`; ``None`` where it does not
            say. The standard evaluation asks parts from outside to say so.
        key: Seed, epoch and round, which give clients a random order where ``mixes`` or ``ties`` want one.
    """

    weigh: WeightingRule | None = None
    combine: CoordinateRule | None = None
    judge: JudgingRule | None = None
    linear: bool = False
    additive: bool = False
    per_item: bool = False
    whole_only: bool = False
    weighted: bool = True
    ties: bool = False
    mixes: tuple[MixingRule, ...] = ()
    items: Aggregator | None = None
    support: Support | None = None
    bank: Bank | None = None
    quota: Quota | None = None
    saved: torch.Tensor | None = None
    root: tuple[int, int] | None = None
    known: Known | None = None
    needs: frozenset[str] | None = None
    key: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if sum(rule is not None for rule in (self.weigh, self.combine, self.judge)) != 1:
            raise ValueError("an aggregator needs exactly one of weigh, combine and judge")
        if self.linear and self.weigh is None:
            raise ValueError("a linear aggregator needs weigh")
        if self.additive and not self.linear:
            raise ValueError("an additive aggregator is linear")
        for part in ("mixes", "items", "support", "bank", "quota") if self.linear else ():
            if getattr(self, part):
                raise ValueError(f"a linear aggregator is a weighted sum alone: found {part} beside it")
        if self.needs is not None and not isinstance(self.needs, Set):
            raise ValueError(f"needs must be a set of {', '.join(NEEDS)}: found {shown(self.needs)}")
        for need in sorted((self.needs or set()) - NEEDS.keys()):
            raise ValueError(f"needs must be among {', '.join(NEEDS)}: found {need}{did_you_mean(need, NEEDS)}")

    @property
    def one_pass(self) -> bool:
        """Whether one batched backward pass gives the result, and no client's own update has to exist."""
        return self.linear and (self.additive or not self.by_item)

    @property
    def by_item(self) -> bool:
        """Whether rows of the item embeddings are aggregated one by one, among the clients that touched them."""
        return self.per_item or self.support is not None

    @property
    def asks(self) -> bool:
        """Whether it needs to know its server, so that ``known`` has to be set before it is applied."""
        return self.judge is not None or self.quota is not None

    def in_round(self, epoch: int, index: int, saved: torch.Tensor | None = None) -> Aggregator:
        """The rule as it is in one round: what it draws is drawn anew in each; ``saved`` is what it remembers."""
        return replace(self, key=(self.key[0], epoch, index), saved=saved)

    def places(self, weights: torch.Tensor) -> torch.Tensor:
        """``[N]`` each client's place in this round's random order, where anything asks for it."""
        if not (self.mixes or self.ties):
            return torch.arange(len(weights), device=weights.device)
        seed, *keys = self.key
        order = stream(seed, "order of clients", *keys).permutation(len(weights))
        return torch.from_numpy(order).to(weights.device)

    def apply(self, updates: torch.Tensor, weights: torch.Tensor, places: torch.Tensor | None = None) -> Aggregate:
        """Aggregate updates that fit into memory side by side, all columns alike: slow and obvious.

        Args:
            updates: ``[N, P]``; what no rule could bear is left out, and without any client left the result is zero.
            weights: ``[N]``, positive.
            places: ``[N]`` a random order of the clients; by default this round's.
        """
        places = self.places(weights) if places is None else places
        if self.combine is not None:
            kept = screen(squared_norms(updates), updates.dtype)
            if not kept.any():
                return Aggregate(updates.new_zeros(updates.shape[1]), None, kept)
            chosen, weights, places = _only(kept, updates, weights, places)
            if self.mixes:
                matrix, weights = self.mixture(gram_matrix(chosen), weights, places)
                chosen = chosen if matrix is None else matrix.to(chosen.dtype) @ chosen
            parts = chosen.split(max(_BLOCK_ENTRIES // len(chosen), 1), dim=1)
            return Aggregate(torch.cat([self.combine(part, weights) for part in parts]), None, kept)
        n = len(updates)
        gram = updates.new_zeros(n, n, dtype=torch.float64) if self.linear else gram_matrix(updates)
        kept, found = self.weighting(gram, weights, places, updates.dtype)
        chosen, client_weights = _only(kept, updates, found.client_weights)
        update = client_weights.to(updates.dtype) @ chosen
        return Aggregate(update, found.client_weights, kept, found.iterations, found.residual)

    def screened(self, squared_norms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """``[N]`` clients whose values the rule may see: all for a linear rule, else those :func:`screen` keeps."""
        return torch.ones_like(squared_norms, dtype=torch.bool) if self.linear else screen(squared_norms, dtype)

    def mixture(self, gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor) -> Mixture:
        """What ``mixes`` make of updates with the inner products ``gram [..., N, N]``, one after the other."""
        total: torch.Tensor | None = None
        gram, weights, where = in_order(places, gram, weights)
        places = places.sort(dim=-1).values
        for mix in self.mixes:
            matrix, weights = mix(gram, weights, places)
            if matrix is not None:
                gram = matrix @ gram @ matrix.mT
                total = matrix if total is None else matrix @ total
                places = places[..., : matrix.shape[-2]]  # there are no more than before
        if total is None:
            return Mixture(None, weights.gather(-1, where))
        return Mixture(total.gather(-1, where[..., None, :].expand_as(total)), weights)

    def weighed(self, gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor) -> Weighting:
        """What clients get whose updates are mixed and then weighted, ``[..., N]``."""
        assert self.weigh is not None
        if not self.mixes and self.ties:
            return weighed_in_order(self.weigh, places, gram, weights)
        matrix, weights = self.mixture(gram, weights, places) if self.mixes else Mixture(None, weights)
        if matrix is None:
            return self.weigh(gram, weights)
        found = self.weigh(matrix @ gram @ matrix.mT, weights)
        return replace(found, client_weights=(found.client_weights[..., None, :] @ matrix).squeeze(-2))

    def rows(self, rows: torch.Tensor, weights: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, int, float]:
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
        under a softmax over all items (CE), or in adversarial training, every client touches (nearly) every item.

        Args:
            rows: ``[G, C, H]`` of ``G`` items with ``C`` touching clients each, screened.
            weights: ``[G, C]``, positive.
            places: ``[G, C]`` the clients' places in the round's random order.

        Returns:
            ``[G, H]``, and of an iterative rule the most iterations and the largest residual.
        """
        if self.items is not None:
            return self.items.rows(rows, weights, places)
        if self.combine is not None:
            if self.mixes:
                wide = rows.double()
                matrix, weights = self.mixture(wide @ wide.transpose(1, 2), weights, places)
                rows = rows if matrix is None else matrix.to(rows.dtype) @ rows
            return self.combine(rows.transpose(0, 1), weights.T[..., None]), 0, 0.0
        wide = rows.double()
        found = self.weighed(wide @ wide.transpose(1, 2), weights, places)
        aggregated = (found.client_weights[:, None] @ wide).squeeze(1).to(rows.dtype)
        return aggregated, found.iterations, found.residual

    def judged(self, sent: Judged, weights: torch.Tensor) -> Weighting:
        """What ``judge`` gives clients whose updates are screened, of which there may be none.

        Raises:
            ValueError: It does not know the server it judges for.
        """
        if self.judge is None or self.known is None:
            raise ValueError("a rule that judges needs to know its server: federated.knowledge.informed tells it")
        nobody = Weighting(torch.zeros_like(weights, dtype=torch.float64))
        return self.judge(sent, weights, self.known, self.key) if len(weights) else nobody

    def paid(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Aggregated rows ``[V, H]`` after they have been to the bank, which there is, and what that holds then."""
        assert self.bank is not None
        return self.bank.paid(table, torch.zeros_like(table) if self.saved is None else self.saved.to(table))

    def remembered(self, table: torch.Tensor, n_items: int) -> torch.Tensor | None:
        """What it remembers before the first round, of ``[V, H]`` item embeddings; ``None`` if that is nothing ever."""
        if self.quota is not None:
            return table.new_zeros(self.quota.remembered, n_items, dtype=torch.float64)
        return None if self.bank is None else torch.zeros_like(table)

    def within(self, sent: Rows) -> Verdict:
        """Which rows are within the quota, and what is remembered then.

        Raises:
            ValueError: It does not know the server it acts for.
        """
        known = self.known
        if self.quota is None or known is None or known.asked is None:
            raise ValueError("a quota needs to know its server: federated.knowledge.informed tells it")
        memory = self.remembered(known.items, len(known.items)) if self.saved is None else self.saved
        assert memory is not None
        return self.quota.within(sent, memory, known.asked, known.longest, self.key)

    def factors(self, weights: torch.Tensor) -> torch.Tensor:
        """``[N]`` factors of a linear rule, which depend on the weights alone."""
        assert self.one_pass and self.weigh is not None
        nothing = weights.new_zeros(len(weights), len(weights), dtype=torch.float64)
        return self.weigh(nothing, weights).client_weights.to(weights.dtype)

    def weighting(
        self, gram: torch.Tensor, weights: torch.Tensor, places: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, Weighting]:
        """The clients ``[N]`` that are kept, and the weight of each; rejected ones have none.

        Args:
            gram: ``[N, N]`` in float64; a linear rule does not look at it.
            weights: ``[N]``, positive.
            places: ``[N]`` the clients' places in the round's random order.
            dtype: The type clients send.
        """
        kept = self.screened(gram.diagonal(), dtype)
        chosen = kept.nonzero().squeeze(1)
        if not len(chosen):
            return kept, Weighting(torch.zeros_like(gram.diagonal()))
        found = self.weighed(gram[chosen][:, chosen], weights[chosen], places[chosen])
        everyone = torch.zeros_like(gram.diagonal()).masked_scatter(kept, found.client_weights)
        return kept, replace(found, client_weights=everyone)


def _only(kept: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Rows of kept clients, without a copy where that is all."""
    return values if bool(kept.all()) else tuple(value[kept] for value in values)
