"""What the parameters of rules, pre-aggregators and client defences may hold."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from recbole_attack.config.checks import MANY, Option, is_number
from recbole_attack.data.histories import LENGTHS
from recbole_attack.defense import CLIENT_DETECTORS, DETECTORS, MEAN_WEIGHTS, PARTS, STARTS, VOTES
from recbole_attack.utils.errors import ConfigError, lookup, shown


def _check_detectors(value: dict[Any, Any]) -> None:
    for name, threshold in value.items():
        lookup(CLIENT_DETECTORS, name, "client detector")
        if not is_number(threshold):
            raise ConfigError(
                f"client_detectors must hold a number for each detector: found {shown({name: threshold})}"
            )


_REPAIRS: Mapping[str, Any] = ChainMap[str, Any](DETECTORS, {"none": None})

DEFENSE_OPTIONS: dict[str, Option] = {
    "client_detectors": Option(
        "detectors of malicious clients, and the score each flags from",
        dict,
        parse=_check_detectors,
        form="a mapping of detectors to thresholds, such as {top_row: 0.5}",
    ),
    "repair": Option("detector whose flagged items a platform trains anew", str, _REPAIRS),
    "spectral_head": Option("share of items tables of embeddings are aligned on", float, above=0.0, high=1.0),
    "spectral_promoted": Option("items expected to be promoted, as a share", float, above=0.0, high=0.5),
    "margin_index": Option("anomaly index above which an item is flagged", float, low=0.0),
    "group_least": Option("fewest users of a group", int, low=1, high=MANY),
    "group_false_discovery_rate": Option(
        "wrong ones among flagged pairs of item and group", float, above=0.0, high=1.0
    ),
    "weiszfeld_iterations": Option("most steps of the geometric median", int, low=1),
    "weiszfeld_tolerance": Option("gradient at which the geometric median stops", float, low=0.0),
    "weiszfeld_smoothing": Option("smallest distance, as a share of the typical one", float, above=0.0),
    "weiszfeld_start": Option("where the geometric median starts", str, STARTS),
    "mean_share": Option("share lambda of the mean in mixed-RFA", float, low=0.0, high=1.0),
    "mean_weights": Option("weights of clients in the mean of mixed-RFA", str, MEAN_WEIGHTS),
    "trim_ratio": Option("share of clients trimmed at either end", float, low=0.0, high=0.5),
    "byzantine_ratio": Option("hostile clients a rule assumes, as a share", float, low=0.0, high=0.5, optional=True),
    "krum_selected": Option("updates Multi-Krum averages", int, low=1, optional=True),
    "hostile_ratio": Option(
        "hostile clients assumed before the rule, as a share", float, low=0.0, high=0.5, optional=True
    ),
    "bucket_size": Option("clients put together in a bucket", int, low=1),
    "clipping_steps": Option("steps L of centred clipping", int, low=1, high=MANY),
    "dnc_removed": Option("updates DnC removes, as a multiple of the hostile ones", float, low=0.0),
    "row_quantile": Option("longest item row, as a quantile of the round's", float, above=0.0, high=1.0),
    "row_votes": Option("what counts once in that quantile", str, VOTES),
    "row_rule": Option("rule over the clients that touch an item", str, PARTS),
    "body_rule": Option("rule for all other parameters", str, PARTS),
    "support_prior": Option("clients that are said to have sent zeros for an item", float, low=0.0),
    "support_least": Option("fewest clients that move an item", int, low=1),
    "root_histories": Option("histories the server draws from the model", int, low=1, high=MANY),
    "root_length": Option("items of such a history", int, low=2, high=MANY),
    "client_row_norm": Option("longest item row of a client", float, above=0.0, optional=True),
    "mean_row_norm": Option("longest averaged item row", float, above=0.0, optional=True),
    "paid_share": Option("items whose rows are applied in a round, as a share", float, above=0.0, high=1.0),
    "quota_factor": Option("an item's share of what is shown, over its share of the votes", float, above=0.0),
    "quota_histories": Option("users made up to ask the model", int, low=4, high=MANY),
    "quota_lengths": Option("how lengths of their histories are spread", str, LENGTHS),
    "quota_topk": Option("length of the lists in which items are pushed back", int, low=1, optional=True),
    "quota_rule": Option("rule for the rows within the quota, and for all else", str, PARTS),
    "union_items": Option("items whose embeddings are looked at", int, low=2, high=MANY),
    "gap_references": Option("reference sets of the gap statistic", int, low=1, high=MANY),
    "adversarial_steps": Option("steps of gradient ascent in adversarial training", int, low=0, high=MANY),
    "adversarial_step_size": Option("length of these steps", float, above=0.0),
    "adversarial_ratio": Option("share of positions adversarial training changes", float, low=0.0, high=1.0),
    "regularized_items": Option("items N whose rows moved most, taken for popular", int, low=1, high=MANY),
    "item_regularization": Option("weight of other items' cosine with popular ones", float, low=0.0),
    "user_regularization": Option("weight of users' divergence from popular items", float, low=0.0),
    "clip_norm": Option("longest update, or way from the centre, when clipping", float, above=0.0, optional=True),
}
"""Parameters with checked values, by name."""
