"""What honest clients do against attacks while they train.

A recipe reads its own parameters from the configuration (``properties/defense/<name>.yaml`` holds the defaults) and
returns a :data:`ClientDefense`, or ``None`` for plain training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from recbole_attack.data.batches import TrainBatch
from recbole_attack.defense.regularization import PopularityRegularization
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import without_dropout

ClientDefense = Callable[[Any, TrainBatch, torch.Tensor], torch.Tensor]
"""``(model, batch of B users, draws [B, L or more]) -> [B]`` losses, in place of the model's own.

Draws are uniform in [0, 1), one for each of the model's inputs.
"""


@runtime_checkable
class Remembering(Protocol):
    """Stands in for a :data:`ClientDefense` where clients compare the model with an earlier one."""

    def comparing(self, before: torch.Tensor | None) -> ClientDefense:
        """The defence in a round.

        Args:
            before: ``[V, H]`` item rows of the model as it was at the start of the epoch before; ``None`` in the first
                epoch.
        """


@runtime_checkable
class Spreading(Protocol):
    """A :data:`ClientDefense` that says whether it has a client's update move rows of items it neither holds nor draws.

    One that does not say so moves none of them.
    """

    @property
    def touches_all(self) -> bool:
        """Whether the update moves (nearly) every item's row."""


@dataclass(frozen=True)
class AdversarialTraining:
    """Train on each user's sequence and on a version of it that was changed to hurt.

    Yue, Zeng, Kou, Shang and Wang, "Defending Substitution-Based Profile Pollution Attacks on Sequential
    Recommenders", RecSys 2022. An item of the sequence is relaxed to a distribution over all items, at first all on
    itself. Each step of gradient ascent on the user's loss moves the distribution by ``step_size`` along the gradient
    of unit length, cuts off what is negative and normalises the rest. Its embedding is the distribution's mean. So the
    client's update moves the rows of nearly all items, as under a softmax over all of them.

    Memory: one row of ``n_items`` for each changed position of a batch.

    Attributes:
        steps: Steps of gradient ascent.
        step_size: Their length.
        ratio: Share of the positions that are changed.
    """

    steps: int
    step_size: float
    ratio: float

    @property
    def touches_all(self) -> bool:
        """Whether positions are mixed with other items; a draw may leave all of a short history as it is."""
        return self.steps > 0 and self.ratio > 0

    def __call__(self, model: Any, batch: TrainBatch, draws: torch.Tensor) -> torch.Tensor:
        item_seq = model.inputs(batch)
        changed = (draws[:, : item_seq.shape[1]] < self.ratio) & (item_seq != 0) & (item_seq < model.n_items)
        with without_dropout(model):
            mixture = self._ascend(model, batch, item_seq, changed)
        hostile = _mixed(model.embed(item_seq), changed, mixture @ model.item_embedding.weight[1 : model.n_items])
        return (model.client_losses(batch) + model.client_losses(batch, hostile)) / 2

    def _ascend(self, model: Any, batch: TrainBatch, item_seq: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        """``[M, n_items - 1]`` distributions over items, one for each changed position.

        A slope towards items is ``gradient @ table.T``; its length comes from the table's products, so that nothing of
        the distributions' size is written but the distributions themselves.
        """
        table = model.item_embedding.weight[1 : model.n_items].detach()
        products = table.double().T @ table.double()
        own = model.embed(item_seq).detach()
        item = item_seq[changed][:, None] - 1
        mixture = table.new_zeros(len(item), len(table)).scatter_(1, item, 1.0)
        for _ in range(self.steps):
            with torch.enable_grad():
                item_emb = _mixed(own, changed, mixture @ table).requires_grad_()
                (gradient,) = torch.autograd.grad(model.client_losses(batch, item_emb).sum(), item_emb)
            slope = gradient[changed].double()
            length = ((slope @ products) * slope).sum(dim=-1, keepdim=True).clamp(min=0.0).sqrt()
            step = torch.where(length > 0.0, self.step_size * slope / length, 0.0).to(table)
            mixture.addmm_(step, table.T).clamp_(min=0.0)
            mixture /= mixture.sum(dim=-1, keepdim=True).clamp(min=1e-9)
        return mixture


def none(config: Mapping[str, Any]) -> None:
    """No defence: clients train on their own sequences."""


def adversarial_training(config: Mapping[str, Any]) -> ClientDefense:
    """Clients also train on adversarial versions of their sequences (Yue et al. 2022).

    Released code differs: DV-FSR's server does nothing of the kind, or stops with an error, under every aggregation. We
    choose the procedure of Yue et al. and its values (3 steps of length 1, half of the positions). There, a step on the
    plain sequences is followed by one on the changed ones; a federated client sends one update, so it is the gradient
    of the mean of both losses. It is as long as other updates: a defence should not win by outshouting the attacker.
    The positions to change are drawn before the ascent, where Yue et al. perturb all and then put half of them back.
    """
    return AdversarialTraining(
        config["adversarial_steps"], config["adversarial_step_size"], config["adversarial_ratio"]
    )


def popularity_regularization(config: Mapping[str, Any]) -> Remembering | None:
    """Clients find popular items by comparing two models, and keep others, and themselves, from standing apart by them.

    PIECK's defence (Zhang et al., ICDE 2024). Two terms, written out at
    :class:`~recbole_attack.defense.regularization.PopularityRegularization`, are added to every client's loss. They are
    read off the released code, and were not held against the paper's equations: signs, ``kappa``, ``N`` and weights are
    those it has for matrix factorisation (``N = 10``, both weights 1; its models with layers have weights of 45 and
    ``kappa`` exponential in the rank). So the cosine of other items with popular ones is raised, not lowered, and the
    divergence between users and popular items is averaged over dimensions, not summed.

    Adapted. A sequential recommender has no user embeddings: ``u`` is the state ``h(x)`` after the last of the client's
    training inputs, as it is served, without dropout. So the second term trains the shared layers and the embeddings of
    the history, where in the paper it moves nothing but the user's own vector; the popular rows it is held against are
    constants there, too. Released code mines once, between the first two times a client is asked, and before has the
    second term with items in no order; here items are mined anew in every epoch, against the model at the start of the
    epoch before, as PIECK's attack does here, and there is no term as long as there is no such model. With several
    local steps, the client's own model is what is compared.

    Nothing is added where both weights are 0: clients train as without a defence.
    """
    weights = config["item_regularization"], config["user_regularization"]
    return PopularityRegularization(config["regularized_items"], *weights) if any(weights) else None


CLIENT_DEFENSES: dict[str, Callable[[Mapping[str, Any]], ClientDefense | Remembering | None]] = {
    "none": none,
    "adversarial_training": adversarial_training,
    "popularity_regularization": popularity_regularization,
}
"""Defences on the clients' side by the name ``--client_defense`` takes."""

_OWN = frozenset(CLIENT_DEFENSES)


def configured_client_defense(config: Mapping[str, Any]) -> ClientDefense | Remembering | None:
    """The defence that ``client_defense`` names; ``None`` where it changes nothing.

    Raises:
        ConfigError: One from outside returns nothing.
    """
    name = config["client_defense"]
    defense = CLIENT_DEFENSES[name](config)
    if defense is None and name not in _OWN:
        raise ConfigError(f"client_defense '{name}' must return what clients do: found None")
    return defense


def _mixed(own: torch.Tensor, changed: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """``own [B, L, H]`` with the rows ``mixed [M, H]`` at the ``M`` changed positions."""
    return own.index_put(changed.nonzero(as_tuple=True), mixed)
