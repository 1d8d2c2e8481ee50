"""What each parameter of an attack of clients may hold; part of :data:`~recbole_attack.config.options.OPTIONS`."""

from __future__ import annotations

from math import inf
from typing import Any

from recbole_attack.attack import UPLOADS
from recbole_attack.attack.crafted import PERTURBATIONS
from recbole_attack.attack.field_objectives import DIRECTIONS
from recbole_attack.config.checks import LAST_SEED, MANY, Option
from recbole_attack.data.histories import LENGTHS
from recbole_attack.utils.errors import ConfigError, shown


def _check_lengths(value: list[Any]) -> None:
    if not value or not all(type(length) in (int, float) and 0 < length < inf for length in value):
        raise ConfigError(f"tried_lengths must be {ATTACK_OPTIONS['tried_lengths'].form}: found {shown(value)}")


def _check_shares(value: list[Any]) -> None:
    if not all(type(share) in (int, float) and 0 <= share <= 1 for share in value):
        raise ConfigError(f"tried_shares must be {ATTACK_OPTIONS['tried_shares'].form}: found {shown(value)}")


THREAT_OPTIONS: dict[str, Option] = {
    "malicious_ratio": Option("malicious clients as a share of all users", float, low=0.0, high=1.0),
    "malicious_clients": Option("extra clients or turned users", str, ("clone", "compromise")),
    "malicious_seed": Option("draws who is malicious", int, low=0, high=LAST_SEED, optional=True),
    "gradient_scale": Option("factor on what malicious clients upload", float, above=0.0),
    "norm_budget": Option(
        "longest malicious update, as a quantile of honest ones", float, low=0.0, high=1.0, optional=True
    ),
    "upload": Option("what malicious clients make of their updates", str, UPLOADS),
    "claimed_interactions": Option("how much data malicious clients claim", str, ("round", "data"), optional=True),
}
"""Of all attacks of clients."""

ATTACK_OPTIONS: dict[str, Option] = {
    "attack_weight": Option("factor alpha on the malicious loss", float, above=0.0),
    "attack_repeats": Option("repetitions s a malicious client averages", int, low=1, high=MANY),
    "popular_share": Option("share of popular items in a fake profile", float, low=0.0, high=1.0),
    "popular_items": Option("popular items as a share of the catalogue", float, above=0.0, high=1.0),
    "min_cosine": Option("threshold tau of the substitution", float, low=-1.0, high=1.0),
    "substitution_candidates": Option("items T tried in the substitution", int, low=1, high=MANY),
    "upload_search_gradient": Option("upload the gradient the substitution searches with, too", bool),
    "contrastive_negatives": Option("random items n of the contrastive loss", int, low=1, high=MANY),
    "sampled_histories": Option("histories S a malicious client draws from the model", int, low=1, high=MANY),
    "sampled_length": Option("items of such a history", int, low=1, high=MANY),
    "margin_rank": Option("length K of the lists targets are lifted into", int, low=1, high=MANY),
    "covert_weight": Option("weight of staying out of sight of users without taste", float, low=0.0),
    "score_margin": Option("margin m by which targets are to score higher", float),
    "asked_lengths": Option("how lengths of users without taste are spread", str, LENGTHS),
    "hard_user_pool": Option("random histories hard users are chosen from", int, low=1, high=MANY),
    "row_direction": Option("where rows are drawn to", str, DIRECTIONS),
    "row_scale": Option("factor Lambda on that direction", float, above=0.0),
    "popular_rows": Option("items k whose mean row is the direction 'items'", int, low=1, high=MANY),
    "mined_items": Option("items N taken for popular because their rows moved", int, low=1, high=MANY),
    "alignment_strength": Option("factor tau on the alignment with popular items", float, above=0.0),
    "synthetic_items": Option("items of a synthetic user", int, low=1, high=MANY),
    "recommended_items": Option("best items of a synthetic user that compete with a target", int, low=1, high=MANY),
    "competing_items": Option("items that compete with a target, in all", int, low=1, high=MANY),
    "profile_size": Option("items of a fake user, the targets included", int, low=2, high=MANY, optional=True),
    "segment_items": Option("items like the targets, as a share of the catalogue", float, above=0.0, high=1.0),
    "tried_lengths": Option(
        "lengths of the upload that are tried", list, parse=_check_lengths, form="a list of numbers above 0"
    ),
    "tried_shares": Option(
        "shares of targets' rows that are tried", list, parse=_check_shares, form="a list of numbers from 0 to 1"
    ),
    "simulated_clients": Option("most honest clients of a simulated round", int, low=1, high=MANY),
    "simulated_length": Option("items of the histories made up for them", int, low=2, high=MANY),
    "popularity_weight": Option("factor alpha on the alignment with popular items", float, low=0.0),
    "estimator_steps": Option("steps of training the estimator of popularity", int, low=1, high=MANY),
    "upload_distance": Option("longest distance from an honest gradient", float, above=0.0),
    "known_share": Option("share xi of all interactions that is known", float, above=0.0, high=1.0),
    "approximated_users": Option("most known users in a step", int, low=1, high=MANY),
    "paired_items": Option("best items of a known user a target is to beat", int, low=1, high=MANY),
    "uploaded_rows": Option("rows kappa a malicious client changes in a local step", int, low=1, high=MANY),
    "row_limit": Option("longest gradient of a row in a local step", float, above=0.0),
    "ipm_scale": Option("factor tau on the mean of honest updates", float, above=0.0),
    "alie_deviations": Option("standard deviations z from their mean", float),
    "perturbation": Option("direction away from their mean", str, PERTURBATIONS),
    "search_evaluations": Option("aggregations in which the factor is searched for", int, low=1, high=MANY),
    "upload_share": Option("length of the upload over that of an honest one", float, above=0.0),
}
