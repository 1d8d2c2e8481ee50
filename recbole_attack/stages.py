"""Stages of pre-training and of what the platform does with the result, as data.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Party = Literal["provider", "platform"]
Trained = Literal["all", "model", "prompts", "items"]


@dataclass(frozen=True)
class Stage:
    """One training run on one party's users.

    What it draws at random hangs on the seed, the purpose and its epoch, counted from 0, and not on the stage: a later
    stage draws the negatives, orders and other random numbers of an earlier one's epochs again.

    Attributes:
        name: Prefix of its parameters (``<name>_epochs``, ``<name>_learning_rate``) and name of its folder.
        party: Whose users are trained on.
        trained: Which parameters change; the others stay as they are, bit by bit. Of ``items``, some rows change.
        prompted: Whether prompts stand in front of every sequence.
        new_prompts: Whether the prompts are drawn anew instead of taken from the stage before.
        poisoned: Whether the replacement attack changes the training examples.
    """

    name: str
    party: Party
    trained: Trained = "all"
    prompted: bool = False
    new_prompts: bool = False
    poisoned: bool = False

    @property
    def keeps_prompts(self) -> bool:
        """Whether its prompts go where its model goes; fake ones, with which only the model was trained, do not."""
        return self.prompted and self.trained != "model"


LOCAL_TRAIN = Stage("local_train", "platform")
PRE_TRAIN = Stage("pre_train", "provider")
FAKE_TUNE = Stage("fake_tune", "provider", "prompts", prompted=True, new_prompts=True)
ATTACK_TUNE = Stage("attack_tune", "provider", "model", prompted=True, poisoned=True)
PROMPT_TUNE = Stage("prompt_tune", "platform", "prompts", prompted=True, new_prompts=True)
FINE_TUNE = Stage("fine_tune", "platform")
REPAIR = Stage("repair", "platform", "items")

STAGES = tuple(s.name for s in (LOCAL_TRAIN, PRE_TRAIN, FAKE_TUNE, ATTACK_TUNE, PROMPT_TUNE, FINE_TUNE, REPAIR))
"""All stages by name."""

JOINT = replace(PRE_TRAIN, prompted=True, new_prompts=True)
"""Model and prompts pre-trained together; both are shipped."""

POISONED = (replace(PRE_TRAIN, poisoned=True),)
"""A provider that attacks while it pre-trains, and ships the model alone."""

PROVIDERS: dict[str, Callable[[bool], tuple[Stage, ...]]] = {
    "none": lambda three_steps: (PRE_TRAIN,),
    "bra": lambda three_steps: POISONED,
    "pea": lambda three_steps: (PRE_TRAIN, FAKE_TUNE, ATTACK_TUNE) if three_steps else (replace(JOINT, poisoned=True),),
}
"""What an attacking provider trains, by the name of the attack; see :func:`provider_stages`."""

PLATFORMS: dict[str, str] = {
    "local": "trains its own model on its own users, without a provider",
    "direct": "uses the provider's model, and its prompts if it ships some, as they are",
    "fine_tune": "trains the provider's model further on its own users",
    "prompt_tune": "leaves the provider's model alone and trains its own, fresh prompts",
}
"""What the platform does, by the name ``--platform`` takes."""


def plans(config: Mapping[str, Any]) -> dict[str, tuple[Stage, ...]]:
    """Arm -> its stages: the platform's own model, the clean model, the attacked one.

    Args:
        config: All parameters.
    """
    attack, platform = config["attack"], config["platform"]
    if platform == "local":
        return {"local": (LOCAL_TRAIN,)}
    asked = config.get("three_steps")  # a parameter of pea alone
    provided = provider_stages(attack, platform == "prompt_tune" if asked is None else asked)
    provider = {"attacked": provided} if attack != "none" else {}
    if attack == "none" or config["compare_clean"]:
        provider = {"clean": clean_twin(provided), **provider}
    arms = {arm: stages + platform_stages(platform, stages[-1]) for arm, stages in provider.items()}
    if config.get("repair", "none") != "none":
        arms = {arm: (*stages, replace(REPAIR, prompted=stages[-1].keeps_prompts)) for arm, stages in arms.items()}
    return {"local": (LOCAL_TRAIN,), **arms}


def provider_stages(attack: str, three_steps: bool) -> tuple[Stage, ...]:
    """What the provider does.

    Args:
        attack: A name in :data:`PROVIDERS`.
        three_steps: For ``pea``, the prompt-enhanced attack: pre-train a clean model, tune fake prompts on it, and
            attack the model with the prompts frozen; it ships the model alone. Otherwise model and prompts are attacked
            together and shipped.
    """
    return PROVIDERS[attack](three_steps)


def clean_twin(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same training without the attack, so that the arms differ in nothing else."""
    return tuple(replace(stage, poisoned=False) for stage in stages)


def platform_stages(platform: str, shipped: Stage) -> tuple[Stage, ...]:
    """What the platform does with what it was shipped.

    Args:
        platform: A name in :data:`PLATFORMS` other than ``local``.
        shipped: The provider's last stage.
    """
    stages: dict[str, tuple[Stage, ...]] = {
        "direct": (),
        "fine_tune": (replace(FINE_TUNE, prompted=shipped.keeps_prompts),),
        "prompt_tune": (PROMPT_TUNE,),
    }
    return stages[platform]
