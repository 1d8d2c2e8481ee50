"""What a platform does about the items that its detector flags in a model it was given.

It draws their embeddings anew and trains them on its own users' sequences, and nothing else of the model: all that it
was given the model for stays as it is, bit by bit, and the repaired model differs from the shipped one in flagged rows
alone. What the provider taught the rest of the model about these items stays, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_attack.config import AttackConfig
from recbole_attack.data import RaggedSequentialDataset
from recbole_attack.utils.rng import torch_stream


def drawn_anew(
    config: AttackConfig, dataset: RaggedSequentialDataset, model: Any, flagged: NDArray[np.bool_]
) -> torch.Tensor:
    """Give flagged items the embeddings a new model has, drawn by the platform: it does not know the provider's seed.

    Args:
        config: Of the stage.
        dataset: What models are built for.
        model: The model, which is changed.
        flagged: ``[n_items]``.

    Returns:
        ``[V]`` bool, their rows of the table, behind whose items a model's own tokens may stand.
    """
    table = model.item_embedding.weight
    rows = torch.zeros(len(table), dtype=torch.bool, device=table.device)
    rows[: len(flagged)] = torch.from_numpy(flagged)
    with torch_stream(config["device"], config["seed"], "repaired items"), torch.no_grad():
        table[rows] = config.model_class(config, dataset).to(config["device"]).item_embedding.weight[rows]
    return rows
