"""How the server combines client updates: each rule wired with its parameters.

A recipe reads its own parameters from the configuration (``properties/defense/<name>.yaml`` holds the defaults) and
returns an :class:`Aggregator`. Formulas, citations and worked examples stand with the rules:
:mod:`~recbole_attack.defense.weighting`, :mod:`~recbole_attack.defense.rfa`, :mod:`~recbole_attack.defense.spectral`,
:mod:`~recbole_attack.defense.coordinates`, :mod:`~recbole_attack.defense.bulyan`,
:mod:`~recbole_attack.defense.support`, :mod:`~recbole_attack.defense.bank`, :mod:`~recbole_attack.defense.quota`,
:mod:`~recbole_attack.defense.trust` and :mod:`~recbole_attack.defense.uniformity`; what is done before a rule, with
:mod:`~recbole_attack.defense.mixing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from recbole_attack.defense import bulyan, coordinates, rfa, spectral, trust, uniformity, weighting
from recbole_attack.defense.aggregator import Aggregator
from recbole_attack.defense.bank import Bank
from recbole_attack.defense.flame import flame as flame_rule
from recbole_attack.defense.mixing import PRE_AGGREGATORS, Unweighted
from recbole_attack.defense.quota import Quota
from recbole_attack.defense.support import Support
from recbole_attack.defense.weighting import WeightingRule
from recbole_attack.utils.errors import ConfigError, shown


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
    return Aggregator(combine=coordinates.median, weighted=False)


def trimmed_mean(config: Mapping[str, Any]) -> Aggregator:
    """Coordinate-wise trimmed mean (Yin et al. 2018)."""
    return Aggregator(combine=partial(coordinates.trimmed_mean, trim_ratio=config["trim_ratio"]), weighted=False)


def krum(config: Mapping[str, Any]) -> Aggregator:
    """Krum: the one update nearest to its neighbours (Blanchard et al. 2017)."""
    return Aggregator(partial(weighting.krum, byzantine_ratio=config["byzantine_ratio"]), weighted=False, ties=True)


def multi_krum(config: Mapping[str, Any]) -> Aggregator:
    """Multi-Krum: the mean of the updates nearest to their neighbours (Blanchard et al. 2017)."""
    options = {"byzantine_ratio": config["byzantine_ratio"], "selected": config["krum_selected"]}
    return Aggregator(partial(weighting.multi_krum, **options), ties=True)


def norm_clipping(config: Mapping[str, Any]) -> Aggregator:
    """Mean of updates clipped to a norm (Sun et al. 2019)."""
    return Aggregator(partial(weighting.norm_clipping, clip_norm=config["clip_norm"]))


def centered_clipping(config: Mapping[str, Any]) -> Aggregator:
    """Mean of updates clipped around a centre that moves (Karimireddy et al. 2021), from 0 in each round."""
    options = {"clip_norm": config["clip_norm"], "steps": config["clipping_steps"]}
    return Aggregator(partial(weighting.centered_clipping, **options))


def dnc(config: Mapping[str, Any]) -> Aggregator:
    """Mean without what stands out in the main direction (DnC, Shejwalkar and Houmansadr 2021)."""
    options = {"byzantine_ratio": config["byzantine_ratio"], "removed": config["dnc_removed"]}
    return Aggregator(partial(spectral.dnc, **options))


def caf(config: Mapping[str, Any]) -> Aggregator:
    """Mean of the clients left when what stands out has faded (CAF, Allouah et al. 2025)."""
    return Aggregator(partial(spectral.caf, byzantine_ratio=config["byzantine_ratio"]), weighted=False)


def bulyan_(config: Mapping[str, Any]) -> Aggregator:
    """Mean around the median of what Krum selects again and again (Bulyan, El Mhamdi et al. 2018)."""
    options = {"byzantine_ratio": config["byzantine_ratio"]}
    select, combine = partial(bulyan.select, **options), partial(bulyan.around_median, **options)
    return Aggregator(combine=combine, mixes=(select,), weighted=False)


def flame(config: Mapping[str, Any]) -> Aggregator:
    """Clipped mean of the clients whose updates point as most do (FLAME, Nguyen et al. 2022), without its noise.

    On whole updates only: an item has few clients, and clusters would be looked for thousands of times.
    """
    return Aggregator(flame_rule, whole_only=True)


def fl_trust(config: Mapping[str, Any]) -> Aggregator:
    """Mean by agreement with an update of the server's own (FLTrust, Cao et al. 2021), its data drawn from the model.

    In the paper the server collects about a hundred clean examples and trains on them as clients do. Here nobody's data
    are needed: its root is ``root_histories`` histories of ``root_length`` items, sampled in each round from the global
    model (:func:`~recbole_attack.data.histories.sampled_histories`), and its update is the mean of what clients with
    these histories, and without a ``client_defense``, would send. A model has next to nothing to learn from samples of
    its own: this root is mostly noise, and whom it trusts is little better than chance. What it says besides is what
    the model believes already, the attacker's work of earlier rounds included. So much is a root without data worth,
    and the server computes as much as that many clients more. On whole updates only: an item that no root history holds
    would never move.
    """
    root = (config["root_histories"], config["root_length"])
    return Aggregator(judge=trust.fl_trust, root=root, whole_only=True, weighted=False)


def union(config: Mapping[str, Any]) -> Aggregator:
    """Mean without the clients after whose updates items lie otherwise than after others' (UNION, Yu et al. 2023).

    On whole updates only: it is clients that are left out.
    """
    options = {"items": config["union_items"], "references": config["gap_references"]}
    return Aggregator(judge=partial(uniformity.union, **options), whole_only=True)


def hics(config: Mapping[str, Any]) -> Aggregator:
    """Item rows clipped for each client and again for all, saved up, and the longest applied (HiCS, Yuan et al. 2023).

    Hierarchical gradient clipping with sparsified updating, the defence of the paper of PSMU. Each client's rows are
    clipped to ``client_row_norm``; they are averaged over the clients that sent them (``per_item``, as published) or
    over all clients of the round, as in the mean of whole updates; averages are clipped to ``mean_row_norm`` and saved
    up in a :class:`~recbole_attack.defense.bank.Bank`, of which ``paid_share`` of the items are applied. All other
    parameters are averaged.

    Only the abstract and a re-implementation could be read, that of PoisonFRS, which clips averages alone, to 3, and
    pays everything out at once. Its updates are steps; ours are gradients of a mean loss and much shorter, so that both
    bounds are the round's medians unless they are given, and half of the items are applied (our defaults). What is
    applied is a gradient for the server's optimiser, where theirs is the step: rows that wait have a gradient of zero,
    and Adam's momentum (Adam is the default ``learner``) moves them all the same; under SGD they stand still. The bank
    starts empty, and a resumed run has it as it was.
    """
    support = Support(0.5, "clients", prior=0.0, least=1, bound=config["client_row_norm"])
    return Aggregator(weighting.mean, support=support, bank=Bank(config["mean_row_norm"], config["paid_share"]))


def support_shrunk(config: Mapping[str, Any]) -> Aggregator:
    """Item rows clipped to the round's usual length and shrunk where few clients touch the item (ours).

    ``row_rule`` over the clients that touch an item, times ``n_j / (n_j + m0)`` (``per_item``) or, on whole updates,
    times ``n_j / N``: with ``row_rule: mean`` the mean over all clients, every row clipped before. The other parameters
    are aggregated by ``body_rule``, whose weights clients are said to have.

    These factors and the clip are of a row's update. Adam, the default ``learner``, undoes what is the same in every
    round: with it, or any optimiser that divides by the usual length, a row is held back for certain only where it
    never has the ``support_least`` clients.
    """
    support = Support(config["row_quantile"], config["row_votes"], config["support_prior"], config["support_least"])
    return replace(PARTS[config["body_rule"]], items=PARTS[config["row_rule"]], support=support, weighted=True)


def exposure_quota(config: Mapping[str, Any]) -> Aggregator:
    """Rows that raise an item beyond its share of the clients' votes are left out, and the server pushes back (ours).

    A :class:`~recbole_attack.defense.quota.Quota` before ``quota_rule``, whose weights clients are said to have. The
    server remembers how many votes each item has, and not whose, and how often the model would show it.
    """
    quota = Quota(config["quota_factor"], config["quota_histories"], config["quota_topk"], config["quota_lengths"])
    return replace(PARTS[config["quota_rule"]], quota=quota)


PARTS: dict[str, Aggregator] = {
    "mean": Aggregator(weighting.mean),
    "norm_clipping": Aggregator(weighting.norm_clipping),
    "geometric_median": Aggregator(rfa.geometric_median),
    "median": Aggregator(combine=coordinates.median, weighted=False),
}
"""Rules that others are made of, by the names ``--row_rule``, ``--body_rule`` and ``--quota_rule`` take."""

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
    "support_shrunk": support_shrunk,
    "exposure_quota": exposure_quota,
    "centered_clipping": centered_clipping,
    "dnc": dnc,
    "caf": caf,
    "bulyan": bulyan_,
    "flame": flame,
    "fl_trust": fl_trust,
    "hics": hics,
    "union": union,
}
"""Aggregation rules by the name ``--aggregator`` takes."""


def configured_aggregator(config: Mapping[str, Any]) -> Aggregator:
    """The rule ``aggregator`` names, ``per_item`` or on whole updates, after what ``pre_aggregator`` does to these.

    With a pre-aggregator, a linear rule is no longer one: it looks at values and screens them.

    Raises:
        ConfigError: The rule cannot be had that way.
    """
    rule = replace(_made(config), per_item=config["per_item"], key=(config["seed"],))
    if rule.whole_only and rule.per_item:
        raise ConfigError(
            f"aggregator '{config['aggregator']}' needs whole updates: expected per_item False, found True"
        )
    if rule.support is not None and not rule.per_item:
        rule = replace(rule, support=replace(rule.support, prior=None))
    mix = PRE_AGGREGATORS[config["pre_aggregator"]](config)
    if mix is None:
        return rule
    if rule.asks:
        raise ConfigError(
            f"aggregator '{config['aggregator']}' judges what clients themselves sent: expected pre_aggregator 'none', "
            f"found '{config['pre_aggregator']}'"
        )
    if rule.support is not None and not rule.per_item:
        raise ConfigError(
            f"aggregator '{config['aggregator']}' with pre_aggregator '{config['pre_aggregator']}' needs per_item: "
            "expected True, found False"
        )
    items = rule.items and replace(rule.items, mixes=(mix, *rule.items.mixes))
    mixes, weighted = (mix, *rule.mixes), rule.weighted or not isinstance(mix, Unweighted)
    return replace(rule, linear=False, additive=False, mixes=mixes, items=items, weighted=weighted)


def _made(config: Mapping[str, Any]) -> Aggregator:
    name = config["aggregator"]
    try:
        rule = AGGREGATORS[name](config)
    except KeyError as error:
        raise ConfigError(f"aggregator '{name}' asks for what there is not: {error}") from error
    except ValueError as error:
        raise ConfigError(f"aggregator '{name}': {error}") from error
    except Exception as error:  # of a rule from outside, which is its author's to mend
        raise ConfigError(f"aggregator '{name}' cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(rule, Aggregator):
        raise ConfigError(f"aggregator '{name}' must return an Aggregator: found {shown(rule)}")
    return rule


def _weiszfeld(config: Mapping[str, Any]) -> WeightingRule:
    return partial(
        rfa.geometric_median,
        max_iterations=config["weiszfeld_iterations"],
        tolerance=config["weiszfeld_tolerance"],
        smoothing=config["weiszfeld_smoothing"],
        start=config["weiszfeld_start"],
    )
