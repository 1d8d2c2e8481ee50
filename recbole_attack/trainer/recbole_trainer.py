"""RecBole's own trainers in the loop all arms go through: the same evaluation, history and checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import get_trainer

from recbole_attack.data import Split
from recbole_attack.model.recbole_models import refusing
from recbole_attack.threat import Threat
from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.utils.errors import TrainingError


class RecBoleTrainer(AttackTrainer):
    """A RecBole model trained on RecBole's batches; stands before RecBole's trainer of it, see :func:`trainer_of`.

    Randomness is RecBole's, too: drawn from the global states that its ``init_seed`` sets. An interrupted training
    starts anew and ends the same: some models keep counters that no checkpoint holds (the annealing of variational
    auto-encoders), so no state to resume from is written.
    """

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split) -> None:
        super().__init__(config, model, threat, split)
        # Rows scored at once by models that cannot score a whole catalogue, which need as little memory as in training.
        self.test_batch_size = max(config["eval_batch_size"], config["train_batch_size"])

    def fit(self, train_data: Any, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float] | None]:
        """Train; see :meth:`AttackTrainer.fit`.

        Args:
            train_data: One of RecBole's loaders, whose order starts from its seed again.
            args: Of :meth:`AttackTrainer.fit`.
            kwargs: The same.
        """
        train_data.generator.manual_seed(self.seed)
        if self.config["train_neg_sample_args"]["dynamic"]:
            train_data.get_model(self.model)
        return super().fit(train_data, *args, **kwargs)

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Mean loss per batch of one epoch; of a loss in several parts, their sum."""
        with refusing(type(self.model), "trained"):
            losses = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress=False)
        return (sum(losses) if isinstance(losses, tuple) else losses) / len(train_data)

    def _check_nan(self, loss: torch.Tensor) -> None:
        if torch.isnan(loss):
            raise TrainingError("the loss is not a number: training diverged")

    def _checkpoint(self) -> dict[str, Any]:
        """What can be stored without pickles: matrices made from the data are made again when a model is built."""
        whole = super()._checkpoint()
        kept = {k: v for k, v in whole["other_parameter"].items() if v is None or isinstance(v, torch.Tensor)}
        return {**whole, "other_parameter": kept}

    def _save_state(self) -> None:
        """Nothing: see the class."""


def trainer_of(model: type[Any]) -> type[RecBoleTrainer]:
    """The trainer RecBole has for a model, in our loop."""
    own = get_trainer(model.type, model.__name__)
    return type(own.__name__, (RecBoleTrainer, own), {"__doc__": f"RecBole's {own.__name__}.", "__module__": __name__})
