"""Stages of pre-training and of what the platform does with the result, as data.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Party = Literal["provider", "platform"]
Trained = Literal["all", "model", "prompts"]


@dataclass(frozen=True)
class Stage:
    """One training run on one party's users.

    Attributes:
        name: Prefix of its parameters (``<name>_epochs``, ``<name>_learning_rate``) and name of its folder.
        party: Whose users are trained on.
        trained: Which parameters change; the others stay as they are, bit by bit.
        prompted: Whether prompts stand in front of every sequence.
        new_prompts: Whether the prompts are drawn anew instead of taken from the stage before.
        new_model: Whether the model is drawn anew.
        poisoned: Whether the replacement attack changes the training examples.
    """

    name: str
    party: Party
    trained: Trained = "all"
    prompted: bool = False
    new_prompts: bool = False
    new_model: bool = False
    poisoned: bool = False


LOCAL_TRAIN = Stage("local_train", "platform", new_model=True)
PRE_TRAIN = Stage("pre_train", "provider", new_model=True)
PROMPT_TUNE = Stage("prompt_tune", "provider", "prompts", prompted=True, new_prompts=True)
ATTACK_TUNE = Stage("attack_tune", "provider", "model", prompted=True, poisoned=True)
FINE_TUNE = Stage("fine_tune", "platform")

STAGES = tuple(stage.name for stage in (LOCAL_TRAIN, PRE_TRAIN, PROMPT_TUNE, ATTACK_TUNE, FINE_TUNE))
"""All stages by name."""

JOINT = replace(PRE_TRAIN, prompted=True, new_prompts=True)
"""Model and prompts pre-trained together; both are shipped."""

PLATFORMS: dict[str, str] = {
    "local": "trains its own model on its own users, without a provider",
    "direct": "uses the provider's model, and its prompts if it ships some, as they are",
    "fine_tune": "trains the provider's model further on its own users",
    "prompt_tune": "leaves the provider's model alone and trains its own, fresh prompts",
}
"""What the platform does, by the name ``--platform`` takes."""


def provider_stages(attack: str, three_steps: bool) -> tuple[Stage, ...]:
    """What the provider does.

    Args:
        attack: ``none``, ``bra`` (the replacement attack while pre-training) or ``pea`` (prompt-enhanced).
        three_steps: For ``pea``: pre-train a clean model, tune fake prompts on it, and attack the model with the
            prompts frozen; it ships the model alone. Otherwise model and prompts are attacked together and shipped.
    """
    plans = {
        "none": (PRE_TRAIN,),
        "bra": (replace(PRE_TRAIN, poisoned=True),),
        "pea": (PRE_TRAIN, PROMPT_TUNE, ATTACK_TUNE) if three_steps else (replace(JOINT, poisoned=True),),
    }
    return plans[attack]


def clean_twin(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same stages without the attack: stages that only serve it are left out, with those that prepare for them."""
    if any(stage.name == "attack_tune" for stage in stages):
        return (PRE_TRAIN,)
    return tuple(replace(stage, poisoned=False) for stage in stages)


def platform_stages(platform: str, shipped: Stage) -> tuple[Stage, ...]:
    """What the platform does with what it was shipped.

    Args:
        platform: A name in :data:`PLATFORMS` other than ``local``.
        shipped: The provider's last stage. Prompts are shipped if it trained them.
    """
    prompted = shipped.prompted and shipped.trained == "all"
    plans = {
        "direct": (),
        "fine_tune": (replace(FINE_TUNE, prompted=prompted),),
        "prompt_tune": (replace(PROMPT_TUNE, party="platform"),),
    }
    return plans[platform]


def deployed_with_prompts(stages: tuple[Stage, ...]) -> bool:
    """Whether the model users are served with reads prompts: those trained last, not fake ones."""
    return stages[-1].prompted and stages[-1].trained != "model"
