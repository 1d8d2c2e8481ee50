"""Who is a user of the model provider, and who of the platform: one dataset and one item space, disjoint users.

"Attacking Pre-trained Recommendation" (Wu et al., 2023, section 4.1): "We treat users with fewer than ten interactions
as platform users and others as users in the model provider." Datasets without such users are split otherwise; the rules
of the parameter ``platform_users`` are:

- ``count<10``: platform users have fewer than 10 interactions
- ``quantile:0.2``: they are the least active 20 % of the users; ties are broken at random
- ``random:0.2``: they are 20 % of the users, drawn at random
- ``random:0.2:9``: the same, and only their last 9 interactions are known
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int, UserSequences
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean

Mask = NDArray[np.bool_]
Rule = Callable[[UserSequences, np.random.Generator], tuple[Int, int | None]]
"""From all sequences to the platform users' ids and to how many of their last interactions are kept."""


@dataclass(frozen=True)
class ProviderSplit:
    """The two parties' users; users without interactions belong to neither.

    Attributes:
        provider: ``[n_users]`` users of the model provider.
        platform: ``[n_users]`` users of the platform.
        sequences: What is left of all users' sequences.

    Raises:
        DataError: A party has no user, or a user belongs to both.
    """

    provider: Mask
    platform: Mask
    sequences: UserSequences

    def __post_init__(self) -> None:
        both = np.flatnonzero(self.provider & self.platform)
        if len(both):
            raise DataError(f"provider and platform must not share users: found {len(both)} in both, e.g. {both[0]}")
        if not self.provider.any() or not self.platform.any():
            lengths = self.sequences.lengths[self.provider | self.platform]
            shortest, longest = (lengths.min(), lengths.max()) if len(lengths) else (0, 0)
            raise DataError(
                "provider and platform need users: "
                f"found {int(self.provider.sum())} of the provider and {int(self.platform.sum())} of the platform, "
                f"with {shortest} to {longest} interactions each"
            )

    def sizes(self) -> dict[str, int]:
        """Users, interactions and different items of both parties, by name."""
        sizes = {}
        for party, users in (("provider", self.provider), ("platform", self.platform)):
            part = self.sequences.only(users)
            sizes[f"{party}_users"] = int(users.sum())
            sizes[f"{party}_interactions"] = len(part.items)
            sizes[f"{party}_items"] = len(np.unique(part.items))
        return sizes


def _count(limit: int) -> Rule:
    return lambda sequences, rng: (np.flatnonzero((sequences.lengths > 0) & (sequences.lengths < limit)), None)


def _quantile(share: float) -> Rule:
    def rule(sequences: UserSequences, rng: np.random.Generator) -> tuple[Int, int | None]:
        users = rng.permutation(np.flatnonzero(sequences.lengths))
        order = np.argsort(sequences.lengths[users], kind="stable")
        return users[order[: round(share * len(users))]], None

    return rule


def _random(share: float, last: int | None) -> Rule:
    def rule(sequences: UserSequences, rng: np.random.Generator) -> tuple[Int, int | None]:
        users = np.flatnonzero(sequences.lengths)
        return rng.choice(users, size=round(share * len(users)), replace=False), last

    return rule


def parse_platform_users(text: Any) -> Rule:
    """The rule that a value of ``platform_users`` stands for.

    Raises:
        ConfigError: The value is not valid.
    """
    found = str(text).replace(" ", "")
    share = r"(0?\.\d*[1-9]\d*)"
    if match := re.fullmatch(r"count<(\d+)", found):
        return _count(int(match[1]))
    if match := re.fullmatch(rf"quantile:{share}", found):
        return _quantile(float(match[1]))
    if match := re.fullmatch(rf"random:{share}(?::([1-9]\d*))?", found):
        return _random(float(match[1]), int(match[2]) if match[2] else None)
    hint = did_you_mean(re.split("[<:]", found)[0], ("count", "quantile", "random"))
    raise ConfigError(
        "platform_users must be count<N, quantile:<share> or random:<share>[:<last interactions>], "
        f"with a share above 0 and below 1: found {text!r}{hint}"
    )


def split_users(platform_users: Any, sequences: UserSequences, rng: np.random.Generator) -> ProviderSplit:
    """Divide all users with interactions between provider and platform.

    Args:
        platform_users: The parameter; see the module.
        sequences: All interactions.
        rng: Draws random users, and breaks ties.

    Raises:
        ConfigError: The parameter is not valid.
        DataError: A party would have no user.
    """
    chosen, last = parse_platform_users(platform_users)(sequences, rng)
    platform = np.zeros(sequences.n_users, dtype=bool)
    platform[chosen] = True
    kept = (
        sequences.lengths
        if last is None
        else np.where(platform, np.minimum(sequences.lengths, last), sequences.lengths)
    )
    return ProviderSplit((sequences.lengths > 0) & ~platform, platform, sequences.tail(kept))
