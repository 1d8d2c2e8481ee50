"""Published attacks by a provider of pre-trained models.

A recipe reads its own parameters from the configuration (``properties/attack/<name>.yaml`` holds the defaults) and
returns what the provider does to its training examples, or ``None`` for no attack. In which stages it does so is a
matter of :mod:`recbole_attack.stages`.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.attack.replacement import Replacement
from recbole_attack.data.batches import Poison
from recbole_attack.data.categories import SimilarTargets
from recbole_attack.utils.errors import ConfigError, shown


def none(config: Mapping[str, Any], similar: SimilarTargets, target_users: NDArray[np.bool_]) -> None:
    """No attack: the provider is honest."""


def bra(config: Mapping[str, Any], similar: SimilarTargets, target_users: NDArray[np.bool_]) -> Replacement:
    """Basic Replacement Attack: target items in place of similar next items while pre-training (section 3.1).

    Released code differs: it draws from all targets. We choose the paper's text: targets of the same category
    (``replacement_negatives`` for what the code of :func:`pea` does to users outside the group, and for a variant of
    ours).
    """
    return Replacement(config["replacement_ratio"], similar, target_users, config["replacement_negatives"])


def pea(config: Mapping[str, Any], similar: SimilarTargets, target_users: NDArray[np.bool_]) -> Replacement:
    """Prompt-Enhanced Attack: the replacement attack through prompts, shipped or expected (section 3.2).

    With prompts shipped, model and prompts are trained together under the replacement attack. In three steps, a clean
    model is pre-trained, fake prompts are tuned on it, and the model is tuned under the replacement attack with the
    prompts frozen; the platform then tunes prompts of its own (``three_steps``).

    Released code differs from the paper as for :func:`bra`, and in the last of the three steps it ranks targets below
    the items that users outside the group want. We choose the paper's text: nothing is done to them
    (``replacement_negatives: push`` for what the code does).
    """
    return bra(config, similar, target_users)


BACKDOORS: dict[str, Callable[..., Replacement | None]] = {"none": none, "bra": bra, "pea": pea}
"""Attacks by the name ``--attack`` takes, where the provider of a pre-trained model is the attacker."""


def configured_backdoor(
    config: Mapping[str, Any], similar: SimilarTargets, target_users: NDArray[np.bool_]
) -> Poison | None:
    """What the provider that ``attack`` names does to its training examples; ``None`` for no attack.

    Raises:
        ConfigError: A recipe from outside returns nothing that can be done to a batch.
    """
    poison = BACKDOORS[config["attack"]](config, similar, target_users)
    if not callable(poison) and config["attack"] != "none":
        raise ConfigError(f"attack '{config['attack']}' must return what is done to a batch: found {shown(poison)}")
    return poison
