"""One stage of pre-training, or of what a platform does with a pre-trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_attack.data import Split
from recbole_attack.data.batches import Poison
from recbole_attack.evaluator import ItemExposure, ModelView, ModelWatch
from recbole_attack.federated.client_updates import ITEM_TABLE
from recbole_attack.threat import Threat
from recbole_attack.trainer.central import CentralTrainer

LOG = logging.getLogger("recbole_attack.detectors")

TRAINED = {
    "all": lambda name: True,
    "model": lambda name: not name.startswith("generator."),
    "prompts": lambda name: name.startswith("generator."),
    "items": lambda name: name == ITEM_TABLE,
}
"""Which parameters a stage changes, by name of the parameter."""


class StageTrainer(CentralTrainer):
    """Central training of some of the parameters; the others stay as they are, bit by bit.

    Args:
        config: The stage's configuration.
        model: The model it starts from.
        threat: Target items.
        split: The dataset's split.
        trained: A name in :data:`TRAINED`.
        poison: What the provider does to its training examples.
        rows: ``[V]`` bool, which item embeddings change if ``trained`` is ``items``.
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        threat: Threat,
        split: Split,
        trained: str,
        poison: Poison | None,
        rows: torch.Tensor | None = None,
    ) -> None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(TRAINED[trained](name))
        super().__init__(config, model, threat, split)
        self.poison = poison
        if rows is not None:
            _put_back(self.optimizer, model.item_embedding.weight, ~rows)

    @staticmethod
    def _names(folder: Path) -> tuple[str, ...]:
        return (folder.parent.name, folder.name)

    def model_view(self, eval_data: Any, cutoffs: Sequence[int]) -> tuple[ItemExposure, ModelView]:
        """As :meth:`item_exposure`, and what else a platform sees of the model."""
        model, user_field = self.model, self.config["USER_ID_FIELD"]
        users = eval_data.dataset.inter_feat[user_field].numpy()
        watch = ModelWatch(model.item_embedding.weight[: model.n_items], users, self.config["seed"])

        def look(scores: torch.Tensor, interaction: Any) -> None:
            watch.add(scores, model.user_states(interaction.to(self.device)), interaction[user_field])

        with self.eval_collector.watched(look):
            exposure = self.item_exposure(eval_data, cutoffs)
        view = watch.view()
        if view.pushes is None:
            LOG.warning(
                "detector margin is left out: the model's scores are no inner products of states and item embeddings"
            )
        return exposure, view


def _put_back(optimizer: torch.optim.Optimizer, table: torch.Tensor, rows: torch.Tensor) -> None:
    """Give rows of a parameter (``[V]`` bool) their values back after every step, whatever the learner does to them."""
    places = rows.nonzero().squeeze(1)
    kept = table.detach()[places].clone()

    def after(*_: Any) -> None:
        with torch.no_grad():
            table.index_copy_(0, places, kept)

    optimizer.register_step_post_hook(after)
